"""The extra tables of statistics: numbers against scipy and pandas, and rows that are missing or wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.stats
import yaml

from tests.vptstudy.report.synthetic import answers_of, curve_rows, fid_rows, final_rows, search_rows
from vptcore.analysis.statistics import CELL
from vptcore.jobs.provenance import provenance
from vptcore.records import RowsError, write_rows
from vptstudy.config.resolve import load_study
from vptstudy.graph import targets
from vptstudy.report import produce
from vptstudy.report.bycell import ByCell
from vptstudy.report.tables.extras import EXTRAS
from vptstudy.report.tables.renderers import to_csv, to_html, to_latex, to_markdown
from vptstudy.study import Cell

MINI = "vit_mini_cifar10"


@pytest.fixture(scope="module")
def frames(demo):
    demo.config["curves"] = {"seeds": "all", "images": 250}
    final = final_rows(demo)
    return {
        "final": final, "predictions": answers_of(final), "curves": curve_rows(demo, demo.cells),
        "fid": fid_rows(demo.used("task")), **searched(demo),
    }  # fmt: skip


def searched(study, images=20) -> dict[str, pd.DataFrame]:
    """Searches whose predictions give their accuracies, with splits and index; val is rows 100 on, backwards."""
    search, index, splits = search_rows(study), [], []
    val = np.arange(100 + images - 1, 99, -1)
    for task in study.used("task"):
        index.append(pd.DataFrame({"task": task, "row": np.arange(200), "label": np.arange(200) % 7}))
    for task, train in {(cell.task, cell.train) for cell in study.searches}:
        splits.append(pd.DataFrame({"task": task, "train": train, "part": "val", "row": val}))
    right = [np.random.default_rng(i).random(images) < 0.6 for i in range(len(search))]
    search["val_predictions"] = [np.where(hits, val % 7, 9) for hits in right]
    search["val_accuracy"] = [np.nan if bad else hits.mean() for hits, bad in zip(right, search.diverged, strict=True)]
    return {"search": search, "index": pd.concat(index), "splits": pd.concat(splits)}


def test_every_form_of_every_extra_table(demo, frames):
    for name, spec in EXTRAS.items():
        built = spec.build(demo, frames)
        assert built.name == name
        assert len(built.frame) > 0
        assert to_latex(built).isascii()
        for form in (to_csv, to_markdown, to_html):
            assert str(form(built)) == str(form(spec.build(demo, frames)))


def test_their_files_are_named_and_their_targets_listed(demo):
    assert {"significance", "selection", "overfitting", "distances"} <= set(targets.tables_of(demo))
    assert set(targets.table_files(demo, "selection")) == {"search", "splits", "index"}
    assert "results/demo/splits/task=digits/train=160/rows.parquet" in targets.table_files(demo, "selection")["splits"]
    assert all(path.endswith("/rows.parquet") for path in targets.table_files(demo, "significance")["predictions"])


def test_significance_is_scipys(demo, frames):
    """Seeds and images by the formula written out; with one image's worth of images it would be Welch's test."""
    frame = EXTRAS["significance"].build(demo, frames).frame
    base = frame[(frame.train == "160") & (frame.method == "vpt") & (frame.against == "full")]
    for row in base[base.task != "mean"].itertuples():
        a, b = (frames["predictions"][Cell(MINI, side, row.task, "160")] for side in ("vpt", "full"))
        wide_a, wide_b = (
            (side.label == side.prediction).astype(float).to_numpy().reshape(len(demo.seeds), -1) for side in (a, b)
        )
        images = np.var(wide_a.mean(0) - wide_b.mean(0), ddof=1) / wide_a.shape[1]
        seeds = sum(np.var(side.mean(1), ddof=1) / len(side) for side in (wide_a, wide_b))
        both = 0.0
        for side in (wide_a, wide_b):
            S, N = side.shape
            left = side - side.mean(1)[:, None] - side.mean(0) + side.mean()
            both += (left**2).sum() / (S - 1) / (N - 1) / S / N
        half = (row.high - row.low) / 2
        error = 100 * np.sqrt(max(images + seeds - both, images, seeds))
        assert row.difference == pytest.approx(100 * (wide_a.mean() - wide_b.mean()))
        assert 1.95 < half / error < 4.4  # of a t with many degrees of freedom, or with two
        assert row.p == pytest.approx(
            2 * scipy.stats.t.sf(abs(row.difference) / error, _freedom(half / error)), abs=1e-4
        )
        right_a, right_b = (side.label.to_numpy() == side.prediction.to_numpy() for side in (a, b))
        assert row.only_a == pytest.approx((right_a & ~right_b).sum() / 3)
        exact = [
            scipy.stats.binomtest(int((right_a & ~right_b)[s].sum()), int((right_a ^ right_b)[s].sum()), 0.5).pvalue
            for s in (a.seed.to_numpy() == seed for seed in demo.seeds)
        ]
        assert row.mcnemar_exact == pytest.approx(min(1, 2 * np.median(exact)))
    everything = base[base.group == "all"].iloc[0]
    gaps = base.loc[base.task != "mean", "difference"]
    assert everything.wilcoxon == pytest.approx(scipy.stats.wilcoxon(gaps).pvalue)
    assert everything.difference == pytest.approx(gaps.mean())
    test = scipy.stats.ttest_1samp(gaps, 0).confidence_interval()
    assert (everything.like_low, everything.like_high) == pytest.approx((test.low, test.high))
    assert everything.least == 2 / 2 ** len(gaps)
    assert everything.record == f"{(gaps > 0).sum()}–0–{(gaps < 0).sum()}"
    assert (base.p_holm.dropna() >= base.p[base.p_holm.notna()]).all()
    alone = base[(base.task == "mean") & (base.group == "natural")]
    assert len(base[(base.group == "natural") & (base.task != "mean")]) > 1 or alone.wilcoxon.isna().all()


def _freedom(factor: float) -> float:
    """Degrees of freedom whose 97.5 % quantile this is."""
    return scipy.optimize.brentq(lambda of: scipy.stats.t.ppf(0.975, of) - factor, 1.5, 1e7)


def test_every_method_is_compared_and_vpt_with_each(demo, frames):
    frame = EXTRAS["significance"].build(demo, frames).frame
    found = set(zip(frame.method, frame.against, strict=True))
    assert {("linear", "full"), ("vpt", "linear"), ("vpt", "mixed"), ("vpt", "ft_then_pt"), ("vpt", "full")} <= found
    assert frame.loc[frame.task != "mean", "answer"].notna().all()


def test_significance_of_half_the_rows_counts_what_is_missing(demo, frames):
    final = frames["final"].query("not (method == 'vpt' and task == 'digits')")
    known = {cell: rows for cell, rows in frames["predictions"].items() if cell.method != "full"}
    built = EXTRAS["significance"].build(demo, {"final": final, "predictions": known})
    row = built.frame.query("method == 'vpt' and task == 'digits' and train == '160'").iloc[0]
    assert np.isnan([row.difference, row.p, row.mcnemar]).all()
    assert "2 of 40 cells have no rows yet" in built.caption
    assert "10 of 40 cells have no predictions yet" in built.caption
    assert built.frame.query("against == 'full'").mcnemar.isna().all()


def test_one_seed_has_no_interval(demo, frames):
    first = {cell: rows.query("seed == 42") for cell, rows in frames["predictions"].items()}
    built = EXTRAS["significance"].build(
        demo, frames | {"final": frames["final"].query("seed == 42"), "predictions": first}
    )
    assert built.frame[["low", "high", "p"]].isna().all().all()
    assert "have fewer than 3 seeds" in built.caption


def test_selection_is_the_analysis_and_its_groups_are_means(demo, frames):
    built = EXTRAS["selection"].build(demo, frames)
    rows = built.frame[built.frame.task != "mean"]
    assert len(rows[rows.method != "any"]) == len(demo.searches)
    right = frames["search"].query("method == 'vpt' and task == 'digits' and train == '160'")
    found = rows.query("method == 'vpt' and task == 'digits' and train == '160'").iloc[0]
    assert found.accuracy == pytest.approx(100 * right.val_accuracy.max())
    assert found.low <= found.accuracy <= found.high
    group = built.frame.query("method == 'vpt' and train == '160' and group == 'structured'")
    assert group[group.task == "mean"].other.item() == pytest.approx(group[group.task != "mean"].other.mean())


def test_the_choice_among_all_methods_and_the_mean_of_all_configurations(demo, frames):
    """Logits of ten classes that answer as the predictions do, for the methods of one task."""
    search = frames["search"].query("task == 'digits' and train == '160'").copy()
    rng = np.random.default_rng(0)
    logits = [rng.normal(size=(20, 10)) for _ in range(len(search))]
    for one, answers in zip(logits, search.val_predictions, strict=True):
        one[np.arange(20), answers] = one.max(1) + 0.5
    search["val_logits"] = [one.astype(np.float16).ravel() for one in logits]
    frame = EXTRAS["selection"].build(demo, frames | {"search": search}).frame.query("task == 'digits'")
    frame = frame.set_index("method")
    labels = np.arange(119, 99, -1) % 7
    odds = {}
    for method, mine in search.query("not diverged").groupby("method"):
        odds[method] = scipy.special.softmax([x.astype(float).reshape(20, 10) for x in mine.val_logits], -1).mean(0)
        assert frame.grid_mean[method] == pytest.approx(100 * (odds[method].argmax(1) == labels).mean())
    together = np.mean(list(odds.values()), axis=0)
    assert frame.grid_mean["any"] == pytest.approx(100 * (together.argmax(1) == labels).mean())
    assert frame.accuracy["any"] == frame.accuracy.drop("any").max()
    assert frame.configurations["any"] == frame.configurations.drop("any").sum()
    assert frame.corrected["any"] < frame.accuracy["any"], "the best of many on few images is too good"
    assert frame.best.drop("any").sum() == pytest.approx(100)
    unkept = EXTRAS["selection"].build(demo, frames).frame
    assert unkept.grid_mean.isna().all()


def test_selection_with_the_wrong_split_is_one_line_and_missing_searches_are_counted(demo, frames):
    with pytest.raises(RowsError, match=r"backbone=.*: search: 20 val predictions, but the split has 19 val images"):
        EXTRAS["selection"].build(demo, frames | {"splits": frames["splits"].query("row != 100")})
    with pytest.raises(RowsError, match="no split with val images"):
        EXTRAS["selection"].build(demo, frames | {"splits": frames["splits"].head(0)})
    half = EXTRAS["selection"].build(demo, frames | {"search": frames["search"].query("method == 'vpt'")})
    assert "25 of 30 searches have no rows yet" in half.caption


def test_overfitting_counts(demo, frames):
    built = EXTRAS["overfitting"].build(demo, frames)
    base = built.frame[built.frame.train == "160"].set_index("title")
    tasks = base[base.task != "mean"]
    for method in ("full", "vpt"):
        structured = tasks[tasks.group == "structured"]
        assert base.loc["Structured: overfit", method] == f"{structured[f'{method}_overfits'].sum()} of 3"
        for row in tasks.itertuples():
            rise, low, least = (getattr(row, f"{method}_{name}") for name in ("rise", "low", "minimum"))
            assert low < rise
            assert getattr(row, f"{method}_overfits") == (low > 0 and rise >= max(0.05 * least, 0.01))
    half = EXTRAS["overfitting"].build(demo, frames | {"curves": frames["curves"].query("method != 'full'")})
    assert half.frame.query("task != 'mean'").full.isna().all()
    assert "10 of 40 cells have no test curve" in half.caption


def test_seeds_that_diverged_are_counted_in_the_table_of_overfitting(demo, frames):
    ended = frames["final"].copy()
    full = (ended.method == "full") & (ended.train == "160")
    ended.loc[full & (ended.task == "digits") & (ended.seed == 42), "diverged"] = True
    ended.loc[full & (ended.task == "shapes_count"), "diverged"] = True
    built = EXTRAS["overfitting"].build(demo, frames | {"final": ended})
    base = built.frame[built.frame.train == "160"].set_index("title")
    assert base.full[demo.tasks["digits"].title].endswith("(1 diverged)")
    assert base.full[demo.tasks["shapes_count"].title] == "diverged"
    assert base.full["Structured: overfit"].endswith("of 2, 1 diverged")
    assert "4 runs of 2 cells diverged, and have no part in it." in built.caption


def test_the_papers_counts_stand_beside_ours(paper):
    cells = paper.select(backbone="vit_b16_sup21k", train="800")
    built = EXTRAS["overfitting"].build(paper, {"curves": curve_rows(paper, cells), "final": final_rows(paper, cells)})
    assert "8 of '9' Structured tasks (there are 8)" in built.caption
    assert "here 8 of 8 and 0 of 11" in built.caption


def test_distances_repeat_their_rows_and_name_their_setting(demo, frames):
    built = EXTRAS["distances"].build(demo, frames)
    assert built.frame.set_index("task").fid.to_dict() == frames["fid"].set_index("task").fid.to_dict()
    assert (
        "vit_mini_cifar10 features (2048 dimensions, resize synthetic) against cifar10 (50,000 images" in built.caption
    )
    mixed = frames["fid"].assign(network=["inception", *frames["fid"].network[1:]])
    assert "not comparable with each other" in EXTRAS["distances"].build(demo, {"fid": mixed}).caption
    assert "4 tasks have no rows yet" in EXTRAS["distances"].build(demo, {"fid": frames["fid"].head(1)}).caption
    with pytest.raises(RowsError, match="occurs twice"):
        EXTRAS["distances"].build(demo, {"fid": pd.concat([frames["fid"]] * 2)})


def test_rows_by_cell_are_read_when_asked_for(tmp_path):
    cell = Cell("b", "vpt", "digits", "160")
    path = tmp_path / cell.folder / "rows.parquet"
    rows = pd.DataFrame({"seed": [1], "row": [0], "label": [1], "prediction": [1], "confidence": [0.5], "loss": [0.1]})
    write_rows(path, "predictions", rows, provenance({}, {}))
    found = ByCell("predictions", [str(path)], ("seed", "label"))
    assert list(found) == [cell]
    assert cell in found
    assert set(found[cell].columns) == {*CELL, "seed", "label"}
    path.unlink()
    with pytest.raises(RowsError, match="no such file"):
        found[cell]


def test_the_job_reads_files_and_writes_every_form(tmp_path):
    """Two cells of the demo, written as rows: predictions are read cell by cell, the rest is counted as missing."""
    config = yaml.safe_load(Path("profiles/demo/study.yaml").read_text()) | {"results": str(tmp_path)}
    study = load_study(config)
    cells = [Cell(MINI, method, "digits", "160") for method in ("full", "vpt")]
    final = final_rows(study, cells)
    answers = answers_of(final)
    files = {"final": [study.path("final", cell) for cell in cells]}
    files["predictions"] = [study.path("predictions", cell) for cell in cells]
    for cell in cells:
        mine = final[final.method == cell.method].drop(columns=CELL)
        write_rows(study.path("final", cell), "final", mine, provenance({}, {}))
        more = answers[cell].assign(confidence=0.5, loss=0.1)
        write_rows(study.path("predictions", cell), "predictions", more, provenance({}, {}))
    made = {suffix: str(tmp_path / f"table.{suffix}") for suffix in ("csv", "md", "tex", "html", "note")}
    produce.table({"number": "significance", "config": config}, files, made)
    frame = pd.read_csv(made["csv"])
    row = frame.query("method == 'vpt' and task == 'digits' and train == 160").iloc[0]
    assert np.isfinite([row.difference, row.p, row.mcnemar]).all()
    assert frame.query("task == 'fashion_mnist'").mcnemar.isna().all()
    assert "McNemar" in Path(made["html"]).read_text()


def test_others_methods_stand_beside_the_papers_study_and_no_other(paper, paper_final, demo):
    built = EXTRAS["methods"].build(paper, {"final": paper_final})
    row = built.frame.set_index(["source", "name"]).loc["osu", "FT"]
    cells = paper_final[(paper_final.backbone == "vit_b16_sup21k") & (paper_final.train == "800")]
    vtab = cells[(cells.method == "full") & cells.task.isin([t.id for t in paper.tasks.values() if t.group != "fgvc"])]
    assert row["ours"] == pytest.approx(100 * vtab.groupby("task")["test_accuracy"].mean().mean())
    assert row["tasks"] == vtab["task"].nunique()
    assert "github.com/OSU-MLB/ViT_PEFT_Vision at cea7e21" in built.caption
    assert targets.tables_of(paper).count("methods") == 1
    assert EXTRAS["methods"].reads(demo) == {}
