"""What the paper's sentences count or compare, as functions of evidence: its printed cells, or a study's rows.

In: `Evidence`: differences of methods task by task, distances, shares. Out: `Found`: the number that the evidence
gives, and whether the sentence holds by it. Printed differences have no width; those of a study have an interval, and
what it leaves open is open.

    python -m pytest tests/vptcore/analysis/test_claims.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import pandas as pd

from vptcore.analysis.evidence import corrected_directions, grouped
from vptcore.analysis.paired import Contrast
from vptcore.analysis.published import read_published
from vptcore.analysis.ranks import Correlation, rank_correlation
from vptcore.analysis.statistics import MISSING, number
from vptcore.analysis.when import trend

HOLDS, FAILS, OPEN, UNKNOWN = "yes", "no", "open", ""
MAIN, SWIN, MAE, MOCO = "vit_b16_sup21k", "swin_b_sup21k", "vit_b16_mae", "vit_b16_mocov3"
BASE, ONE_SHOT, WHOLE = "800", "one_shot", "train"
NEAR, FAR = ("natural", "specialized"), ("structured",)
VTAB, FGVC = (*NEAR, *FAR), ("fgvc",)
SIZES = ("400", "800", "5000", "10000", "20000")
# Below this share of all parameters §1 calls the prompts few.
FEW_PERCENT = 1.0
# Two means of two decimals, each off by half a hundredth.
_MEANS_OFF = 0.01

# (backbone, method, other method, train size) -> task -> the first method's lead in points.
Gaps = Callable[[str, str, str, str], Mapping[str, Contrast]]


@dataclass(frozen=True)
class Evidence:
    """What is known. Mappings are by task, and lack what is not known.

    `distances`: Fréchet distances. `tuned`: percent of the parameters that VPT trains. `overfit`: whether both FT and
    VPT overfit at the base size. `quadrants`: of Figure 1, who leads in each ('vpt', 'full', or neither is clear).
    """

    gaps: Gaps
    distances: Mapping[str, float] = field(default_factory=dict)
    tuned: Mapping[str, float] = field(default_factory=dict)
    overfit: Mapping[str, bool] = field(default_factory=dict)
    quadrants: Sequence[str] = ()

    def of(self, a: str, b: str, train: str, groups: Sequence[str], backbone: str = MAIN) -> dict[str, Contrast]:
        """Task -> a − b, over the paper's tasks of these groups that have both."""
        tasks = tasks_of(groups)
        return {task: gap for task, gap in self.gaps(backbone, a, b, train).items() if task in tasks}


@dataclass(frozen=True)
class Found:
    """A number as it is printed, and whether the sentence holds by it: HOLDS, FAILS, OPEN, or UNKNOWN without it."""

    text: str = MISSING
    answer: str = UNKNOWN


Measure = Callable[[Evidence], Found]


def tasks_of(groups: Sequence[str]) -> list[str]:
    """The tasks of these groups that the paper prints numbers for, in its order."""
    return [task for task, group in _groups().items() if group in groups]


@cache
def _groups() -> dict[str, str]:
    printed = read_published().query("task != 'mean'").drop_duplicates("task")
    return dict(zip(printed["task"], printed["group"], strict=True))


def exact(difference: float) -> Contrast:
    """A difference that is taken as it stands: an interval of no width."""
    gap = round(float(difference), 6)
    return Contrast(gap, gap, gap, 0.0, seeds_variance=0.0, freedom=math.inf, seeds=2)


@dataclass(frozen=True)
class _Count:
    """On how many tasks one method is ahead; the fewest and the most that the intervals allow."""

    won: int
    fewest: int
    most: int
    of: int

    @property
    def text(self) -> str:
        spread = "" if self.fewest == self.most else f" ({self.fewest}–{self.most})"
        return f"{self.won} of {self.of}{spread}"

    @property
    def majority(self) -> str:
        return HOLDS if 2 * self.fewest > self.of else FAILS if 2 * self.most <= self.of else OPEN


def _counted(gaps: Mapping[str, Contrast]) -> _Count:
    ways = corrected_directions(gaps).values()
    won = sum(gap.difference > 1e-9 for gap in gaps.values())
    return _Count(won, sum(way > 0 for way in ways), len(gaps) - sum(way < 0 for way in ways), len(gaps))


