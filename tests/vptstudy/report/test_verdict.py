"""report.verdict: the answer by group says what the rows say."""

from __future__ import annotations

import pytest
from scipy import stats

from tests.vptstudy.report.synthetic import final_rows, make_study
from vptstudy.report.page.compose import headline
from vptstudy.report.page.verdict import answers
from vptstudy.report.tables.build import build
from vptstudy.study import Cell

TASKS = ("shapes_location", "shapes_orientation", "shapes_count")


def study_with(shift: dict[str, float], seeds=(1, 2, 3)):
    """VPT lies `shift[task]` above full; every seed scatters by 0.01 around."""
    study = make_study(
        [Cell("vit_mini_cifar10", m, t, "160") for t in shift for m in ("full", "vpt")], base="160", seeds=seeds
    )
    rows = final_rows(study)
    base = 0.5 + 0.01 * (rows.seed - rows.seed.mean())
    rows["test_accuracy"] = base + rows.task.map(shift) * (rows.method == "vpt")
    return study, rows


def test_difference_and_interval_are_scipys():
    study, rows = study_with(dict(zip(TASKS, (0.1, 0.2, -0.05), strict=True)))
    (answer,) = answers([build(2, study, rows)])
    per_seed = rows.groupby(["method", "seed"]).test_accuracy.mean()
    low, high = stats.ttest_ind(per_seed["vpt"], per_seed["full"], equal_var=False).confidence_interval()
    assert answer.gap.difference == pytest.approx(100 * (0.25 / 3))
    assert (answer.gap.low, answer.gap.high) == pytest.approx((100 * low, 100 * high))
    assert (answer.score, answer.side) == ("2 of 3", "vpt")
    assert (answer.clear, answer.clear_losses) == (2, 1)


@pytest.mark.parametrize(
    ("shift", "side", "words"),
    [(0.2, "vpt", "VPT leads"), (-0.2, "full", "Full fine-tuning leads"), (0.001, "open", "No clear lead")],
)
def test_side_follows_the_interval(shift, side, words):
    study, rows = study_with(dict.fromkeys(TASKS, shift))
    (answer,) = answers([build(2, study, rows)])
    assert answer.side == side
    assert answer.sentence.startswith(words)


def test_ties_are_said():
    study, rows = study_with({TASKS[0]: 0.0, TASKS[1]: 0.2})
    (answer,) = answers([build(2, study, rows)])
    assert answer.score == "1 of 2, 1 tie"


def test_one_seed_leads_nowhere():
    study, rows = study_with(dict.fromkeys(TASKS, 0.2), seeds=(1,))
    (answer,) = answers([build(2, study, rows)])
    assert (answer.side, answer.gap.interval) == ("open", "(no interval)")


def test_half_a_study_compares_shared_tasks_only_and_says_so():
    study, rows = study_with({TASKS[0]: 0.1, TASKS[1]: 0.3})
    kept = rows[~((rows.method == "vpt") & (rows.task == TASKS[1]))]
    (answer,) = answers([build(2, study, kept)])
    assert answer.gap.difference == pytest.approx(10)
    assert (answer.side, answer.wins.tasks, answer.partial) == ("open", 1, True)
    assert "not final" in answer.sentence
    assert "Structured has cells without rows" in headline([answer])


def test_each_setting_answers_once(paper, paper_final):
    found = answers([build(n, paper, paper_final) for n in (1, 2, 5, 6, 7)])
    keys = [(a.backbone, a.train, a.group) for a in found]
    assert len(keys) == len(set(keys)) == 5 * 3 + 1


def test_headline_without_rows():
    assert headline([]) == "No group has rows of both VPT and full fine-tuning yet."
