"""The paper's numbers: complete, consistent with themselves but for the slips, and the slips all listed."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vptcore.analysis.published import (
    KNOWN,
    WHERE,
    chance_of_outside,
    of_further_runs,
    printed_table,
    read_published,
    read_slips,
    verdict,
)
from vptcore.analysis.statistics import Estimate, estimate
from vptcore.data.tasks import TASKS
from vptcore.models.backbones import BACKBONES
from vptcore.models.methods_table import METHODS
from vptstudy.config.resolve import load_study
from vptstudy.study import Cell

ROW = ["table", "backbone", "method", "train", "group", "metric"]


def to_number(printed: pd.Series) -> pd.Series:
    """What stands before a bracket: the paper's means do not use the further digit of '96.2(9)'."""
    return pd.to_numeric(printed.str.extract(r"^([\d.]+)")[0])


def test_ids_are_the_projects():
    frame = read_published()
    assert len(frame) == 562
    assert sorted(set(frame.table)) == list(range(1, 21))
    assert set(frame.backbone) <= set(BACKBONES)
    assert set(frame.method) <= {*METHODS, ""}
    assert set(frame.task) <= {*TASKS, "mean"}
    assert set(frame.train) == {
        "400",
        "800",
        "5000",
        "10000",
        "one_shot",
        "train",
    }
    inside = frame[frame.task != "mean"]
    assert (inside.task.map(lambda task: TASKS[task].group) == inside.group).all()
    assert not frame.duplicated(WHERE).any()


def spans(printed: pd.Series) -> tuple[pd.Series, pd.Series]:
    """The least and the largest number that may have been printed so; '96.2(9)' as either 96.2 or 96.29."""
    value, digits = to_number(printed), printed.str.extract(r"^\d+\.?(\d*)")[0].str.len()
    unit = 10.0**-digits
    return value - unit / 2, value + unit.where(printed.str.contains("(", regex=False), unit / 2)


def impossible_means() -> set[tuple]:
    """Printed means, by ROW, that no numbers have which round to their row's."""
    frame = read_published().query("metric in ('accuracy', 'tuned_percent')")
    frame = frame[frame.printed.str.match(r"\d")]
    frame["low"], frame["high"] = spans(frame.printed)
    means = frame[frame.task == "mean"].set_index(ROW)
    rows = frame[frame.task != "mean"].groupby(ROW)[["low", "high"]].mean().loc[means.index]
    return set(means.index[(means.high < rows.low - 1e-9) | (means.low > rows.high + 1e-9)])


def test_the_means_that_no_rounding_gives_are_the_listed_slips():
    slips = read_slips().query("kind == 'slip' and metric != 'wins'")
    assert (slips.task == "mean").all()
    assert impossible_means() == set(slips.set_index(ROW).index)
    assert sorted(slips.printed) == ["0.28", "0.38", "66.62", "78.78", "83.48", "83.48"]


def test_doubts_and_other_definitions_are_no_slips():
    known = read_slips()
    assert set(known.kind) == set(KNOWN)
    assert sorted(known.query("kind == 'doubt'").printed) == ["78.20", "8", "83.3", "85.9"]
    assert set(known.query("kind == 'another definition'").table) == {16, 17, 18, 20}


def test_the_one_slip_in_a_number_of_wins_is_no_count_of_its_row():
    """By pandas: 'of the tasks of the row, those printed above FT'; Table 2's doubtful 8 is such a count."""
    cells = read_published().query("metric == 'accuracy' and task != 'mean' and method in ('full', 'vpt')")
    wide = cells.pivot(index=["table", "backbone", "train", "group", "task"], columns="method", values="value")
    counted = (wide.vpt > wide.full).groupby(["table", "backbone", "train", "group"]).sum()
    means = read_published().query("method == 'vpt' and task == 'mean'").dropna(subset="wins")
    printed = means.set_index(["table", "backbone", "train", "group"])["wins"]
    unlike = {key[0] for key, wins in printed.items() if counted[key] != wins}
    assert unlike == set(read_slips().query("kind == 'slip' and metric == 'wins'").table) == {1}


def test_the_gaps_of_table_20_are_the_differences_of_its_rows():
    wide = read_published().query("table == 20").pivot(index="train", columns=["method", "metric"], values="value")
    gaps = wide["lora", "accuracy"] - wide["full", "accuracy"]
    assert wide["lora", "gap"].to_dict() == pytest.approx(gaps.to_dict())


