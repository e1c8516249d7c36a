"""The paper's sentences that count or compare something, a row each, and what its own printed cells say of them.

In: nothing but the printed numbers. Out: `CLAIMS`, and `in_print`: the evidence of some tables' printed cells, which a
claim's measure reads as it reads a study's rows.

    snakemake table_claims
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vptcore.analysis import measures
from vptcore.analysis.measures import BASE, FAR, FGVC, MAE, MOCO, NEAR, ONE_SHOT, SWIN, VTAB, WHOLE, Evidence, Measure
from vptcore.analysis.paired import Contrast
from vptcore.analysis.published import read_published


@dataclass(frozen=True)
class Claim:
    """`section`: where the paper says it. `printed`: the number it names, or what it says in a word.

    `tables`: whose printed cells speak of it; without any, `absent` says why.
    """

    section: str
    says: str
    printed: str
    measure: Measure
    tables: tuple[int, ...] = ()
    absent: str = ""


def in_print(tables: Sequence[int]) -> Evidence:
    """The evidence of the cells that these tables of the paper print: what is printed is taken as it stands."""
    cells = read_published().query("table in @tables and task != 'mean'").dropna(subset="value")
    accuracy = cells[cells.metric == "accuracy"].set_index(["backbone", "method", "train", "task"])["value"]
    others = {name: cells[cells.metric == name].set_index("task")["value"] for name in ("fid", "tuned_percent")}

    def gaps(backbone: str, a: str, b: str, train: str) -> dict[str, Contrast]:
        sides = [accuracy[accuracy.index.droplevel("task") == (backbone, side, train)] for side in (a, b)]
        ours, theirs = (side.droplevel([0, 1, 2]) for side in sides)
        return {task: measures.exact(ours[task] - theirs[task]) for task in ours.index if task in theirs.index}

    return Evidence(gaps, others["fid"].to_dict(), others["tuned_percent"].to_dict())


_VPT_FULL = ("vpt", "full")
_STRATEGIES = {"vpt": "VPT", "ft_then_pt": "FT-then-PT", "full": "FT", "mixed": "Mixed"}
_DRAWN, _NO_CELLS = "drawn, not printed", "not printed"
_FIRST, _SIZED, _SHOT, _FINE = (1, 2), (5, 6), (3, 4), (19,)

_1, _41, _42 = "§1 Introduction", "§4.1 Setup, §C Other backbones", "§4.2 First results"
_43, _44 = "§4.3 Distance, §F FGVC", "§4.4 Train sizes and one-shot"
_51, _52, _53 = "§5.1 Overfitting, §A Curves", "§5.2 Optimization", "§5.3 Further observations"

CLAIMS: tuple[Claim, ...] = (
    Claim(_1, "VPT trains less than 1 % of the parameters", "typically", measures.few_parameters, _SHOT),
    Claim(_1, "VPT leads in quadrants of Figure 1", "3 of 4", measures.in_quadrants, absent=_DRAWN),
    *(
        Claim(
            _41,
            f"{title} shows patterns like the supervised ViT's",
            "similar",
            measures.mostly(*_VPT_FULL, backbone),
            tables,
        )
        for title, backbone, tables in (
            ("Swin", SWIN, (7, 8, 9)),
            ("MAE", MAE, (10, 11, 12)),
            ("MoCo v3", MOCO, (13, 14, 15)),
        )
    ),
    Claim(_42, "VPT is ahead of FT", "16 of 19", measures.wins(*_VPT_FULL, BASE, VTAB, 16), _FIRST),
    *(
        Claim(_42, f"In {group.capitalize()}", f"{won} of {of}", measures.wins(*_VPT_FULL, BASE, (group,), won), _FIRST)
        for group, won, of in (("natural", 6, 7), ("specialized", 2, 4), ("structured", 8, 8))
    ),
    Claim(
        _43,
        "Near objectives: VPT − FT falls with the distance",
        "the left 11",
        measures.farther(NEAR, BASE),
        absent=_DRAWN,
    ),
    Claim(_43, "All objectives: no such fall", "only the 11", measures.unrelated(VTAB, BASE), absent=_DRAWN),
    Claim(_43, "FGVC: VPT − FT falls with the distance", "5 tasks", measures.farther(FGVC, WHOLE), _FINE),
    Claim(_43, "FGVC: VPT is ahead of FT", "4 of 5", measures.wins(*_VPT_FULL, WHOLE, FGVC, 4), _FINE),
    Claim(_44, "VPT − FT falls as images become more", "narrows", measures.narrows, _SIZED),
    Claim(_44, "FT is ahead at a task's largest size", "9 of 12", measures.surpasses, _SIZED),
    Claim(_44, "Train sizes", "400 to 20,000", measures.sizes, _SIZED),
    Claim(_44, "One-shot: VPT is ahead of FT", "13 of 19", measures.wins(*_VPT_FULL, ONE_SHOT, VTAB, 13), _SHOT),
    Claim(_44, "One-shot, Structured", "half", measures.wins(*_VPT_FULL, ONE_SHOT, FAR, 4), _SHOT),
    Claim(
        _44,
        "One-shot, Natural: VPT − FT",
        "56.94 − 41.66",
        measures.gap_of(*_VPT_FULL, ONE_SHOT, ("natural",), 15.28),
        _SHOT,
    ),
    Claim(_44, "CIFAR-100: LoRA − FT falls too (§G.6)", "25.1, 13.4, 2.8", measures.lora_narrows, (20,)),
    Claim(
        _51, "FT and VPT both overfit, Structured (8 tasks)", "8 of 9", measures.overfit(FAR, most=True), absent=_DRAWN
    ),
    Claim(_51, "Natural and Specialized (11 tasks)", "1 of 10", measures.overfit(NEAR, most=False), absent=_DRAWN),
    Claim(_51, "All", "9 of 19", measures.overfit(VTAB, most=False), absent=_DRAWN),
    Claim(
        _52,
        "VPT is highest, Mixed lowest",
        "in general",
        measures.highest_and_lowest(_STRATEGIES, "vpt", "mixed"),
        _FIRST,
    ),
    Claim(_52, "FT-then-PT does not outperform FT", "not", measures.ahead("ft_then_pt", "full", says=False), _FIRST),
    Claim(_52, "Mixed does not outperform FT", "not", measures.ahead("mixed", "full", says=False), _FIRST),
    Claim(_52, "VPT outperforms FT-then-PT", "superior", measures.ahead("vpt", "ft_then_pt"), _FIRST),
    Claim(_52, "VPT outperforms Mixed", "significantly", measures.ahead("vpt", "mixed"), _FIRST),
    Claim(_53, "VPT outperforms the linear probe", "surpasses", measures.ahead("vpt", "linear"), absent=_NO_CELLS),
    Claim(_53, "VPT outperforms the MLP probe", "surpasses", measures.ahead("vpt", "mlp"), absent=_NO_CELLS),
)
