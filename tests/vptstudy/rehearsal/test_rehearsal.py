"""The rehearsal: rows around the printed means, consistent with each other, and tables that agree with the paper."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from vptcore.analysis.published import KNOWN, read_published, read_slips
from vptcore.choices import ConfigError
from vptcore.records import KINDS, METADATA_KEY, read_many, read_provenance
from vptcore.training.choose import choose
from vptstudy.audit import printing
from vptstudy.audit.examine import audit
from vptstudy.audit.findings import Audit
from vptstudy.config.resolve import load_study
from vptstudy.rehearsal import levels, rows, whole, write
from vptstudy.report.tables import build
from vptstudy.study import Cell

TASKS = ["cifar100", "patch_camelyon", "clevr_count"]


def config(results: Path, whole: bool = False) -> dict:
    found = yaml.safe_load(Path("config.yaml").read_text()) | {"results": str(results), "study": "rehearsal"}
    found["report"] = {**found["report"], "notice": write.NOTICE}
    if not whole:
        found |= {"epochs": 4, "explain": {"tasks": ["cifar100"], "images": 2}}
        base = {"backbones": ["vit_b16_sup21k"], "tasks": TASKS}
        found["experiments"] = {
            "strategies": {**base, "methods": ["full", "vpt", "mixed", "ft_then_pt"], "train": [800]},
            "sizes": {**base, "methods": ["full", "vpt"], "train": [400, 10000]},
        }
    return found


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A part of the paper's study, written by one process."""
    study = load_study(config(tmp_path_factory.mktemp("rehearsal")))
    write.write_study(study, workers=1, say=lambda line: None)
    return study


def of(study, kind: str) -> pd.DataFrame:
    return read_many(sorted(Path(study.root, kind).rglob("rows.parquet")), kind)


def test_every_printed_accuracy_is_a_level():
    """By pandas: each printed accuracy that is no slip is its cell's level; slips settle what tables disagree on."""
    paper = load_study(yaml.safe_load(Path("config.yaml").read_text()))
    level = levels.accuracies(paper)
    assert set(level) == set(paper.cells)
    keys = ["table", "method", "train", "task"]
    slips = set(map(tuple, read_slips().query("metric == 'accuracy'")[keys].to_numpy()))
    printed = read_published().query("metric == 'accuracy' and task != 'mean'")
    for row in printed.itertuples():
        cell = Cell(row.backbone, row.method, row.task, row.train)
        # Where a source has too few images, the study leaves the cell out.
        if cell in level and (row.table, row.method, row.train, row.task) not in slips:
            assert level[cell] == pytest.approx(row.value / 100)


def test_tuned_parameters_are_the_papers(study):
    """Tables 3 and 4 print the tuned share of every task."""
    paper = load_study(yaml.safe_load(Path("config.yaml").read_text()))
    printed = read_published().query("metric == 'tuned_percent' and table in (3, 4) and task != 'mean'")
    assert len(printed) == 19
    for row in printed.itertuples():
        tuned, total = levels.parameters(Cell(row.backbone, "vpt", row.task, "800"), paper)
        assert round(100 * tuned / total, 2) == pytest.approx(row.value, abs=0.0051), row.task


def test_every_kind_is_there_and_says_that_it_is_synthetic(study):
    for kind in KINDS:
        files = sorted(Path(study.root, kind).rglob("rows.parquet"))
        assert files, kind
        assert read_provenance(files[0])["synthetic"] == write.NOTICE
        assert len(of(study, kind)) > 0