def test_what_a_mean_should_be_is_the_mean_of_its_row():
    """Of the printed cells, or of those with what a slip among them should be."""
    slips = read_slips().query("metric in ('accuracy', 'tuned_percent')").set_index(WHERE)["should_be"].dropna()
    cells = read_published().assign(value=lambda rows: to_number(rows.printed)).set_index(WHERE)["value"]
    in_rows = slips[slips.index.get_level_values("task") != "mean"]
    cells.update(in_rows)
    cells = cells[cells.index.get_level_values("task") != "mean"]
    means = slips.drop(index=in_rows.index).droplevel("task")
    ours = cells.groupby(ROW).mean().loc[means.index]
    assert means.to_dict() == pytest.approx(ours.to_dict(), abs=0.0051)


def test_both_values_of_the_cell_that_two_tables_print_give_the_mean():
    """So none of Resisc45's 83.4 (Table 1) and 83.3 (Table 5) is shown to be the wrong one."""
    row = read_published().query(
        "method == 'vpt' and train == '800' and group == 'specialized' and metric == 'accuracy'"
    )
    row = row.query("backbone == 'vit_b16_sup21k'").set_index(["table", "task"])
    others = ["patch_camelyon", "diabetic_retinopathy"]
    for table, eurosat in ((1, 96.2), (5, row.value[5, "eurosat"])):
        mean = (sum(row.value[table, task] for task in (*others, "resisc45")) + eurosat) / 4
        assert mean == pytest.approx(row.value[table, "mean"], abs=0.0051)
    assert read_slips().query("task == 'resisc45' and metric == 'accuracy'").should_be.isna().all()


def test_every_slip_quotes_a_printed_cell():
    slips = read_slips()
    quoted = slips[slips.metric != "wins"].merge(read_published(), on=WHERE, how="left", suffixes=("", "_paper"))
    assert (to_number(quoted.printed) == to_number(quoted.printed_paper)).all()
    assert slips.why.str.len().min() > 10
    assert not slips.duplicated(WHERE).any()


def test_prompt_lengths_that_fit_the_tuned_shares_are_the_slips_alternative():
    """tuned = 12 p 768 + 769 C and total = 85,798,656 + tuned give Tables 3 and 4 with the corrected lengths."""
    shares = (
        read_published()
        .query("table in (3, 4) and metric == 'tuned_percent' and task != 'mean'")
        .set_index("task")["value"]
    )
    lengths = (
        read_published().query("metric == 'prompt_length' and task != 'mean'").set_index("task")["value"].to_dict()
    )
    lengths |= (
        read_slips().query("metric == 'prompt_length' and task != 'mean'").set_index("task")["should_be"].to_dict()
    )
    for task, share in shares.items():
        tuned = 12 * 768 * lengths[task] + 769 * TASKS[task].classes
        assert 100 * tuned / (85_798_656 + tuned) == pytest.approx(share, abs=0.0051), task


def test_printed_table_carries_its_slips():
    table = printed_table(6, "vit_b16_sup21k")
    slip = table[table.why.notna()]
    assert list(slip.should_be) == [76.14]
    assert len(table) == 68
    assert printed_table(6, "vit_mini_cifar10").empty


def test_reading_twice_gives_equal_frames():
    pd.testing.assert_frame_equal(read_published(), read_published())


WIDTH = 0.5**0.5


@pytest.mark.parametrize(
    ("printed", "ours", "options", "expected"),
    [
        ("50.0", estimate([49.0, 50.0, 51.0]), {}, "within"),
        ("60.0", estimate([49.0, 50.0, 51.0]), {}, "outside"),
        # With five runs on both sides the interval is √2 times that of the mean: it ends at 50.00. What is printed as
        # 50.0 may have been 50.04, but 50.04 itself lies outside.
        ("50.0", Estimate(49.0, 1.0, 49 - WIDTH, 49 + 0.96 * WIDTH, 5), {}, "within"),
        ("50.04", Estimate(49.0, 1.0, 49 - WIDTH, 49 + WIDTH, 5), {}, "outside"),
        ("44.5%", Estimate(44.0, 1.0, 44 - 0.46 * WIDTH, 44 + 0.46 * WIDTH, 5), {}, "within"),
        # One seed of five ended at chance: nearly every number would lie inside.
        ("68.9", estimate([64.0, 65.0, 1.0, 64.0, 64.5]), {}, "too noisy"),
        ("68.9", estimate([64.0, 65.0, 1.0, 64.0, 64.5]), {"known": "slip"}, "slip"),
        ("50.0", estimate([50.0]), {}, "no interval"),
        ("50.0", Estimate(), {}, "not run"),
        ("50.0", Estimate(), {"known": "slip"}, "slip"),
        ("50.0", estimate([49.0, 50.0, 51.0]), {"known": "another definition"}, "another definition"),
        # Tables 8 and 9 print some tuned shares with three digits: equal means equal to the third.
        ("0.283", Estimate(0.283, n=5), {"spread": False}, "equal"),
        ("0.283", Estimate(0.28, n=5), {"spread": False}, "different"),
        ("10", Estimate(10.0, n=5), {"spread": False}, "equal"),
        ("10", Estimate(50.0, n=5), {"spread": False}, "different"),
    ],
)
def test_verdict(printed, ours, options, expected):
    assert verdict(printed, ours, **options) == expected


