"""Does the distance from pretraining say who is ahead? The rank correlation of paper §4.3 and §F, with an interval.

In: final rows of VPT and full fine-tuning on the main backbone, and fid rows. Out: the `Listing` of table_correlations:
Spearman's correlation of the Fréchet distance with VPT − FT, over all tasks, near objectives, far ones, and FGVC.

    snakemake table_correlations
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from vptcore.analysis.claims import in_print
from vptcore.analysis.measures import FGVC, distance_and_gap
from vptcore.analysis.ranks import LEAST, rank_correlation
from vptcore.analysis.statistics import number, summarise
from vptcore.data.tasks import OWN
from vptcore.wording import plural
from vptstudy.report.captions import finals_line, protocol_line, train_phrase
from vptstudy.report.tables.build import rows_of
from vptstudy.report.tables.listing import Listing, ListingColumn
from vptstudy.report.tables.specs import PAIR
from vptstudy.study import WHOLE_TRAIN, Cell, Study

TITLE = "Whether the distance from pretraining says who is ahead"
COLUMNS = (
    ListingColumn("title", "Tasks"),
    ListingColumn("tasks", "Number", 0),
    ListingColumn("rho", "ρ", 2, signed=True),
    ListingColumn("low", "95 % from", 2, signed=True),
    ListingColumn("high", "to", 2, signed=True),
    ListingColumn("p", "p", is_p=True),
)
BENCHMARK = ("natural", "specialized", "structured")


def reads(study: Study) -> dict[str, list]:
    """The pair's cells on the main backbone at the base size and on whole sets, of tasks that have a distance."""
    found = study.select(backbone=study.main_backbone, method=PAIR, train=[study.base_train, WHOLE_TRAIN])
    found = [cell for cell in found if set(_both(cell)) <= study.cell_set and cell.task in study.fid_tasks]
    tasks = list(dict.fromkeys(cell.task for cell in found))
    return {"final": found, "fid": tasks} if len(tasks) >= LEAST else {}


def _both(cell: Cell) -> list[Cell]:
    return [Cell(cell.backbone, method, cell.task, cell.train) for method in PAIR]


def table(study: Study, frames: Mapping[str, pd.DataFrame]) -> Listing:
    points = _points(study, frames)
    rows = [_row(title, mine) for title, mine in _sets(study, points) if len(mine) >= LEAST]
    frame = pd.DataFrame(rows, columns=[column.name for column in COLUMNS])
    return Listing("correlations", TITLE, _caption(study, frames, points), COLUMNS, frame)


def _points(study: Study, frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per task and train size with rows of both methods and a distance: train, group, far, fid, gap."""
    means = summarise(rows_of(frames["final"], reads(study).get("final", [])))
    wide = means.pivot(index=["task", "train"], columns="method", values="mean").reindex(columns=PAIR).dropna()
    fid = frames["fid"].set_index("task")["fid"].astype(float)
    points = wide.assign(gap=wide["vpt"] - wide["full"]).reset_index()
    rows = [study.tasks[task] for task in points["task"]]
    points = points.assign(group=[r.group for r in rows], far=[r.high_disparity for r in rows])
    return points.assign(fid=points["task"].map(fid)).dropna(subset=["fid"])


def _sets(study: Study, points: pd.DataFrame):
    """The benchmark's tasks at the base size: all, near and far; then fine-grained ones, and people's own."""
    base = points[(points["train"] == study.base_train) & points["group"].isin(BENCHMARK)]
    yield "All tasks", base
    yield "Near objectives", base[~base["far"]]
    yield "Far objectives", base[base["far"]]
    for group, title in (("fgvc", "FGVC"), (OWN, "Own tasks")):
        mine = points[points["group"] == group]
        for train, rows in mine.groupby("train", sort=False):
            yield f"{title}, {train_phrase([train])}", rows


def _row(title: str, points: pd.DataFrame) -> dict:
    found = rank_correlation(points["fid"], points["gap"])
    return {
        "title": title, "tasks": found.tasks, "rho": found.value, "low": found.low, "high": found.high, "p": found.p,
    }  # fmt: skip


def _printed() -> str:
    """What the paper's own numbers for FGVC give."""
    found = distance_and_gap(in_print((19,)), FGVC, WHOLE_TRAIN)
    return f"its printed numbers give {number(found.value, 2, signed=True)} over {found.tasks} tasks"


def _caption(study: Study, frames: Mapping[str, pd.DataFrame], points: pd.DataFrame) -> str:
    wanted = {(cell.task, cell.train) for cell in reads(study).get("final", [])}
    absent = len(wanted) - len(points)
    networks = sorted(set(frames["fid"]["network"]))
    parts = [
        f"{TITLE}. Spearman's correlation ρ of the Fréchet distance ({', '.join(networks)} features) with VPT − FT in "
        f"test accuracy, over tasks, at {train_phrase([study.base_train])} unless said. Below 0: the farther, "
        "the better FT does, as the paper says of near objectives (§4.3) and of FGVC "
        f"(§F; {_printed()}). The interval is Bonett and Wright's; p by permutation of the tasks.",
        protocol_line(study),
        finals_line(study, reads(study).get("final", [])),
        f"{plural(absent, 'task')} without rows of both methods, or a distance." if absent else "",
    ]
    return " ".join(part for part in parts if part)
