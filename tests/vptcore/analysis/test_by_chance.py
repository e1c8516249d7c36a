"""One p for a table: exact where its numbers are independent, at its rate where means share their tasks' runs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from vptcore.analysis.by_chance import by_chance
from vptcore.analysis.published import verdict
from vptcore.analysis.statistics import estimate, group_mean

TASKS, METHODS, SEEDS = 7, ("full", "vpt"), 5
COLUMNS = ["method", "train", "group", "task", "metric", "std", "n", "verdict"]


def row(method, task, std, verdict, metric="accuracy", n=SEEDS):
    return (method, "800", "natural", task, metric, std, n, verdict)


def table(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=COLUMNS)


@pytest.mark.parametrize("outside", [0, 1, 3, 6])
def test_without_means_it_is_a_binomial_tail(outside):
    rng = np.random.default_rng(outside)
    cells = [row("vpt", f"t{i}", rng.uniform(0.1, 3), "outside" if i < outside else "within") for i in range(30)]
    found = by_chance(table(*cells))
    assert (found.compared, found.derived, found.outside) == (30, 0, outside)
    assert found.expected == pytest.approx(1.5)
    exact = stats.binomtest(outside, 30, 0.05, alternative="greater").pvalue
    assert found.p == pytest.approx(exact, abs=5 * math.sqrt(exact * (1 - exact) / 10_000) + 2e-4)


def test_a_mean_of_one_task_adds_nothing_new():
    """It is the task's number again: both outside is one event of 5 %, not one of .25 %."""
    both = [row("vpt", "t0", 0.7, "outside"), row("vpt", "mean", 0.7, "outside")]
    assert by_chance(table(*both)).p == pytest.approx(0.05, abs=0.011)


def test_what_is_not_judged_is_not_counted_but_part_of_its_mean():
    """A wild cell, too noisy to say, rules the mean: that is as good as independent of the quiet one."""
    cells = [row("vpt", "t0", 0.5, "outside"), row("vpt", "t1", 40.0, "too noisy"), row("vpt", "mean", 20.0, "outside")]
    found = by_chance(table(*cells))
    assert (found.compared, found.derived, found.outside) == (2, 1, 2)
    assert found.p == pytest.approx(0.05**2, abs=0.0025)
    nothing = by_chance(table(row("vpt", "t0", 0.5, "not run"), row("vpt", "t1", math.nan, "no interval", n=1)))
    assert (nothing.compared, nothing.p) == (0, 1.0)


def test_a_gap_is_drawn_with_its_two_cells():
    """Against scipy's Welch intervals of runs drawn here, the paper's runs among them."""
    cells = [row("full", "t0", 1.5, "within"), row("lora", "t0", 0.5, "outside")]
    gap = [row("lora", "t0", math.nan, "outside", metric="gap")]
    rng, draws = np.random.default_rng(1), 20_000
    a, b = rng.normal(0, 0.5, (draws, SEEDS)), rng.normal(0, 1.5, (draws, SEEDS))
    their_a, their_b = (rng.normal(0, std, (draws, 5)).mean(1) for std in (0.5, 1.5))

    def outside(gap, low, high):
        middle, half = (low + high) / 2, (high - low) / 2 * math.sqrt(2)
        return np.abs(gap - middle) > half

    between = stats.ttest_ind(a, b, axis=1, equal_var=False).confidence_interval()
    alone = [stats.ttest_1samp(x, 0, axis=1).confidence_interval() for x in (a, b)]
    count = outside(their_a - their_b, *between).astype(int)
    count += outside(their_a, *alone[0]).astype(int) + outside(their_b, *alone[1])
    assert by_chance(table(*cells, *gap)).p == pytest.approx((count >= 2).mean(), abs=0.01)


def simulated(rng) -> pd.DataFrame:
    """A table by the functions that make the real ones: runs here, a paper of five runs, printed to a tenth."""
    rows = []
    for method in METHODS:
        truth, std = rng.uniform(30, 90, TASKS), rng.uniform(0.3, 2.0, TASKS)
        ours = rng.normal(truth, std, (SEEDS, TASKS))
        theirs = rng.normal(truth, std, (5, TASKS)).mean(0)
        line = pd.DataFrame(
            {"seed": s, "task": f"t{i}", "test_accuracy": ours[s, i]} for s in range(SEEDS) for i in range(TASKS)
        )
        each = {f"t{i}": (estimate(ours[:, i]), f"{theirs[i]:.1f}") for i in range(TASKS)}
        each["mean"] = group_mean(line, list(each)).estimate, f"{theirs.mean():.2f}"
        rows += [row(method, task, one.std, verdict(printed, one)) for task, (one, printed) in each.items()]
    return table(*rows)


@pytest.mark.parametrize("seed", [0, 1])
def test_studies_that_agree_get_small_p_no_more_often_than_said(seed):
    rng = np.random.default_rng(seed)
    p = np.array([by_chance(simulated(rng), draws=400).p for _ in range(500)])
    for level in (0.05, 0.2):
        assert (p <= level).mean() <= level + 2 * math.sqrt(level * (1 - level) / len(p))


def test_a_gap_beside_a_cell_that_hardly_varies_is_the_other_cell_again():
    cells = [row("full", "t0", 1e-6, "within"), row("lora", "t0", 1.0, "outside")]
    gap = row("lora", "t0", math.nan, "outside", metric="gap")
    assert by_chance(table(*cells, gap)).p == pytest.approx(0.05, abs=0.011)
