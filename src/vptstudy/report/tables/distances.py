"""The Fréchet distance of every task with what is needed to read it: interval, limit, kernel distance, sizes.

In: rows of kind fid. Out: the `Listing` of table_distances.

    snakemake table_distances
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from vptcore.records import RowsError
from vptcore.wording import have_verb, plural
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.report.tables.listing import Listing, ListingColumn
from vptstudy.study import Study

COLUMNS = (
    ListingColumn("title", "Task"),
    ListingColumn("images", "Images", 0),
    ListingColumn("fid", "Fréchet distance", 1),
    ListingColumn("fid_low", "95 % from", 1),
    ListingColumn("fid_high", "to", 1),
    ListingColumn("spreads", "In spreads", 2),
    ListingColumn("fid_infinity", "Limit", 1),
    ListingColumn("kid", "KID", 4),
    ListingColumn("kid_std", "± std", 4),
)
KEPT = ["network", "resize", "reference", "reference_sha256", "reference_images", "dimensions"]


def reads(study: Study) -> dict[str, list]:
    return {"fid": study.fid_tasks} if study.fid_tasks else {}


def table(study: Study, frames: Mapping[str, pd.DataFrame]) -> Listing:
    wanted, fid = study.used("task"), frames["fid"]
    fid = fid[fid["task"].isin(wanted)]
    fid = fid.assign(spreads=fid["fid"].astype(float) / fid["reference_spread"].astype(float))
    if fid["task"].duplicated().any():
        task = fid.loc[fid["task"].duplicated(), "task"].iloc[0]
        raise RowsError(f"fid rows: task {task} occurs twice; expected one distance per task")
    known = {row["task"]: row for row in fid.to_dict("records")}
    rows = []
    for group, group_title in GROUP_TITLES.items():
        for task in (task for task in study.tasks.values() if task.group == group and task.id in wanted):
            rows.append({"group_title": group_title, "group": group, **known.get(task.id, {}), "title": task.title})
            rows[-1]["task"] = task.id
    columns = ["group_title", "group", "task", *(column.name for column in COLUMNS), *KEPT]
    title = "How far each task's images lie from those of pretraining"
    caption = _caption(title, fid, len(wanted) - len(known))
    frame = pd.DataFrame(rows, columns=columns)
    return Listing("distances", title, caption, COLUMNS, frame, blocks="group_title")


def _caption(title: str, fid: pd.DataFrame, absent: int) -> str:
    settings = fid[KEPT].drop_duplicates().to_dict("records")
    described = [_described(row) for row in settings]
    parts = [
        f"{title}. Fréchet distance with its 95 % interval over resampled images; in spreads of the reference, the "
        "mean squared distance of its own images from their mean (above 1 a task's images count as far, Figure 1); its "
        "limit for ever more images (a hint only where images are fewer than dimensions); and the kernel distance, "
        "which has no such bias.",
        f"{'; '.join(described)}." if described else "",
        "More than one setting: the numbers are not comparable with each other." if len(settings) > 1 else "",
        f"{plural(absent, 'task')} {have_verb(absent)} no rows yet (–)." if absent else "",
    ]
    return " ".join(part for part in parts if part)


def _described(row: Mapping) -> str:
    return (
        f"{row['network']} features ({row['dimensions']} dimensions, resize {row['resize']}) against "
        f"{row['reference']} ({_count(row['reference_images'])}, SHA-256 {row['reference_sha256'][:12]})"
    )


def _count(images) -> str:
    return "an unknown number of images" if pd.isna(images) else f"{int(images):,} images"