def wins(a: str, b: str, train: str, groups: Sequence[str], printed: int, backbone: str = MAIN) -> Measure:
    """Whether the printed number of tasks on which a is ahead of b is among those that the intervals allow."""

    def measure(evidence: Evidence) -> Found:
        gaps = evidence.of(a, b, train, groups, backbone)
        if not gaps:
            return Found()
        count = _counted(gaps)
        whole = count.of == len(tasks_of(groups))
        fits = HOLDS if count.fewest <= printed <= count.most else FAILS
        return Found(count.text, fits if whole else OPEN)

    return measure


def mostly(a: str, b: str, backbone: str) -> Measure:
    """Whether a is ahead of b on most of the 19 tasks; the counts of the three groups follow."""

    def measure(evidence: Evidence) -> Found:
        groups = [evidence.of(a, b, BASE, (group,), backbone) for group in VTAB]
        if not any(groups):
            return Found()
        count = _counted({task: gap for group in groups for task, gap in group.items()})
        parts = " + ".join(str(_counted(group).won) for group in groups if group)
        whole = count.of == len(tasks_of(VTAB))
        return Found(f"{count.text}: {parts}", count.majority if whole else OPEN)

    return measure


def ahead(a: str, b: str, *, says: bool = True) -> Measure:
    """Whether a is ahead of b in the mean over the 19 tasks, or (`says` is False) is not."""

    def measure(evidence: Evidence) -> Found:
        gaps = evidence.of(a, b, BASE, VTAB)
        if not gaps:
            return Found()
        mean = grouped(list(gaps.values())).these
        answer = {1: HOLDS, -1: FAILS, 0: OPEN}[mean.direction * (1 if says else -1)]
        return Found(f"{_counted(gaps).text}, {_points(mean)}", answer)

    return measure


def gap_of(a: str, b: str, train: str, groups: Sequence[str], printed: float) -> Measure:
    """Whether the printed difference of two group means lies in the interval of the mean difference."""

    def measure(evidence: Evidence) -> Found:
        gaps = evidence.of(a, b, train, groups)
        if not gaps:
            return Found()
        mean = grouped(list(gaps.values())).these
        if len(gaps) < len(tasks_of(groups)) or math.isnan(mean.low):
            return Found(_points(mean, 2), OPEN)
        inside = mean.low - _MEANS_OFF - 1e-9 <= printed <= mean.high + _MEANS_OFF + 1e-9
        return Found(_points(mean, 2), HOLDS if inside else FAILS)

    return measure


def _points(mean: Contrast, decimals: int = 1) -> str:
    """'+4.3 [+3.9, +4.7]', or without an interval where it has no width or is not known."""
    text = number(mean.difference, decimals, signed=True)
    if math.isnan(mean.low) or mean.low == mean.high:
        return text
    return f"{text} [{number(mean.low, decimals, signed=True)}, {number(mean.high, decimals, signed=True)}]"


def highest_and_lowest(names: Mapping[str, str], highest: str, lowest: str) -> Measure:
    """Whether one method has the highest mean over the 19 tasks and another the lowest. `names`: method -> title."""

    def measure(evidence: Evidence) -> Found:
        leads = {
            (a, b): grouped(list(gaps.values())).these
            for a in names for b in names if a != b and (gaps := evidence.of(a, b, BASE, VTAB))
        }  # fmt: skip
        if len(leads) < len(names) * (len(names) - 1):
            return Found()
        order = sorted(
            names, key=lambda name: sum(leads[name, other].difference < 0 for other in names if other != name)
        )
        needed = [leads[highest, name] for name in names if name != highest]
        needed += [leads[name, lowest] for name in names if name not in (lowest, highest)]
        ways = {lead.direction for lead in needed}
        answer = HOLDS if ways == {1} else FAILS if -1 in ways else OPEN
        return Found(" > ".join(names[name] for name in order), answer)

    return measure


def narrows(evidence: Evidence) -> Found:
    """The slope of VPT − FT for a doubling of the images, with its interval over tasks."""
    points = pd.DataFrame(
        [
            {"task": task, "images": float(size), "gap": gap.difference}
            for size in SIZES
            for task, gap in evidence.of("vpt", "full", size, VTAB).items()
        ],
        columns=["task", "images", "gap"],
    )
    slope = trend(points).slope
    if math.isnan(slope.value):
        return Found()
    text = f"{number(slope.value, 1, True)} [{number(slope.low, 1, True)}, {number(slope.high, 1, True)}] a doubling"
    return Found(text, _falling(slope))


def surpasses(evidence: Evidence) -> Found:
    """On how many tasks FT is ahead at the largest size beyond the base; the paper does not name its twelve."""
    largest: dict[str, Contrast] = {}
    for size in SIZES[SIZES.index(BASE) + 1 :]:
        largest |= evidence.of("full", "vpt", size, VTAB)
    if not largest:
        return Found()
    count = _counted(largest)
    return Found(count.text, count.majority)