def test_rows_agree_with_each_other(study):
    final, predictions, curves, search = (of(study, kind) for kind in ("final", "predictions", "curves", "search"))
    where = ["method", "task", "train", "seed"]
    hits = predictions.assign(hit=predictions.label == predictions.prediction).groupby(where)[["hit", "loss"]].mean()
    stored = final.set_index(where).sort_index()
    assert np.allclose(hits.hit, stored.test_accuracy)
    assert np.allclose(hits.loss, stored.test_loss, rtol=1e-5)
    last = curves[curves.epoch == 4].set_index(where).sort_index()
    sampled = predictions.groupby(where)["loss"].apply(
        lambda losses: losses.iloc[
            np.random.default_rng(0).permutation(len(losses))[: study.config["curves"]["images"]]
        ].mean()
    )
    assert np.allclose(last.test_loss, sampled.sort_index(), rtol=1e-5)
    for (method, task), mine in final.groupby(["method", "task"]):
        grid = search[(search.method == method) & (search.task == task)]
        assert set(mine.config) == {choose(grid)["config"]}
    index = of(study, "index").set_index(["task", "row"])
    splits = of(study, "splits").query("task == 'clevr_count' and train == '800' and part == 'val'")
    val = index.loc[[("clevr_count", row) for row in splits.row], "label"].to_numpy()
    one = search.query("method == 'vpt' and task == 'clevr_count' and not diverged").iloc[0]
    assert (np.asarray(one.val_predictions) == val).mean() == pytest.approx(one.val_accuracy)
    some = predictions[predictions.task == "clevr_count"].head(500)
    assert (index.loc[list(zip(some.task, some.row, strict=True))].split == "test").all()


def test_tables_are_the_papers_within_the_noise_and_slips_are_flagged(study):
    final = of(study, "final")
    frame = pd.concat([build.build(number, study, final).frame for number in (1, 2, 5, 6)])
    cells = frame[(frame.metric == "accuracy") & (frame.task != "mean") & frame.printed.notna()]
    assert len(cells) == 4 * 3 + 3 * 3 * 2
    # Five seeds of ours and five of the paper's, rounding to a thousandth, and the printed digit.
    allowed = 100 * (4.5 * rows.SPREAD * np.sqrt(2 / 5) + 0.0005) + 0.05
    assert (cells.difference.abs() < allowed).all()
    flagged = cells[cells.verdict == "doubt"]
    assert list(zip(flagged.method, flagged.task, strict=True)) == [("ft_then_pt", "cifar100")]
    caption = build.build(1, study, final).caption
    assert write.NOTICE in caption


def test_any_number_of_processes_writes_the_same_rows(study, tmp_path):
    other = load_study(config(tmp_path))
    write.write_study(other, workers=2, say=lambda line: None)
    for kind in ("final", "predictions", "search", "explain", "splits"):
        pd.testing.assert_frame_equal(of(other, kind), of(study, kind))


def looked_at(study) -> Audit:
    return audit(study, Path(study.root), Path(), "of the test")


def test_an_audit_holds_what_can_be_held_and_says_that_the_rows_are_synthetic(study):
    found = looked_at(study)
    assert [(report.file, report.wrong) for report in found.reports if report.wrong] == []
    assert {report.stage for report in found.reports if report.there} == set(KINDS)
    assert "synthetic, no result" in printing.verdict(found, 1.0)
    assert printing.lines(found)[0].startswith("synthetic: ")


def test_an_audit_finds_an_edited_rehearsal_and_rows_that_are_on_the_wrong_side(study, tmp_path):
    other = load_study(config(tmp_path))
    shutil.copytree(study.root, other.root)
    cell = other.cells[0]
    path = other.path("final", cell)
    table = pq.read_table(path, partitioning=None)

    def write_with(table) -> str:
        pq.write_table(table, path)
        (wrong,) = [report for report in looked_at(other).reports if report.wrong]
        assert path.endswith(wrong.file)
        return " ".join(finding.text for finding in wrong.wrong)

    place = table.schema.get_field_index("test_accuracy")
    edited = table.set_column(place, table.schema.field(place), [[0.5] * len(table)])
    assert "its predictions give" in write_with(edited)
    note = json.loads(table.schema.metadata[METADATA_KEY])
    del note["synthetic"]
    unmarked = table.replace_schema_metadata({METADATA_KEY: json.dumps(note)})
    assert "without the mark of synthetic" in write_with(unmarked)


