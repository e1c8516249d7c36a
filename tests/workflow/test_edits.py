"""A finished study that is changed, moved, cloned or touched ends in the rows and tables of a fresh run.

And it trains again nothing that a fresh run would make the same. Training leaves a mark that no second one repeats: the
seconds it took, to the last digit. So a row whose numbers are those of before and whose seconds are not was trained for
nothing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pandas as pd
import pytest
import yaml

from tests.workflow.conftest import REPO, Study
from vptcore.records import digest, read_rows
from vptstudy.audit.examine import audit
from vptstudy.config.resolve import load_study
from vptstudy.config.schema import read_config
from vptstudy.graph import flow

RATES = {"full": [0.02, 0.005, 0.05], "vpt": [1, 0.25, 4], "linear": [1, 0.1, 10], "ft_then_pt": [1, 0.5, 2]}
SEEDS = [1, 2, 3, 4]
TIMES = ["seconds", "compile_seconds", "images_per_second"]
SEQUENCES, LENGTH = 6, 6
TRAINED = {"search": ["optimizer", "lr", "weight_decay", "epochs"], "final": ["seed"]}


def tiny_config() -> dict:
    """One task, one size, two methods, two seeds, one epoch: what there is to change, and nothing that takes longer."""
    config = yaml.safe_load((REPO / "profiles/demo/study.yaml").read_text())
    methods = {m: {"batch": 16, "grid": {"lr": rates[:2], "weight_decay": [0.0]}} for m, rates in RATES.items()}
    cells = {"backbones": ["vit_mini_cifar10"], "methods": ["full", "linear"], "tasks": ["digits"], "train": [20]}
    return config | {
        "study": "edits", "epochs": 1, "seeds": [1, 2], "base_train": 20, "fid": "off", "methods": methods,
        "curves": {"seeds": 1},
        "explain": {"tasks": [], "images": 1}, "experiments": {"all": cells},
    }  # fmt: skip


class Edited(Study):
    """A study that is run for its rows and tables: figures and pages follow from them, and take longer."""

    def run(self, *arguments: str, **environment: str):
        study = load_study(read_config(self.folder / "study.yaml"))
        finals = [study.path("final", cell) for cell in study.cells]
        return super().run("all_tables", *finals, *arguments, **environment)

    @property
    def cells(self) -> dict:
        return self.config["experiments"]["all"]

    def kept(self) -> set[str]:
        """What lies beside the rows: tuned models, and whose curves have losses on test."""
        models = {str(path.relative_to(self.root / "models")) for path in (self.root / "models").rglob("*.safetensors")}
        for path in (self.root / "curves").rglob("rows.parquet"):
            rows = read_rows(path, "curves")
            watched = rows.loc[rows["test_loss"].notna(), "seed"].unique()
            models |= {f"{path.parent.relative_to(self.root / 'curves')}/curve of {seed}" for seed in watched}
        return models

    def rows(self) -> dict[tuple, dict]:
        """(kind, cell, seed or configuration) -> the row, of all trained rows on the disk."""
        found = {}
        for kind, keys in TRAINED.items():
            for path in sorted((self.root / kind).rglob("rows.parquet")):
                for row in read_rows(path, kind).to_dict("records"):
                    found[kind, str(path.parent.relative_to(self.root)), *(row[key] for key in keys)] = row
        return found


def toggle(values: list, choices: list, random: Random, *, at_least: int = 1) -> None:
    """Take one of `choices` in or out, in place and at any place."""
    value = random.choice([choice for choice in choices if choice not in values or len(values) > at_least])
    if value in values:
        values.remove(value)
    else:
        values.insert(random.randrange(len(values) + 1), value)


def seeds(study: Edited, random: Random) -> None:
    toggle(study.config["seeds"], SEEDS, random, at_least=2)


def grid(study: Edited, random: Random) -> None:
    method = random.choice(study.cells["methods"])
    toggle(study.config["methods"][method]["grid"]["lr"], RATES[method], random, at_least=2)


def epochs(study: Edited, random: Random) -> None:
    study.config["epochs"] = 3 - study.config["epochs"]


def methods(study: Edited, random: Random) -> None:
    toggle(study.cells["methods"], ["vpt", "linear", "ft_then_pt"], random)


def tasks(study: Edited, random: Random) -> None:
    toggle(study.cells["tasks"], ["digits", "shapes_count"], random)


def sizes(study: Edited, random: Random) -> None:
    toggle(study.cells["train"], [40], random)


def models(study: Edited, random: Random) -> None:
    study.config["keep"] = "best" if study.config.get("keep") != "best" else "needed"


def shards(study: Edited, random: Random) -> None:
    study.config["shards"] = {} if study.config.get("shards") else {"search": 2, "final": 2}


def curves(study: Edited, random: Random) -> None:
    study.config["curves"] = {"seeds": 3 - study.config["curves"]["seeds"]}


def moved(study: Edited, random: Random) -> None:
    """To another folder, as `mv` does."""
    study.folder = study.folder.rename(study.folder.with_name(f"{study.folder.name}_"))


def cloned(study: Edited, random: Random) -> None:
    """Copied without Snakemake's records, every file as new as its copying happened to make it."""
    there = study.folder.with_name(f"{study.folder.name}c")
    shutil.copytree(study.folder, there, ignore=shutil.ignore_patterns(".snakemake"))
    study.folder = there
    for path in files_of(study):
        os.utime(path, (1_700_000_000 + random.randrange(1000),) * 2)


def touched(study: Edited, random: Random) -> None:
    for path in random.sample(files_of(study), 3):
        os.utime(path)


def files_of(study: Edited) -> list[Path]:
    return sorted(path for path in study.root.rglob("*") if path.is_file())


