"""What would stop a study's jobs, said before the first of them: images, checkpoints and models that are not there or
not what the config says.

In: a resolved `Study`. Out: one line a problem. A benchmark's images that are still to be fetched are no problem.

    vptcore check mine.yaml
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from vptcore.choices import ConfigError
from vptcore.data.listing import Listing
from vptcore.data.remedies import left_out_line, some
from vptcore.data.sources import LISTED, look
from vptcore.data.tasks import TASKS
from vptcore.data.told import read_told
from vptcore.models.methods_table import METHODS
from vptcore.wording import plural
from vptstudy import slices
from vptstudy.study import Cell, Study


def problems(study: Study, *, weights: bool = False) -> list[str]:
    """Every problem that the files and timm's models show. Imports torch where the config has backbones of its own, or
    adapters of peft. With `weights` those of its own backbones that are a file here are read too."""
    found = [*_images(study), *_splits(study), *_checkpoints(study)]
    models = list(_models(study, weights))
    return [*found, *models, *(() if models else _methods(study))]


def check_runnable(study: Study) -> None:
    """Raise ConfigError with the first problem and how many more there are."""
    if found := problems(study):
        more = f" (and {len(found) - 1} more: vptcore check)" if len(found) > 1 else ""
        raise ConfigError(f"{found[0]}{more}")


def remarks(study: Study) -> list[str]:
    """What is worth knowing of a person's own images: files left out, links to nothing, classes of one image."""
    lines = []
    for task, found in _own_images(study):
        dead = [f"{plural(len(found.dead), 'link')} to nothing ({some(found.dead)})"] if found.dead else []
        lines += [f"{task}: {line}" for line in (left_out_line(found.left_out), *dead, *found.remarks) if line]
    return lines


def _own_images(study: Study) -> Iterator[tuple[str, Listing]]:
    """(task, what its images are) of those that are still to be prepared and can be listed."""
    for task in study.used("task"):
        row, path = study.tasks[task], study.source_path(task)
        index = Path(f"{study.root}/index/task={task}/rows.parquet")
        if path is None or row.fetched or (task in TASKS and not Path(path).exists()) or index.exists():
            continue
        if row.source in LISTED:
            yield task, look(row.source, path)


def _images(study: Study) -> Iterator[str]:
    """A person's own images: there, readable, and of as many classes as the config says."""
    for task, found in _own_images(study):
        row, path = study.tasks[task], study.source_path(task)
        yield from (f"tasks.{task}: {problem}" for problem in found.problems)
        if not found.problems and len(found.classes) != row.classes:
            first = ", ".join(found.classes[:3])
            yield f"tasks.{task}.classes: {row.classes}, but {path} has {len(found.classes)} classes ({first}, ...)"


def _splits(study: Study) -> Iterator[str]:
    for task in study.used("task"):
        told = study.told_splits(task)
        if told and not Path(told).is_file():
            yield f"tasks.{task}.splits: {told}: no such file; expected a csv with the columns key and split"
        elif told:
            try:
                read_told(told)
            except ValueError as error:
                yield f"tasks.{task}.splits: {error}"


def _checkpoints(study: Study) -> Iterator[str]:
    for name in study.used("backbone"):
        where = study.backbones[name].checkpoint
        if not where or where.startswith(("asset:", "hub:")):
            continue
        if not Path(where).is_file():
            yield f"backbones.{name}.checkpoint: {where}: no such file; expected weights as .safetensors, .pth or .npz"
        elif not os.access(where, os.R_OK):
            yield f"backbones.{name}.checkpoint: {where} cannot be read (Permission denied)"


def _models(study: Study, weights: bool) -> Iterator[str]:
    """A backbone that the config adds or changes: as its row says, and without prompts timm's own function."""
    own = [name for name in study.used("backbone") if name in study.config["backbones"]]
    if not own:
        return
    import torch

    from vptcore.models.pretrained import create_backbone
    from vptcore.models.trial import try_backbone

    for name in own:
        row = study.backbones[name]
        try:
            with torch.device("meta"):
                create_backbone(row, pretrained=False)
            try_backbone(row)
            if weights and Path(row.checkpoint).is_file() and os.access(row.checkpoint, os.R_OK):
                create_backbone(row)
        except (ValueError, RuntimeError, TypeError) as error:
            yield str(error).splitlines()[0]


def _methods(study: Study) -> Iterator[str]:
    """What is put into a backbone, where the config says which backbone or what: built small, and seen through once."""
    pairs = {(cell.backbone, cell.method): cell for cell in study.cells if _is_own(study, cell)}
    if not pairs:
        return
    from vptcore.models.trial import try_method

    for cell in pairs.values():
        try:
            try_method(slices.final(study, cell))
        except ValueError as error:
            yield str(error)


def _is_own(study: Study, cell: Cell) -> bool:
    """Whether nobody tried this yet: an adapter with settings of the config's own, or on a backbone of its own."""
    row = METHODS[cell.method]
    changed = row.branch == "peft" and study.settings(cell.method) != dict(row.settings)
    return bool(row.branch) and (cell.backbone in study.config["backbones"] or changed)