def sizes(evidence: Evidence) -> Found:
    """The smallest and the largest train size that both methods have."""
    known = [size for size in SIZES if evidence.of("vpt", "full", size, VTAB)]
    if len(known) < 2:
        return Found()
    span = (int(known[0]), int(known[-1]))
    return Found(f"{span[0]:,} to {span[1]:,}", HOLDS if span == (400, 20_000) else FAILS)


def farther(groups: Sequence[str], train: str) -> Measure:
    """Whether VPT − FT falls with the distance: Spearman's correlation over tasks, with its interval."""

    def measure(evidence: Evidence) -> Found:
        found = distance_and_gap(evidence, groups, train)
        return Found(_rho(found), UNKNOWN if math.isnan(found.value) else _falling(found))

    return measure


def unrelated(groups: Sequence[str], train: str) -> Measure:
    """Whether VPT − FT goes neither up nor down with the distance; an interval that holds 0 leaves it open."""

    def measure(evidence: Evidence) -> Found:
        found = distance_and_gap(evidence, groups, train)
        clear = found.low > 0 or found.high < 0
        return Found(_rho(found), UNKNOWN if math.isnan(found.value) else FAILS if clear else OPEN)

    return measure


def distance_and_gap(evidence: Evidence, groups: Sequence[str], train: str, backbone: str = MAIN) -> Correlation:
    """Spearman's correlation of the distance with VPT − FT over the tasks of these groups that have both."""
    gaps = evidence.of("vpt", "full", train, groups, backbone)
    known = [task for task in gaps if task in evidence.distances]
    return rank_correlation([evidence.distances[t] for t in known], [gaps[t].difference for t in known])


def _falling(interval) -> str:
    """Of anything with low and high, of which the paper says that it is below 0."""
    return HOLDS if interval.high < 0 else FAILS if interval.low > 0 else OPEN


def _rho(found: Correlation) -> str:
    if math.isnan(found.value):
        return MISSING
    ends = ", ".join(number(end, 2, signed=True) for end in (found.low, found.high))
    return f"ρ {number(found.value, 2, signed=True)} [{ends}]"


def overfit(groups: Sequence[str], *, most: bool) -> Measure:
    """Whether both methods overfit on more than half of the tasks, or (`most` is False) on at most half."""

    def measure(evidence: Evidence) -> Found:
        known = [evidence.overfit[task] for task in tasks_of(groups) if task in evidence.overfit]
        if not known:
            return Found()
        whole = len(known) == len(tasks_of(groups))
        agrees = (2 * sum(known) > len(known)) == most
        return Found(f"{sum(known)} of {len(known)}", OPEN if not whole else HOLDS if agrees else FAILS)

    return measure


def in_quadrants(evidence: Evidence) -> Found:
    """In how many quadrants of Figure 1 VPT leads; those that are not clear may be either's."""
    if len(evidence.quadrants) < 4:
        return Found()
    led = {side: sum(found == side for found in evidence.quadrants) for side in ("vpt", "full")}
    unclear = 4 - sum(led.values())
    text = f"{led['vpt']} of 4" + (f", {unclear} not clear" if unclear else "")
    return Found(
        text, HOLDS if led["vpt"] == 3 and not unclear else OPEN if led["vpt"] <= 3 <= led["vpt"] + unclear else FAILS
    )


def few_parameters(evidence: Evidence) -> Found:
    """On how many tasks VPT trains less than FEW_PERCENT of all parameters."""
    shares = [evidence.tuned[task] for task in tasks_of(VTAB) if task in evidence.tuned]
    if not shares:
        return Found()
    few = sum(share < FEW_PERCENT for share in shares)
    whole = len(shares) == len(tasks_of(VTAB))
    return Found(f"{few} of {len(shares)}", OPEN if not whole else HOLDS if 2 * few > len(shares) else FAILS)


def lora_narrows(evidence: Evidence) -> Found:
    """LoRA − FT on CIFAR-100 at Table 20's sizes: whether the first is larger than the last."""
    gaps = [evidence.of("lora", "full", size, ("natural",)).get("cifar100") for size in ("400", "800", "10000")]
    if None in gaps:
        return Found()
    first, last = gaps[0], gaps[-1]
    answer = HOLDS if first.low > last.high else FAILS if first.high < last.low else OPEN
    return Found(", ".join(number(gap.difference, 1, signed=True) for gap in gaps), answer)
