"""What other benchmarks print for ways to tune the same backbone on VTAB-1k, and this study's means beside it.

In: final rows of the study's VTAB tasks at the base train size, of a ViT-B/16 of ImageNet-21k. Out: the `Listing` of
table_methods. What differs in data and choice between the sources is in its caption.

    snakemake table_methods
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from vptcore.analysis.benchmarks import GROUP_OF, beside, read_sources
from vptcore.analysis.statistics import summarise
from vptstudy.report.captions import protocol_line, seeds_line, train_phrase
from vptstudy.report.tables.build import rows_of
from vptstudy.report.tables.listing import Listing, ListingColumn
from vptstudy.study import Cell, Study

TITLE = "Ways to tune ViT-B/16 on VTAB-1k, as others print them and here"
COLUMNS = (
    ListingColumn("name", "Method"),
    ListingColumn("natural", "Natural", 1),
    ListingColumn("specialized", "Specialized", 1),
    ListingColumn("structured", "Structured", 1),
    ListingColumn("groups", "Mean of groups", 1),
    ListingColumn("mean", "Mean of tasks", 1),
    ListingColumn("tasks", "Tasks here", 0),
    ListingColumn("theirs", "Theirs on these", 1),
    ListingColumn("ours", "Here", 1),
    ListingColumn("difference", "Here − theirs", 1, signed=True),
)
# Others' numbers are of this architecture and these weights' data.
BACKBONE, PRETRAINED = "vit_base_patch16_224", "in21k"
SIZE = "800"


def reads(study: Study) -> dict[str, list]:
    """The study's VTAB cells at 800 images on such a backbone; {} without one."""
    found = [name for name in study.used("backbone") if _is_theirs(study.backbones[name].timm)]
    cells = study.select(backbone=found[:1], task=list(GROUP_OF), train=SIZE)
    return {"final": cells} if cells else {}


def _is_theirs(timm: str) -> bool:
    architecture, _, tag = timm.partition(".")
    return architecture == BACKBONE and tag.endswith(PRETRAINED)


def table(study: Study, frames: Mapping[str, pd.DataFrame]) -> Listing:
    wanted = reads(study).get("final", [])
    summary = summarise(rows_of(frames["final"], wanted))
    frame = beside(_ours(study, summary))
    titles = dict(zip(read_sources()["source"], read_sources()["title"], strict=True))
    frame.insert(0, "title", frame["source"].map(titles))
    found = {Cell(r.backbone, r.method, r.task, r.train): r._asdict() for r in summary.itertuples()}
    return Listing("methods", TITLE, _caption(study, wanted, found), COLUMNS, frame, blocks="title")


def _ours(study: Study, summary: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Method -> task -> percent. Others' VPT has deep prompts."""
    is_deep = study.config.get("prompts", {}).get("placement") != "shallow"
    kept = summary if is_deep else summary[summary["method"] != "vpt"]
    return {method: dict(zip(rows["task"], 100 * rows["mean"], strict=True)) for method, rows in kept.groupby("method")}


def _caption(study: Study, wanted: list[Cell], found: Mapping) -> str:
    sources = [f"{row.title} ({row.where}): {row.selection}; {row.data}." for row in read_sources().itertuples()]
    parts = [
        f"{TITLE}. Percent; others' means are over the 19 tasks, ours over those that this study has, with others' on "
        f"the same beside them; {train_phrase([SIZE])}. The mean of the three groups' means is 2 to 3 points above the "
        "mean of the tasks, and papers print either. Numbers of different sources differ in more than the method:",
        *sources,
        protocol_line(study),
        seeds_line(study, wanted, found),
    ]
    return " ".join(part for part in parts if part)