@pytest.mark.parametrize("runs", [3, 5, 10])
def test_the_mean_of_five_runs_like_ours_lies_inside_in_95_of_100(runs):
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(70, 0.8, (4000, runs)), rng.normal(70, 0.8, (4000, 5)).mean(1)
    bounds = np.array([of_further_runs(estimate(one)) for one in ours])
    inside = (bounds[:, 0] <= theirs) & (theirs <= bounds[:, 1])
    assert inside.mean() == pytest.approx(0.95, abs=0.012)
    plain = np.array([(one.low, one.high) for one in map(estimate, ours)])
    short = stats.t.ppf(0.975, runs - 1) / (1 + runs / 5) ** 0.5  # .92, .88 and .78 of the means
    expected = 2 * stats.t.cdf(short, runs - 1) - 1
    assert ((plain[:, 0] <= theirs) & (theirs <= plain[:, 1])).mean() == pytest.approx(expected, abs=0.02)


@given(st.integers(1, 200), st.data())
def test_the_chance_of_so_many_outside_is_a_binomial_tail(compared, data):
    outside = data.draw(st.integers(0, compared))
    expected = stats.binomtest(outside, compared, 0.05, alternative="greater").pvalue
    assert chance_of_outside(outside, compared) == pytest.approx(expected, rel=1e-9)


# The paper's text with its tables as HTML, for those who have it.
PAPER = Path(os.environ.get("VPTCORE_PAPER_TEXT", "none"))


@pytest.mark.skipif(not PAPER.is_file(), reason="VPTCORE_PAPER_TEXT names no file with the paper's text")
@pytest.mark.parametrize("number", range(1, 21))
def test_numbers_and_styles_are_the_papers_own(number):
    """Every cell of a table, in order, as printed, bold and underlined where the paper has it so."""
    tables = re.findall(r"<table.*?</table>", PAPER.read_text(), re.S)
    found = [
        (html.unescape(re.sub(r"<[^>]+>", "", cell)).strip(), "<b>" in cell, "<u>" in cell)
        for cell in re.findall(r"<td[^>]*>(.*?)</td>", tables[number - 1], re.S)
    ]
    ours = read_published().query("table == @number")
    wanted = [(row.printed, "bold" in row.style, "underlined" in row.style) for row in ours.itertuples()]
    rest = iter(found)
    assert all(any(cell == other for other in rest) for cell in wanted)
    assert sum(cell[1] for cell in wanted) == sum(cell[1] for cell in found)


def test_the_papers_config_has_a_cell_for_every_printed_accuracy():
    """All but Sun397's larger sets where images come as VTAB-1k folders of 1,000; from the archive, those too."""
    config = yaml.safe_load((Path(__file__).resolve().parents[3] / "config.yaml").read_text())
    frame = read_published().query("metric == 'accuracy' and task != 'mean'").dropna(subset="value")
    printed = {Cell(r.backbone, r.method, r.task, r.train) for r in frame.itertuples()}
    assert len(printed) == 335
    missing = printed - set(load_study(config).cells)
    assert {(c.task, c.train) for c in missing} == {("sun397", "5000"), ("sun397", "10000")}
    assert {("sun397", "5000"), ("sun397", "10000")} <= set(load_study(config).left_out), "and it says so"
    config["tasks"] = (config.get("tasks") or {}) | {"sun397": {"source": "original"}}
    assert printed <= set(load_study(config).cells)
