"""What a difference between two methods amounts to: one of five answers, for a task and for a group of tasks.

In: a `Contrast` for each task, in percentage points, and the region of no practical difference. Out: a `Finding`: which
method leads, or that no difference matters, that the tasks disagree, or that the study is too small to tell.

    python -m pytest tests/vptcore/analysis/test_evidence.py
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtr, stdtrit

from vptcore.analysis.paired import Contrast, More, more_needed, with_interval
from vptcore.analysis.significance import holm
from vptcore.analysis.statistics import LEVEL, Difference

# The five answers about a - b.
A, B, NEITHER, MIXED, OPEN = "a", "b", "neither", "mixed", "open"
ROPE = 1.0
ALPHA = 1 - LEVEL
# With fewer tasks an interval over tasks says nothing: two give one of 12.7 standard errors.
LEAST_TASKS = 3
MOST_TASKS = 1000
NOTHING_MORE = More(None, None)
UNKNOWN = Difference(math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Group:
    """The mean difference over tasks, with two intervals.

    `these`: on these very tasks, with other seeds and other test images. `like`: on tasks like these, of which these
    are a sample; without an interval for one task.
    """

    these: Contrast
    like: Difference
    tasks: int

    @property
    def widest(self) -> Difference:
        """The interval that an answer rests on: over tasks like these where there is one."""
        return self.like if self.tasks >= LEAST_TASKS else self.these


@dataclass(frozen=True)
class Finding:
    """An answer about a - b.

    `clear_a`, `clear_b`: tasks whose own difference is clear after Holm's correction. `more`: seeds or images that
    would settle an open answer, `more_tasks`: so would that many further tasks like these. `of_tasks`: whether the
    answer is about tasks like these.
    """

    answer: str
    clear_a: tuple[str, ...] = ()
    clear_b: tuple[str, ...] = ()
    more: More = NOTHING_MORE
    more_tasks: int | None = None
    of_tasks: bool = False


def grouped(contrasts: Sequence[Contrast]) -> Group:
    """The two intervals of the mean over tasks; every task counts the same. ValueError without tasks."""
    if not contrasts:
        raise ValueError("a group without tasks has no difference")
    differences = np.array([contrast.difference for contrast in contrasts])
    return Group(_on_these(contrasts), _on_like(differences), len(contrasts))


def _on_these(contrasts: Sequence[Contrast]) -> Contrast:
    """Tasks as they are: variances add up, since no two tasks share images, nor a run."""
    T = len(contrasts)
    sums = {
        name: sum(getattr(c, name) for c in contrasts) / T**2
        for name in ("seeds_variance", "images_variance", "shared_variance")
    }
    nothing = Contrast(
        sum(c.difference for c in contrasts) / T, math.nan, math.nan, math.nan, **sums,
        seeds=min(c.seeds for c in contrasts), images=min(c.images for c in contrasts),
    )  # fmt: skip
    if math.isnan(nothing.seeds_variance):
        return nothing
    return with_interval(nothing, [(c.variance / T**2, c.freedom) for c in contrasts])


def _on_like(differences: np.ndarray) -> Difference:
    """Tasks as a sample: Student's t over their differences, whose spread holds that of seeds and images too."""
    T = len(differences)
    middle = float(differences.mean())
    if T < 2:
        return replace(UNKNOWN, difference=middle)
    error = float(differences.std(ddof=1)) / math.sqrt(T)
    half = float(stdtrit(T - 1, 0.5 + LEVEL / 2)) * error
    p = float(2 * stdtr(T - 1, -abs(middle) / error)) if error > 0 else math.nan
    return Difference(middle, middle - half, middle + half, p)


def judge(interval: Difference, rope: float = ROPE) -> str:
    """A, B, NEITHER or OPEN, from one interval.

    NEITHER where it lies within +-`rope`, also if it excludes 0; A or B where it excludes 0 and reaches beyond.
    """
    if math.isnan(interval.low):
        return OPEN
    if -rope <= interval.low and interval.high <= rope:
        return NEITHER
    return {1: A, -1: B, 0: OPEN}[interval.direction]


def judge_task(contrast: Contrast, rope: float = ROPE) -> Finding:
    answer = judge(contrast, rope)
    return Finding(answer, more=more_needed(contrast, rope) if answer == OPEN else NOTHING_MORE)


def judge_group(contrasts: Mapping[str, Contrast], rope: float = ROPE) -> Finding:
    """The answer for a group: by the interval over tasks like these; MIXED where tasks are clear on both sides.

    With one or two tasks it is about these alone (`of_tasks` is False).
    """
    found = grouped(list(contrasts.values()))
    directions = corrected_directions(contrasts)
    clear_a, clear_b = (tuple(t for t, way in directions.items() if way == side) for side in (1, -1))
    answer = judge(found.widest, rope)
    if answer == OPEN and clear_a and clear_b:
        answer = MIXED
    if answer != OPEN:
        return Finding(answer, clear_a, clear_b, of_tasks=found.tasks >= LEAST_TASKS)
    more = more_needed(found.these, rope) if judge(found.these, rope) == OPEN else NOTHING_MORE
    return Finding(answer, clear_a, clear_b, more, _more_tasks(found, rope), found.tasks >= LEAST_TASKS)


def corrected_directions(contrasts: Mapping[str, Contrast]) -> dict[str, int]:
    """Task -> 1, -1 or 0: which side its difference is clear for, with Holm's correction over the tasks."""
    corrected = holm([contrast.p for contrast in contrasts.values()])
    return {
        task: contrast.direction if p < ALPHA or math.isnan(p) else 0
        for (task, contrast), p in zip(contrasts.items(), corrected, strict=True)
    }


def _more_tasks(found: Group, rope: float) -> int | None:
    """How many more tasks like these would settle it, if they differ as these do."""
    if found.tasks < LEAST_TASKS:
        return None
    middle, half = abs(found.like.difference), found.like.high - found.like.difference
    spread = half * math.sqrt(found.tasks) / float(stdtrit(found.tasks - 1, 0.5 + LEVEL / 2))
    goal = max(middle, rope - middle)
    for tasks in range(found.tasks + 1, MOST_TASKS):
        if float(stdtrit(tasks - 1, 0.5 + LEVEL / 2)) * spread / math.sqrt(tasks) < goal:
            return tasks - found.tasks
    return None


def not_worse(best: str, against: Mapping[str, Difference]) -> set[str]:
    """`best`, and the methods that it is not clearly better than.

    `against`: method -> best - method. Holm's correction over the methods. A method without an interval counts as worse
    unless it is equal.
    """
    corrected = holm([difference.p for difference in against.values()])
    equal = {
        name for (name, gap), p in zip(against.items(), corrected, strict=True)
        if abs(gap.difference) < 1e-7 or (not math.isnan(gap.low) and gap.low <= 0) or p >= ALPHA
    }  # fmt: skip
    return {best} | equal
