"""The paper's sentences: recomputed from its cells by two lines of pandas, and measured on rows of known truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from vptcore.analysis import measures
from vptcore.analysis.claims import CLAIMS, in_print
from vptcore.analysis.measures import FAILS, FGVC, HOLDS, NEAR, OPEN, VTAB, Evidence, exact, tasks_of
from vptcore.analysis.paired import over_seeds_alone
from vptcore.analysis.statistics import estimate

CELLS = pd.read_csv(Path(__file__).resolve().parents[3] / "published/published.csv", dtype={"train_samples": str})
CELLS = CELLS[CELLS.task != "mean"]


def of(says: str, section: str = ""):
    found = [claim for claim in CLAIMS if claim.says.startswith(says) and section in claim.section]
    assert len(found) == 1, (says, found)
    return found[0]


def printed(says: str, section: str = "") -> measures.Found:
    claim = of(says, section)
    return claim.measure(in_print(claim.tables))


def wide(*tables: int, metric: str = "accuracy") -> pd.DataFrame:
    """Task and size by method, as printed."""
    rows = CELLS[CELLS.table.isin(tables) & (CELLS.metric == metric)]
    return rows.pivot(index=["group", "train_samples", "task"], columns="method", values="value")


# Counted by hand in the paper's tables: Table 1 (6 of 7, 2 of 4), 2 (8 of 8), 3 and 4 (6, 3, 4), 7 to 15, 19.
BY_HAND = {
    ("VPT is ahead of FT", "§4.2"): ("16 of 19", HOLDS),
    ("In Natural", ""): ("6 of 7", HOLDS),
    ("In Specialized", ""): ("2 of 4", HOLDS),
    ("In Structured", ""): ("8 of 8", HOLDS),
    ("One-shot: VPT", ""): ("13 of 19", HOLDS),
    ("One-shot, Structured", ""): ("4 of 8", HOLDS),
    ("FGVC: VPT is ahead", ""): ("4 of 5", HOLDS),
    ("Swin", ""): ("6 of 19: 6 + 0 + 0", FAILS),
    ("MAE", ""): ("4 of 19: 2 + 2 + 0", FAILS),
    ("MoCo v3", ""): ("4 of 19: 4 + 0 + 0", FAILS),
    ("VPT trains less", ""): ("13 of 19", HOLDS),
    ("Train sizes", ""): ("400 to 10,000", FAILS),
    ("CIFAR-100: LoRA", ""): ("+25.1, +13.4, +2.8", HOLDS),
    ("VPT is highest", ""): ("VPT > FT-then-PT > FT > Mixed", HOLDS),
    ("One-shot, Natural", ""): ("+15.29", HOLDS),
}


@pytest.mark.parametrize(("says", "section"), BY_HAND)
def test_what_was_counted_by_hand(says, section):
    found = printed(says, section)
    assert (found.text, found.answer) == BY_HAND[says, section]


def test_wins_are_pandas():
    first = wide(1, 2)
    assert (first.vpt > first.full).groupby("group").sum().to_dict() == {
        "natural": 6,
        "specialized": 2,
        "structured": 8,
    }
    for says, a, b, answer in (
        ("FT-then-PT does not", "ft_then_pt", "full", FAILS),
        ("Mixed does not", "mixed", "full", HOLDS),
        ("VPT outperforms FT-then-PT", "vpt", "ft_then_pt", HOLDS),
        ("VPT outperforms Mixed", "vpt", "mixed", HOLDS),
    ):
        gap = first[a] - first[b]
        text = f"{(gap > 0).sum()} of 19, {gap.mean():+.1f}".replace("-", "−")
        assert printed(says) == measures.Found(text, answer)
    # 85.9 read as 65.9 changes nothing: FT-then-PT is still ahead of FT, on as many tasks.
    first.loc[("natural", "800", "cifar100"), "ft_then_pt"] = 65.9
    gap = first.ft_then_pt - first.full
    assert ((gap > 0).sum(), gap.mean() > 0) == (11, True)


def test_full_fine_tuning_at_the_largest_printed_size():
    rows = wide(5, 6).dropna().reset_index().assign(size=lambda f: f.train_samples.astype(int)).query("size > 800")
    last = rows.sort_values("size").groupby("task").last()
    assert printed("FT is ahead").text == f"{(last.full > last.vpt).sum()} of {len(last)}" == "11 of 14"


def test_the_slope_is_numpys():
    rows = wide(5, 6).dropna().reset_index()
    slope = np.polyfit(np.log2(rows.train_samples.astype(float)), rows.vpt - rows.full, 1)[0]
    found = printed("VPT − FT falls as images")
    assert found.text.startswith(f"{slope:+.1f}".replace("-", "−"))
    assert found.answer == HOLDS


def test_distance_on_fgvc_is_scipys():
    cells = wide(19).reset_index().set_index("task")
    fid = wide(19, metric="fid").iloc[:, 0].droplevel([0, 1])
    rho = scipy.stats.spearmanr(fid[cells.index], cells.vpt - cells.full).statistic
    found = printed("FGVC: VPT − FT falls")
    assert rho == pytest.approx(-0.3)
    assert found.text.startswith("ρ −0.30 [")
    assert found.answer == OPEN


def test_sentences_without_cells_say_why_and_are_measured_on_none():
    for claim in CLAIMS:
        assert bool(claim.tables) != bool(claim.absent), claim.says
        assert claim.measure(in_print(())) == measures.Found(), claim.says


def made(leads: dict[str, float], spread: float, seeds: int = 5) -> Evidence:
    """VPT ahead of FT by so many points on each task, at every size and on every backbone."""
    around = np.linspace(-spread, spread, seeds)

    def gaps(backbone, a, b, train):
        sign = 1 if (a, b) == ("vpt", "full") else -1 if (a, b) == ("full", "vpt") else 0
        return {
            t: over_seeds_alone(estimate(50 + sign * lead + around), estimate(50 + around)) for t, lead in leads.items()
        }

    return Evidence(gaps)


def test_a_count_holds_within_what_its_intervals_allow():
    tasks = tasks_of(VTAB)
    claim = of("VPT is ahead of FT", "§4.2")
    sure = made({task: 5.0 if place < 12 else -5.0 for place, task in enumerate(tasks)}, spread=0.5)
    assert claim.measure(sure) == measures.Found("12 of 19", FAILS)
    unsure = made({task: 5.0 if place < 12 else -0.1 for place, task in enumerate(tasks)}, spread=0.5)
    assert claim.measure(unsure) == measures.Found("12 of 19 (12–19)", HOLDS)
    fewer = made(dict.fromkeys(tasks[:5], 5.0), spread=0.5)
    assert claim.measure(fewer) == measures.Found("5 of 5", OPEN)
    alone = made(dict.fromkeys(tasks, 5.0), spread=0.5, seeds=1)
    assert claim.measure(alone).text == "19 of 19 (0–19)"


def test_ahead_is_open_where_the_interval_holds_zero():
    tasks = tasks_of(VTAB)
    probe = of("VPT outperforms the linear probe")
    for lead, answer in ((4.0, HOLDS), (-4.0, FAILS), (0.01, OPEN)):
        evidence = made(dict.fromkeys(tasks, lead), spread=1.0)
        measure = measures.ahead("vpt", "full")
        assert measure(evidence).answer == answer
        assert measures.ahead("vpt", "full", says=False)(evidence).answer == {HOLDS: FAILS, FAILS: HOLDS}.get(
            answer, OPEN
        )
    assert probe.measure(made(dict.fromkeys(tasks, 1.0), 1.0)).answer == OPEN


def test_overfitting_quadrants_and_distance():
    tasks = tasks_of(VTAB)
    structured = {task: task in tasks_of(("structured",)) for task in tasks}
    evidence = Evidence(lambda *_: {}, overfit=structured, quadrants=("vpt", "vpt", "open", "full"))
    assert of("FT and VPT both overfit").measure(evidence) == measures.Found("8 of 8", HOLDS)
    assert of("Natural and Specialized").measure(evidence) == measures.Found("0 of 11", HOLDS)
    assert of("All", "§5.1").measure(evidence) == measures.Found("8 of 19", HOLDS)
    assert of("VPT leads in quadrants").measure(evidence) == measures.Found("2 of 4, 1 not clear", OPEN)
    near = tasks_of(NEAR)
    falling = Evidence(
        lambda *_: {t: exact(-i) for i, t in enumerate(near)}, {t: i + (i % 3) for i, t in enumerate(near)}
    )
    assert of("Near objectives").measure(falling).answer == HOLDS


def test_the_tasks_are_the_papers():
    assert (len(tasks_of(VTAB)), len(tasks_of(NEAR)), len(tasks_of(FGVC))) == (19, 11, 5)
