"""Where every number comes from: a page with one entry for each rows file, and the anchors that tables link to.

In: a study and paths of rows files. Out: `rows.html` beside the report: of each file its path and hash, the job's
slice of the config, what it read, on which device and how long, and for finals what each seed scored.

    python -m pytest tests/vptstudy/report/test_page.py
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from vptcore.models.methods_table import METHODS
from vptcore.records import file_sha256, hive_parts, read_provenance, read_rows
from vptstudy.report.captions import train_phrase
from vptstudy.report.page.templating import templates
from vptstudy.study import Study

PAGE = "rows.html"
KINDS = ("final", "search", "fid", "explain")
_SEED_COLUMNS = ("seed", "test_accuracy", "test_loss", "train_accuracy", "lr", "weight_decay", "seconds", "diverged")


def anchor(kind: str, **parts: str) -> str:
    """'final/vit_b16_sup21k/vpt/cifar100/800': the id of a file's entry, from the hive parts of its path."""
    return "/".join([kind, *parts.values()])


def anchor_of(path: Path | str) -> str:
    """The id of the entry of the rows file at `path`."""
    path = Path(path)
    kinds = [part for part in path.parts[:-1] if "=" not in part]
    return anchor(kinds[-1], **hive_parts(path))


def cell_link(backbone: str, method: str, task: str, train: str, metric: str) -> str:
    """Where a table's cell links to; '' for a mean, which is made of its row's cells."""
    if task == "mean":
        return ""
    if metric == "fid":
        return f"{PAGE}#{anchor('fid', task=task)}"
    return f"{PAGE}#{anchor('final', backbone=backbone, method=method, task=task, train=train)}"


def rows_page(study: Study, files: Iterable[Path | str], colours: Mapping[str, str], notice: str) -> str:
    """The page of all entries, in the order of the files; files that are not there are listed as missing."""
    entries = [_entry(path, study) if Path(path).exists() else _missing(path, study) for path in files]
    return (
        templates()
        .get_template("rows.html.jinja")
        .render(study=study, entries=entries, colours=colours, notice=notice, columns=_SEED_COLUMNS)
    )


def _missing(path: Path | str, study: Study) -> dict:
    return {"id": anchor_of(path), "title": _title(path, study), "path": str(path), "missing": True}


def _entry(path: Path | str, study: Study) -> dict:
    note, kind = read_provenance(path), anchor_of(path).split("/")[0]
    rows = read_rows(path, kind)
    known = ("device", "host", "started", "seconds", "python", "synthetic")
    return {
        "id": anchor_of(path), "title": _title(path, study), "path": str(path), "missing": False,
        "sha256": file_sha256(path), "rows": len(rows), "job_hash": note.get("job_hash", ""),
        "job": json.dumps(note.get("job", {}), indent=1, sort_keys=True, ensure_ascii=False),
        "facts": {name: note[name] for name in known if note.get(name) is not None},
        "packages": ", ".join(f"{name} {version}" for name, version in note.get("packages", {}).items() if version),
        "inputs": [_input(name, file) for name, file in sorted(note.get("inputs", {}).items())],
        "seeds": rows[list(_SEED_COLUMNS)].to_dict("records") if kind == "final" else [],
    }  # fmt: skip


def _input(name: str, file: Mapping) -> dict:
    """A file that the job read; a link where it has an entry of its own."""
    path = file["path"]
    linked = Path(path).name == "rows.parquet" and anchor_of(path).split("/")[0] in KINDS
    return {"name": name, "path": path, "sha256": file["sha256"], "link": f"#{anchor_of(path)}" if linked else ""}


def _title(path: Path | str, study: Study) -> str:
    """'final: VPT on CIFAR-100, ViT-B/16, train size 800'."""
    parts, kind = hive_parts(path), anchor_of(path).split("/")[0]
    words = METHODS[parts["method"]].title + " on " if "method" in parts else ""
    words += study.tasks[parts["task"]].title
    words += f", {study.backbones[parts['backbone']].title}" if "backbone" in parts else ""
    return f"{kind}: {words}" + (f", {train_phrase([parts['train']])}" if "train" in parts else "")
