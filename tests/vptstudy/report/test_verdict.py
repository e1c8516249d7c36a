"""report.verdict: the answer by group says what the rows say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from tests.vptstudy.report.synthetic import answers_of, final_rows, make_study
from vptcore.analysis.evidence import UNKNOWN, judge
from vptcore.analysis.published import read_published
from vptstudy.report.contrasts import Contrasts
from vptstudy.report.page.compose import headline
from vptstudy.report.page.verdict import answers, instead
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


def answered(study, rows, predictions=None):
    return answers(study, Contrasts(study, rows, predictions))


def test_difference_and_interval_are_scipys():
    """Over these tasks Welch's formula of the summed variances, over tasks like these the t test of the differences."""
    shift = (0.1, 0.2, -0.05)
    study, rows = study_with(dict(zip(TASKS, shift, strict=True)))
    (answer,) = answered(study, rows)
    like = stats.ttest_1samp(100 * np.array(shift), 0).confidence_interval()
    assert answer.gap.difference == pytest.approx(100 * (0.25 / 3))
    assert (answer.gap.low, answer.gap.high) == pytest.approx((like.low, like.high))
    error = 100 * np.sqrt(3 * 2 * 0.01**2 / 3) / 3  # three tasks, two sides, three seeds of sd .01
    half = stats.t.ppf(0.975, 12) * error
    assert (answer.these.low, answer.these.high) == pytest.approx((100 * 0.25 / 3 - half, 100 * 0.25 / 3 + half))
    assert (answer.score, answer.side) == ("2 of 3", "mixed")
    assert (len(answer.clear), len(answer.clear_losses)) == (2, 1)
    assert answer.sentence.startswith(
        "Depends on the task: clear for VPT on Shapes/loc. and Shapes/ori., for FT on Shapes/cnt."
    )


@pytest.mark.parametrize(
    ("shift", "side", "words"),
    [
        ((0.2, 0.21, 0.22), "vpt", "VPT leads on tasks like these."),
        ((-0.2, -0.21, -0.22), "full", "Full fine-tuning leads on tasks like these."),
        ((0.001, 0.0, -0.001), "neither", "No difference that matters on tasks like these."),
        ((0.02, 0.0, 0.03), "open", "Cannot tell at this size (about"),
    ],
)
def test_side_follows_the_interval(shift, side, words):
    study, rows = study_with(dict(zip(TASKS, shift, strict=True)))
    (answer,) = answered(study, rows)
    assert answer.side == side
    assert answer.sentence.startswith(words)


def test_what_would_settle_it_is_counted():
    """More tasks by the t quantile: as many as make the half width smaller than the mean."""
    shift = np.array((0.02, 0.0, 0.03))
    study, rows = study_with(dict(zip(TASKS, shift, strict=True)))
    (answer,) = answered(study, rows)
    n = next(n for n in range(4, 50) if stats.t.ppf(0.975, n - 1) * shift.std(ddof=1) / np.sqrt(n) < shift.mean())
    assert answer.finding.more_tasks == n - 3
    assert f"{n - 3} more tasks would" in answer.sentence


def test_one_or_two_tasks_speak_for_themselves_alone():
    study, rows = study_with({TASKS[0]: 0.2})
    (answer,) = answered(study, rows)
    assert answer.sentence.startswith("VPT leads on this task.")
    study, rows = study_with({TASKS[0]: 0.2, TASKS[1]: 0.4})
    (answer,) = answered(study, rows)
    assert answer.sentence.startswith("VPT leads on these 2 tasks.")


def test_test_images_count_too():
    """Seeds that agree to a tenth of a point on 50 images that could have been others."""
    study, rows = study_with({TASKS[0]: 0.04})
    rows["test_accuracy"] = 0.5 + 0.04 * (rows.method == "vpt") + 0.02 * (rows.seed == 2)
    (alone,) = answered(study, rows)
    (both,) = answered(study, rows, answers_of(rows, images=50))
    assert alone.side == "vpt"
    assert both.side == "open"
    assert "more test images" in both.sentence


def test_a_third_method_that_beats_both_is_named():
    cells = [Cell("vit_mini_cifar10", m, t, "160") for t in TASKS for m in ("full", "vpt", "linear")]
    study = make_study(cells, base="160", seeds=(1, 2, 3))
    rows = final_rows(study)
    lead = {"full": 0.0, "vpt": 0.01, "linear": 0.2}
    rows["test_accuracy"] = 0.5 + 0.01 * (rows.seed - 2) + rows.method.map(lead) + 0.003 * (rows.task == TASKS[0])
    (answer,) = answered(study, rows)
    assert "Linear beats both." in answer.sentence
    assert "Linear ahead of both in Structured" in headline([answer])
    rows["test_accuracy"] = rows.test_accuracy.where(rows.method != "linear", 0.505 + 0.01 * (rows.seed - 2))
    assert answered(study, rows)[0].ahead == ()