def test_synthetic_rows_in_a_study_that_is_no_rehearsal_are_wrong(study):
    """The same files under a config without the notice: nothing is spared, and every one of them says why."""
    plain = config(Path(study.root).parent)
    del plain["report"]["notice"]
    found = looked_at(load_study(plain))
    assert not found.synthetic
    assert not found.holds
    rows_files = [report for report in found.reports if report.there and report.stage in KINDS]
    assert len(rows_files) > 100
    for report in rows_files:
        assert any("in a study that is no rehearsal" in finding.text for finding in report.wrong), report.file


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "rehearsal").mkdir()
    (tmp_path / "rehearsal/mine.txt").write_text("precious")
    with pytest.raises(ConfigError, match="holds something that no rehearsal wrote"):
        whole.rehearse(config(tmp_path))
    assert (tmp_path / "rehearsal/mine.txt").read_text() == "precious"


@pytest.mark.slow
def test_the_whole_rehearsal():
    """All 20 tables, all 19 figures, the report: and the paper's numbers come back as often as intervals promise."""
    done = subprocess.run([sys.executable, "-m", "vptstudy.cli.main", "rehearse"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    paper = load_study(config(Path("results"), whole=True))
    root = Path(paper.root)
    assert [p.stem for p in sorted((root / "tables").glob("table_[0-9]*.csv"))] == [
        f"table_{n:02d}" for n in range(1, 21)
    ]
    drawn = [p.stem for p in sorted((root / "figures").glob("figure_[0-9]*.pdf"))]
    assert drawn == [f"figure_{n:02d}" for n in range(1, 20)]
    # Drawings show no rows, and so nothing made up.
    from_rows = [p for p in (root / "figures").glob("*.txt") if p.stem not in ("figure_02", "figure_07")]
    assert len(from_rows) > 17
    assert all(write.NOTICE in p.read_text() for p in from_rows)
    counts = Counter(whole.verdicts(paper))
    assert 0.92 <= counts["within"] / (counts["within"] + counts["outside"]) <= 0.99
    known = read_slips().query("metric != 'wins'").kind.value_counts()
    assert {kind: counts[kind] for kind in KNOWN} == known.to_dict()


def own_config(results: Path) -> dict:
    """A task of one's own with neither classes nor a group, whose images nobody has counted."""
    for name in "abcde":
        (results / "leaves" / name).mkdir(parents=True, exist_ok=True)
        (results / "leaves" / name / "1.png").write_bytes(rows.image("leaves", 1))
    mine = {"backbones": ["vit_b16_sup21k"], "methods": ["full", "vpt"], "tasks": ["leaves"], "train": [100, "train"]}
    leaves = {"source": "folder", "path": str(results / "leaves"), "classes": 5}
    return {
        "study": "mine",
        "results": str(results),
        "tasks": {"leaves": leaves},
        "experiments": {"mine": mine},
    }


def test_a_task_of_ones_own_can_be_rehearsed(tmp_path):
    study = load_study({**own_config(tmp_path), "study": "rehearsal"})
    assert write.write_study(study, workers=1, say=lambda line: None) > 0
    final = of(study, "final")
    assert set(final["task"]) == {"leaves"}
    assert (final["test_images"] > 0).all()
    assert (of(study, "splits").query("train == '100'")["part"].isin(("train", "val"))).sum() == 125
    assert np.isfinite(of(study, "search")["val_accuracy"].dropna()).all()


def test_a_study_beside_no_printed_number_says_so(tmp_path):
    study = load_study({**own_config(tmp_path), "study": "rehearsal"})
    assert whole.summary(study) == "The paper prints no number that this study has a cell for."


def test_a_rehearsal_that_was_stopped_makes_room_for_the_next(tmp_path, monkeypatch):
    """Its config lies in its folder before its first row does."""

    def stopped(study, cores):
        (Path(study.root) / "final").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(whole, "write_study", stopped)
    with pytest.raises(KeyboardInterrupt):
        whole.rehearse({**own_config(tmp_path), "report": {}})
    monkeypatch.setattr(whole, "write_study", lambda study, cores: 0)
    monkeypatch.setattr(whole, "render", lambda study, cores: 1)
    assert whole.rehearse({**own_config(tmp_path), "report": {}}) == 1
    assert not (tmp_path / "rehearsal" / "final").exists()
