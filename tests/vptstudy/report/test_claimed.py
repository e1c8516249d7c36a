"""table_claims and table_correlations: what a study's rows say of the paper's sentences, against pandas and scipy."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
import scipy.stats

from tests.vptstudy.report.synthetic import answers_of, curve_rows, fid_rows
from vptcore.analysis.claims import CLAIMS
from vptcore.data.tasks import TASKS
from vptstudy.report.tables.extras import EXTRAS
from vptstudy.report.tables.renderers import to_html, to_latex, to_markdown
from vptstudy.study import Cell

MAIN = "vit_b16_sup21k"
PAIR = ("full", "vpt")


@pytest.fixture(scope="module")
def study(paper):
    return paper


@pytest.fixture(scope="module")
def frames(study, paper_final):
    base = [c for c in study.cells if (c.backbone, c.train) == (MAIN, "800") and c.method in PAIR]
    some = paper_final[(paper_final.backbone == MAIN) & paper_final.train.isin(["800", "one_shot"])]
    some = some[some.method.isin(PAIR)]
    return {
        "final": paper_final, "predictions": answers_of(some, images=1000),
        "curves": curve_rows(study, base), "fid": fid_rows(study.used("task"), "inception"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def claims(study, frames):
    return EXTRAS["claims"].build(study, frames)


def means(final: pd.DataFrame, train: str, backbone: str = MAIN) -> pd.DataFrame:
    rows = final[(final.backbone == backbone) & (final.train == train)]
    return 100 * rows.pivot_table(index="task", columns="method", values="test_accuracy")


def row(claims, says: str) -> pd.Series:
    return claims.frame[claims.frame.says.str.startswith(says)].iloc[0]


def test_ours_are_pandas(claims, frames):
    base, shot = means(frames["final"], "800"), means(frames["final"], "one_shot")
    vtab = [t for t in base.index if TASKS[t].group != "fgvc"]
    assert row(claims, "VPT is ahead of FT").ours.startswith(f"{(base.vpt > base.full)[vtab].sum()} of 19")
    assert row(claims, "One-shot: VPT").ours.startswith(f"{(shot.vpt > shot.full).sum()} of 19")
    probe = (base.vpt - base.linear)[vtab]
    assert row(claims, "VPT outperforms the linear").ours.startswith(
        f"{(probe > 0).sum()} of 19, {probe.mean():+.1f} ["
    )
    swin = means(frames["final"], "800", "swin_b_sup21k")
    assert row(claims, "Swin").ours.startswith(f"{(swin.vpt > swin.full).sum()} of 19")


def test_every_sentence_has_a_row_and_every_form_shows_it(claims):
    assert len(claims.frame) == len(CLAIMS)
    markdown, html, latex = to_markdown(claims), str(to_html(claims)), to_latex(claims)
    assert latex.isascii()
    for said in claims.frame.says:
        assert said.replace("'", "&#39;") in html
    assert markdown.count("**§") == claims.frame.section.nunique()
    assert set(claims.frame.here) == {"yes", "no", "open", ""}


def test_a_study_that_lacks_cells_says_so(study, frames, demo):
    """Of three tasks no count is that of nineteen; a study of other tasks has no such table."""
    kept = tuple(
        c for c in study.cells if c.task in ("cifar100", "dtd", "svhn") and (c.backbone, c.train) == (MAIN, "800")
    )
    small = replace(study, cells=kept)
    wanted = EXTRAS["claims"].reads(small)
    assert set(wanted["final"]) == set(kept)
    assert {c.method for c in wanted["curves"]} == set(PAIR)
    built = EXTRAS["claims"].build(small, frames)
    counted = row(built, "VPT is ahead of FT")
    assert counted.ours.split(" (")[0].endswith("of 3")
    assert (counted.in_print, counted.here) == ("yes", "open")
    assert row(built, "MAE").ours == "–"
    assert EXTRAS["claims"].reads(demo) == {}


def test_without_curves_or_distances_these_rows_are_empty(study, frames):
    built = EXTRAS["claims"].build(study, {"final": frames["final"], "predictions": {}})
    assert set(built.frame[built.frame.section.str.startswith("§5.1")].ours) == {"–"}
    assert row(built, "Near objectives").ours == "–"
    assert row(built, "VPT leads in quadrants").ours == "–"


def test_correlations_are_scipys(study, frames):
    found = EXTRAS["correlations"].build(study, frames).frame.set_index("title")
    base, fid = means(frames["final"], "800"), frames["fid"].set_index("task").fid.astype(float)
    gap = (base.vpt - base.full)[[t for t in base.index if TASKS[t].group != "fgvc"]].round(9)
    near = [t for t in gap.index if TASKS[t].group != "structured"]
    for title, tasks in (("All tasks", list(gap.index)), ("Near objectives", near)):
        theirs = scipy.stats.spearmanr(fid[tasks], gap[tasks])
        assert found.loc[title, "rho"] == pytest.approx(theirs.statistic)
        assert found.loc[title, "p"] == pytest.approx(theirs.pvalue, abs=0.03)
        assert found.loc[title, "low"] < theirs.statistic < found.loc[title, "high"]
    assert list(found.tasks) == [19, 11, 8, 5]
    assert "−0.30 over 5 tasks" in EXTRAS["correlations"].build(study, frames).caption


def test_too_few_tasks_have_no_correlation(study):
    few = replace(study, cells=tuple(Cell(MAIN, m, t, "800") for m in PAIR for t in ("dtd", "svhn", "cifar100")))
    assert EXTRAS["correlations"].reads(few) == {}