def test_ties_are_said():
    study, rows = study_with({TASKS[0]: 0.0, TASKS[1]: 0.2})
    (answer,) = answered(study, rows)
    assert answer.score == "1 of 2, 1 tie"


def test_one_seed_leads_nowhere():
    study, rows = study_with(dict.fromkeys(TASKS[:2], 0.2), seeds=(1,))
    (answer,) = answered(study, rows)
    assert (answer.side, answer.gap.interval) == ("open", "(no interval)")


def test_half_a_study_compares_shared_tasks_only_and_says_so():
    study, rows = study_with({TASKS[0]: 0.1, TASKS[1]: 0.3})
    kept = rows[~((rows.method == "vpt") & (rows.task == TASKS[1]))]
    (answer,) = answered(study, kept)
    assert answer.gap.difference == pytest.approx(10)
    assert (answer.side, answer.wins.tasks, answer.partial) == ("open", 1, True)
    assert "not final" in answer.sentence
    assert headline([answer]) == "Structured has cells without rows."


def test_each_setting_answers_once(paper, paper_final):
    found = answered(paper, paper_final)
    keys = [(a.backbone, a.train, a.group) for a in found]
    # Five sizes and one-shot on the main backbone, three further backbones, FGVC.
    assert len(keys) == len(set(keys)) == (6 + 3) * 3 + 1


def test_the_papers_own_numbers_name_a_leader_where_tasks_agree():
    """Of the 19 tasks' settings in Tables 1-2 and 5-6 printed beside each other, few have an interval over tasks."""
    printed = read_published()
    rows = printed[printed.table.isin([1, 2, 5, 6]) & (printed.metric == "accuracy") & (printed.task != "mean")]
    rows = rows[rows.method.isin(["full", "vpt"])].drop_duplicates(["method", "train", "task"])
    wide = rows.pivot(index=["train", "group", "task"], columns="method", values="value").dropna()
    gaps = (wide.vpt - wide.full).groupby(["train", "group"])
    named = {
        key: judge(replace(UNKNOWN, low=interval.low, high=interval.high))
        for key, values in gaps
        if len(values) >= 3
        for interval in [stats.ttest_1samp(values, 0).confidence_interval()]
    }
    assert named["800", "specialized"] == "open"  # −0.6 points, ahead on 2 of 4: no lead
    assert named["800", "natural"] == "open"  # +4.4 on average, but SVHN the other way
    assert sum(answer in ("a", "b") for answer in named.values()) <= len(named) / 2


def test_headline_without_rows():
    assert headline([]) == "No group has rows of both VPT and full fine-tuning yet."


def without_full(gap: float, methods=("vpt", "linear")):
    """VPT lies `gap` above Linear on one task, every seed scattered by 0.01 around."""
    study = make_study([Cell("vit_mini_cifar10", m, TASKS[0], "160") for m in methods], base="160", seeds=(1, 2, 3))
    rows = final_rows(study)
    rows["test_accuracy"] = 0.5 + 0.01 * (rows.seed - rows.seed.mean()) + gap * (rows.method == "vpt")
    return study, Contrasts(study, rows)


def test_a_study_without_the_pair_says_what_there_is():
    study, contrasts = without_full(0.1)
    assert answers(study, contrasts) == []
    # Welch: two sides of three seeds, sd .01 each, 4 degrees of freedom.
    half = stats.t.ppf(0.975, 4) * 100 * np.sqrt(2 * 0.01**2 / 3)
    assert headline([], instead(study, contrasts)) == (
        "This study has no FT. VPT (60.0 %) leads Linear (50.0 %) on this task: +10.0 points "
        f"[+{10 - half:.1f}, +{10 + half:.1f}]."
    )
    assert instead(*without_full(0.02)).startswith(
        "This study has no FT. Cannot tell VPT (52.0 %) from Linear (50.0 %) on this task: +2.0 points [−"
    )
    assert instead(*without_full(0.1, ("linear",))) == "This study has no FT and no VPT."


def test_rows_of_the_pair_that_are_still_to_come_are_waited_for():
    study, rows = study_with({TASKS[0]: 0.1})
    assert instead(study, Contrasts(study, rows.head(0))) == ""