EDITS: dict[str, Callable[[Edited, Random], None]] = {
    edit.__name__: edit
    for edit in (seeds, grid, epochs, methods, tasks, sizes, models, shards, curves, moved, cloned, touched)
}


def apply(study: Edited, name: str, random: Random) -> None:
    """Edit the study and run it. What was there and is the same afterwards was not trained again for nothing."""
    before, kept = study.rows(), study.kept()
    EDITS[name](study, random)
    study.write()
    result = study.run()
    assert result.returncode == 0, result.stderr
    again = [key for key, row in study.rows().items() if key in before and is_again(before[key], row)]
    spent = set(again) - trained_for_more(study, kept) - stacked(study)
    assert not spent, f"{name}: {spent}\n{result.stderr}"


def is_again(before: dict, now: dict) -> bool:
    """Whether a row is the same as before and was trained again."""
    numbers = [key for key in now if key not in (*TIMES, "config")]
    return all(str(before[key]) == str(now[key]) for key in numbers) and before["seconds"] != now["seconds"]


def trained_for_more(study: Edited, kept: set[str]) -> set[tuple]:
    """Rows of which more is asked than was kept: a tuned model, or the losses on test after every epoch."""
    now = load_study(study.config)
    wanted = [("final", c, f"seed={s}.safetensors", s) for c, seeds in flow.final_models(now).items() for s in seeds]
    found = {(kind, cell, seed) for kind, cell, name, seed in wanted if f"{cell.folder}/{name}" not in kept}
    found |= {("final", c, s) for c in now.cells for s in now.seeds[: now.curve_seeds]
              if f"{c.folder}/curve of {s}" not in kept}  # fmt: skip
    of_searches = {cell for cell in flow.searched_models(now) if f"{cell.folder}/search.safetensors" not in kept}
    best = {key for key in study.rows() if key[0] == "search" and any(cell.folder in key[1] for cell in of_searches)}
    return {(kind, f"{kind}/{cell.folder}", seed) for kind, cell, seed in found} | best


def stacked(study: Edited) -> set[tuple]:
    """Configurations of a linear probe, which are trained side by side in seconds: in one sum, so all or none."""
    return {key for key in study.rows() if key[0] == "search" and "method=linear" in key[1]}


def check_as_fresh(study: Edited, fresh: Edited) -> None:
    """The rows, tuned models and tables that the config asks for, those of a study that was never edited."""
    now = load_study(study.config)
    files = [(kind, now.path(kind, cell)) for cell in now.cells for kind in ("final", "curves", "predictions")]
    files += [("search", now.path("search", cell)) for cell in now.searches]
    for kind, path in files:
        a, b = (read_rows(s.folder / path, kind).drop(columns=TIMES, errors="ignore") for s in (study, fresh))
        pd.testing.assert_frame_equal(a, b, obj=path)
    models = [flow.model_file(now, cell, seed) for cell, seeds in flow.final_models(now).items() for seed in seeds]
    models += [flow.best_of_search(now, cell) for cell in flow.searched_models(now)]
    for path in models:
        assert (study.folder / path).read_bytes() == (fresh.folder / path).read_bytes(), path
    for name, text in fresh.texts("tables").items():
        if "cost" not in name:  # seconds and images per second
            assert (study.root / name).read_bytes() == text, name


def check_finished(study: Edited) -> None:
    assert "nothing to do" in study.run().stderr
    found = audit(load_study(read_config(study.folder / "study.yaml")), study.root, study.folder, "test")
    assert [(r.file, r.wrong) for r in found.reports if r.wrong and "figures" not in r.file] == []


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Edited:
    return run_fresh(tmp_path_factory.mktemp("base"), tiny_config())


def run_fresh(folder: Path, config: dict) -> Edited:
    study = Edited(folder, config)
    result = study.run()
    assert result.returncode == 0, result.stderr
    return study


@pytest.fixture(scope="module")
def fresh(base, tmp_path_factory) -> Callable[[dict], Edited]:
    """A study of a config run from nothing, once for each config."""
    made = {digest(base.config): base}

    def of(config: dict) -> Edited:
        name = digest(config)
        if name not in made:
            made[name] = run_fresh(tmp_path_factory.mktemp("fresh"), config)
        return made[name]

    return of


def copy_of(base: Edited, folder: Path) -> Edited:
    shutil.copytree(base.folder, folder)
    return Edited(folder, yaml.safe_load(yaml.safe_dump(base.config)))


def edit(study: Edited, names: list[str], random: Random, fresh: Callable[[dict], Edited]) -> None:
    for name in names:
        apply(study, name, random)
    check_finished(study)
    check_as_fresh(study, fresh(study.config))


def test_a_clone_with_another_seed_is_as_if_never_edited(base, fresh, tmp_path):
    edit(copy_of(base, tmp_path / "here"), ["cloned", "seeds"], Random(3), fresh)


@pytest.mark.slow
@pytest.mark.parametrize("sequence", range(SEQUENCES))
def test_any_edits_end_in_the_rows_and_tables_of_a_fresh_run(base, fresh, tmp_path, sequence):
    """Two halves of the edits, shuffled; so three times each."""
    order = list(EDITS)
    Random(sequence // 2).shuffle(order)
    mine = order[:LENGTH] if sequence % 2 else order[LENGTH:]
    edit(copy_of(base, tmp_path / "here"), mine, Random(sequence), fresh)


def test_every_edit_is_tried_and_changes_something(base, tmp_path):
    assert len(EDITS) == 2 * LENGTH
    for name in (name for name in EDITS if name not in ("moved", "cloned", "touched")):
        study = Edited(tmp_path, yaml.safe_load(yaml.safe_dump(base.config)))
        EDITS[name](study, Random(1))
        assert study.config != base.config, name
        load_study(study.config)
