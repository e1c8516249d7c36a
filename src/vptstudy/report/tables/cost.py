"""What each method costs beside what it reaches: device-seconds of searches and finals, and parameters tuned.

In: rows of kind final and search of the main backbone at the base train size. Out: a frame with one row per method and
group of tasks, the `Listing` of table_cost, and the points of the cost figure.

    snakemake table_cost
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from vptcore.analysis.statistics import group_mean, summarise
from vptcore.models.methods_table import METHODS
from vptstudy.report.captions import join, protocol_line, seeds_line, seeds_phrase, train_phrase
from vptstudy.report.tables.build import rows_of
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.report.tables.listing import Listing, ListingColumn
from vptstudy.study import Cell, Study

COLUMNS = (
    ListingColumn("method_title", "Method"),
    ListingColumn("tasks", "Tasks", 0),
    ListingColumn("accuracy", "Accuracy (%)", 2),
    ListingColumn("std", "± std", 2),
    ListingColumn("tuned_percent", "Tuned / total (%)", 2),
    ListingColumn("final_seconds", "Seconds a seed", 1),
    ListingColumn("search_seconds", "Seconds a search", 1),
    ListingColumn("configurations", "Configurations", 1),
    ListingColumn("images_per_second", "Images a second", 0),
)


def reads(study: Study) -> dict[str, list]:
    """The main backbone's cells at the base train size, and the searches that gave them their recipes."""
    cells = study.select(backbone=study.main_backbone, train=study.base_train)
    return {"final": cells, "search": list(dict.fromkeys(study.searched_by(cell) for cell in cells))} if cells else {}


def by_task(study: Study, frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per cell that has final rows: accuracy and std in percent, tuned share, and median seconds over seeds.

    Times are wall seconds on the device that the rows name; `search_seconds` is the sum over the grid, NaN where the
    search has no rows.
    """
    wanted = reads(study)
    if not wanted:
        return pd.DataFrame()
    final, search = rows_of(frames["final"], wanted["final"]), rows_of(frames["search"], wanted["search"])
    times = final.groupby(["method", "task"])[["seconds", "images_per_second"]].median()
    searches = search.groupby(["method", "task"])
    grid_seconds, configurations = searches["seconds"].sum(), searches["config"].nunique()
    rows = []
    for row in summarise(final).to_dict("records"):
        key = row["method"], row["task"]
        rows.append(
            {
                "method": row["method"],
                "task": row["task"],
                "group": study.tasks[row["task"]].group,
                "accuracy": 100 * row["mean"],
                "std": 100 * row["std"],
                "tuned_percent": row["tuned_percent"],
                "final_seconds": times["seconds"].get(key),
                "images_per_second": times["images_per_second"].get(key),
                "search_seconds": grid_seconds.get(key),
                "configurations": configurations.get(key),
            }
        )
    return pd.DataFrame(rows)


def table(study: Study, frames: Mapping[str, pd.DataFrame]) -> Listing:
    """One row per group and method: the mean accuracy over its tasks, and the mean of what the tasks cost."""
    found = by_task(study, frames)
    rows = []
    for group in GROUP_TITLES:
        for method in study.used("method"):
            mine = found[(found["group"] == group) & (found["method"] == method)] if len(found) else found
            if len(mine):
                rows.append(_row(study, frames["final"], group, method, mine))
    frame = pd.DataFrame(
        rows, columns=["group_title", *(column.name for column in COLUMNS), "method", "group", "task_ids"]
    )
    return Listing("cost", "What each method costs", _caption(study, frames), COLUMNS, frame, blocks="group_title")


def beside_others(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of `table`'s frame that may be compared: of each group those over as many tasks as its widest row."""
    return frame[frame["tasks"] == frame.groupby("group")["tasks"].transform("max")]


def left_out(study: Study, frames: Mapping[str, pd.DataFrame]) -> str:
    """The sentence of the cost figure's caption about the rows that `beside_others` leaves out."""
    frame = table(study, frames).frame
    out = frame.drop(beside_others(frame).index)
    most = frame.groupby("group")["tasks"].max()
    said = [f"{row.method_title} in {row.group_title} ({row.tasks} of {most[row.group]})" for row in out.itertuples()]
    return f"Left out, as means over fewer tasks: {join(said)}." if said else ""


def _row(study: Study, final: pd.DataFrame, group: str, method: str, mine: pd.DataFrame) -> dict:
    line = final[
        (final["backbone"] == study.main_backbone) & (final["method"] == method) & (final["train"] == study.base_train)
    ]
    mean = group_mean(line, mine["task"]).estimate
    costs = ["tuned_percent", "final_seconds", "search_seconds", "configurations", "images_per_second"]
    return {
        "group_title": GROUP_TITLES[group], "group": group, "method": method, "method_title": METHODS[method].title,
        "tasks": len(mine), "accuracy": 100 * mean.mean, "std": 100 * mean.std, **mine[costs].mean(),
    }  # fmt: skip


def _caption(study: Study, frames: Mapping[str, pd.DataFrame]) -> str:
    wanted = reads(study)
    final = rows_of(frames["final"], wanted["final"]) if wanted else frames["final"]
    summary = {Cell(r.backbone, r.method, r.task, r.train): r._asdict() for r in summarise(final).itertuples()}
    devices = join(sorted(set(final["device"].dropna()))) if len(final) else ""
    parts = [
        f"What each method costs. {study.backbones[study.main_backbone].title}, "
        f"{train_phrase([study.base_train])}. Means over the tasks of a group: test accuracy with its standard "
        f"deviation over {seeds_phrase(len(study.seeds))}, the tuned share of all parameters (head included), "
        "wall seconds to train and score one seed, and of the whole search.",
        f"Devices: {devices}." if devices else "",
        protocol_line(study),
        seeds_line(study, wanted.get("final", []), summary),
    ]
    return " ".join(part for part in parts if part)
