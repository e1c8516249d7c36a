"""analysis.evidence against scipy, and against simulations of which the truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from vptcore.analysis.evidence import (
    MIXED,
    NEITHER,
    OPEN,
    A,
    B,
    corrected_directions,
    grouped,
    judge,
    judge_group,
    judge_task,
    not_worse,
)
from vptcore.analysis.paired import Contrast, with_interval
from vptcore.analysis.statistics import Difference


def contrast(difference, error=0.5, freedom=8.0):
    """A difference in points with a standard error that is half from seeds and half from images."""
    part = error**2 / 2
    blank = Contrast(difference, math.nan, math.nan, math.nan, part, part, 0.0, seeds=5, images=1000)
    return with_interval(blank, [(error**2, freedom)])


def test_a_group_on_these_tasks_is_welchs_formula():
    tasks = [contrast(2.0, 0.4, 6), contrast(-1.0, 1.2, 9)]
    found, error = grouped(tasks).these, math.hypot(0.4, 1.2) / 2
    freedom = (0.4**2 + 1.2**2) ** 2 / (0.4**4 / 6 + 1.2**4 / 9)
    assert found.difference == pytest.approx(0.5)
    assert [found.low, found.high] == pytest.approx([*scipy.stats.t.interval(0.95, freedom, 0.5, error)])


def test_a_group_on_tasks_like_these_is_the_t_test():
    values = [2.0, -1.0, 0.5, 3.0]
    found, oracle = grouped([contrast(v) for v in values]).like, scipy.stats.ttest_1samp(values, 0)
    assert found.p == pytest.approx(oracle.pvalue)
    assert [found.low, found.high] == pytest.approx([*oracle.confidence_interval()])
    assert math.isnan(grouped([contrast(1.0)]).like.low)
    with pytest.raises(ValueError, match="without tasks"):
        grouped([])


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [
        (0.2, 3, A),
        (-4, -0.1, B),
        (0.2, 0.8, NEITHER),
        (-0.9, 1, NEITHER),
        (-0.5, 1.2, OPEN),
        (math.nan, math.nan, OPEN),
    ],
)
def test_one_interval_has_one_answer(low, high, answer):
    assert judge(Difference((low + high) / 2, low, high, 0.01), rope=1.0) == answer


def test_the_five_answers_of_a_group():
    assert judge_group({str(i): contrast(v) for i, v in enumerate((4.0, 5.0, 6.0))}).answer == A
    assert judge_group({str(i): contrast(v) for i, v in enumerate((-4.0, -5.0, -6.0))}).answer == B
    alike = {str(i): contrast(v, 0.1) for i, v in enumerate((0.2, 0.1, 0.3))}
    assert judge_group(alike).answer == NEITHER
    split = judge_group({"x": contrast(6.0), "y": contrast(-5.0), "z": contrast(0.1)})
    assert (split.answer, split.clear_a, split.clear_b) == (MIXED, ("x",), ("y",))
    small = judge_group({"x": contrast(3.5, 2.0), "y": contrast(0.6, 2.0), "z": contrast(1.9, 2.0)})
    assert small.answer == OPEN
    assert small.more.seeds > 0
    assert small.more.images > 0
    assert small.more_tasks > 0


def test_two_tasks_answer_for_themselves_and_three_for_others():
    pair = judge_group({"x": contrast(4.0), "y": contrast(9.0)})
    assert (pair.answer, pair.of_tasks) == (A, False)
    more = judge_group({"x": contrast(4.0), "y": contrast(9.0), "z": contrast(6.0)})
    assert (more.answer, more.of_tasks) == (A, True)


def test_as_many_tasks_as_it_says_would_do():
    values = [3.0, -1.0, 2.5, 0.5]
    found = judge_group({str(i): contrast(v, 0.3) for i, v in enumerate(values)})
    assert found.answer in (OPEN, MIXED)
    wide = judge_group({str(i): contrast(v, 3.0) for i, v in enumerate(values)})
    T = len(values) + wide.more_tasks

    def half(tasks):
        return scipy.stats.t.ppf(0.975, tasks - 1) * np.std(values, ddof=1) / math.sqrt(tasks)

    assert half(T) < np.mean(values) <= half(T - 1)


def test_one_seed_cannot_tell():
    found = judge_task(Contrast(5.0, math.nan, math.nan, math.nan))
    assert (found.answer, found.more.seeds) == (OPEN, None)


def test_directions_are_corrected_over_the_tasks():
    tasks = {str(i): contrast(0.0, 0.5) for i in range(9)} | {"edge": contrast(1.3, 0.5), "far": contrast(9.0, 0.5)}
    assert tasks["edge"].direction == 1  # by itself
    found = corrected_directions(tasks)
    assert (found["edge"], found["far"]) == (0, 1)


def test_all_that_is_not_worse_than_the_best():
    gaps = {"near": contrast(0.2), "far": contrast(8.0), "same": Difference(0.0, math.nan, math.nan, math.nan),
            "unknown": Difference(2.0, math.nan, math.nan, math.nan)}  # fmt: skip
    assert not_worse("best", gaps) == {"best", "near", "same"}


def simulated(rng, runs, tasks, truth, spread=3.0, error=0.5, seeds=5):
    """(runs, tasks) estimates of task differences around `truth`, and their standard errors from `seeds` runs each."""
    own = truth + spread * rng.normal(size=(runs, tasks))
    runs_ = own[..., None] + error * math.sqrt(seeds) * rng.normal(size=(runs, tasks, seeds))
    return own, runs_.mean(-1), runs_.std(-1, ddof=1) / math.sqrt(seeds)


@pytest.mark.parametrize("tasks", [3, 4, 8])
def test_both_intervals_of_a_group_cover_what_they_are_about(tasks):
    rng, runs, truth = np.random.default_rng(tasks), 1500, 1.0
    own, values, errors = simulated(rng, runs, tasks, truth)
    these = like = 0
    for row in range(runs):
        found = grouped([contrast(v, e, 4) for v, e in zip(values[row], errors[row], strict=True)])
        these += found.these.low <= own[row].mean() <= found.these.high
        like += found.like.low <= truth <= found.like.high
    assert these / runs >= 0.93
    assert like / runs >= 0.93


def test_no_leader_is_named_where_there_is_none():
    """Tasks that differ by 3 points around no difference: an interval over these tasks alone errs most of the time."""
    rng, runs = np.random.default_rng(7), 800
    _, values, errors = simulated(rng, runs, 7, truth=0.0)
    named = alone = 0
    for row in range(runs):
        tasks = {str(i): contrast(v, e, 4) for i, (v, e) in enumerate(zip(values[row], errors[row], strict=True))}
        named += judge_group(tasks).answer in (A, B)
        alone += judge(grouped(list(tasks.values())).these) in (A, B)
    assert named / runs <= 0.07
    assert alone / runs > 0.3


def test_no_difference_is_rarely_said_of_one_that_matters():
    rng, runs = np.random.default_rng(8), 1500
    _, values, errors = simulated(rng, runs, 1, truth=1.0, spread=0.0, error=0.4)
    said = np.mean(
        [judge_task(contrast(v, e, 4)).answer == NEITHER for v, e in zip(values[:, 0], errors[:, 0], strict=True)]
    )
    assert said <= 0.05
