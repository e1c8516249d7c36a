"""A substitute that a reader or a split takes is in the metadata of every row made of it, and in the captions."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.vptcore.data.layouts import make_vtab1k, make_wds
from tests.vptstudy.report.synthetic import final_rows
from vptcore import records
from vptcore.data import splits
from vptcore.data.arrays import prepare
from vptcore.jobs.provenance import provenance
from vptstudy.config.resolve import load_study
from vptstudy.report.produce import substitutes_line, table


def demo():
    return load_study(yaml.safe_load(Path("profiles/demo/study.yaml").read_text()))


def prepared(tmp_path, source, path, task, train):
    """Index and split of a task; returns the split's file."""
    job = {"task": task, "source": source, "path": str(path), "classes": 3, "size": 16, "max_pool": 25000, "seed": 0,
           "version": 1, "resize": "bilinear"}  # fmt: skip
    index = tmp_path / f"index/task={task}/rows.parquet"
    prepare(job, tmp_path / f"data/task={task}/images.npy", index)
    out = tmp_path / f"splits/task={task}/train={train}/rows.parquet"
    line = splits.run({"task": task, "train": train, "seed": 0, "classes": 3}, index, out)
    return out, line


def test_from_the_reader_to_the_table(tmp_path):
    study = demo()
    root = make_vtab1k(tmp_path / "in", {"train800": 12, "val200": 6, "test": 3})
    split_file, line = prepared(tmp_path, "vtab1k", root, "digits", "8")
    assert "JPEG of quality 75" in line
    plain = make_wds(tmp_path / "wds", {"train": [0, 1, 2] * 4, "test": [0, 1, 2]})
    own_file, _ = prepared(tmp_path, "wds", plain, "fashion_mnist", "train")
    cells = [cell for cell in study.cells if cell.train == study.base_train]
    files = []
    for cell in cells:
        inputs = {"digits": {"splits": split_file}, "fashion_mnist": {"splits": own_file}}.get(cell.task, {})
        path = tmp_path / "final" / cell.folder / "rows.parquet"
        rows = final_rows(study, [cell]).drop(columns=["backbone", "method", "task", "train"])
        records.write_rows(path, "final", rows, provenance({}, inputs))
        files.append(str(path))
    said = substitutes_line(study, {"final": files})
    assert said.startswith("Substitutes: ")
    assert "Digits: images are JPEG of quality 75" in said
    assert "Fashion-MNIST: val is 2 train images drawn at random" in said
    assert "Shapes" not in said
    out = {form: str(tmp_path / f"table.{form}") for form in ("csv", "md", "tex", "html", "note")}
    table({"number": 1, "config": study.config}, {"final": files}, out)
    for form in ("md", "tex", "html"):
        assert "Substitutes: " in (tmp_path / f"table.{form}").read_text()


def test_nothing_is_said_where_nothing_was_substituted(tmp_path):
    study = demo()
    cell = study.cells[0]
    path = tmp_path / cell.folder / "rows.parquet"
    rows = final_rows(study, [cell]).drop(columns=["backbone", "method", "task", "train"])
    records.write_rows(path, "final", rows, provenance({}))
    assert substitutes_line(study, {"final": [str(path)]}) == ""
