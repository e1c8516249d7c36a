"""What the paper's sentences say, what its own printed cells give, what this study gives, and whether they hold.

In: final rows of the paper's cells, their predictions one cell at a time, loss curves and distances. Out: the `Listing`
of table_claims, one row for each of `vptcore.analysis.claims.CLAIMS`.

    snakemake table_claims
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import pandas as pd

from vptcore.analysis.claims import CLAIMS, Claim, in_print
from vptcore.analysis.curves import overfitting
from vptcore.analysis.measures import BASE, FGVC, MAIN, OPEN, VTAB, Evidence, Found, tasks_of
from vptcore.analysis.paired import Contrast
from vptcore.analysis.published import read_published
from vptcore.analysis.statistics import MISSING, summarise
from vptcore.analysis.when import LEAST_TASKS
from vptstudy.report.captions import finals_line, protocol_line, seeds_line
from vptstudy.report.contrasts import Contrasts
from vptstudy.report.quadrants import quadrants
from vptstudy.report.tables.build import rows_of
from vptstudy.report.tables.listing import Listing, ListingColumn
from vptstudy.report.tables.specs import PAIR
from vptstudy.study import Cell, Study

TITLE = "The paper's sentences, by its own cells and here"
COLUMNS = (
    ListingColumn("says", "The paper says"),
    ListingColumn("printed", "Printed"),
    ListingColumn("recomputed", "From its cells"),
    ListingColumn("ours", "Here"),
    ListingColumn("verdict", "Holds in print, here"),
)
FRAME = ["section", *(column.name for column in COLUMNS), "in_print", "here", "tables"]


def reads(study: Study) -> dict[str, list]:
    """The study's cells of the paper's backbones, methods and tasks; {} where too few tasks have VPT and FT."""
    cells = _claimed(study)
    base = [cell for cell in cells if (cell.backbone, cell.train) == (MAIN, BASE) and cell.method in PAIR]
    both = {cell.task for cell in base if cell.method == "vpt"} & {cell.task for cell in base if cell.method == "full"}
    if len(both) < LEAST_TASKS:
        return {}
    wanted: dict[str, list] = {"final": cells, "predictions": cells}
    if study.config["curves"]["seeds"]:
        wanted["curves"] = [cell for cell in base if cell.task in tasks_of(VTAB)]
    if measured := [task for task in study.fid_tasks if task in tasks_of((*VTAB, *FGVC))]:
        wanted["fid"] = measured
    return wanted


def _claimed(study: Study) -> list[Cell]:
    printed = read_published()
    # §5.3 names the probes, and prints nothing for them.
    methods = {*printed["method"], "linear", "mlp"} - {""}
    tasks = tasks_of((*VTAB, *FGVC))
    found = study.select(backbone=sorted(set(printed["backbone"])), method=sorted(methods), task=tasks)
    return [cell for cell in found if not (cell.train.isdigit() and int(cell.train) > 20_000)]


def table(study: Study, frames: Mapping) -> Listing:
    """`frames["predictions"]` maps a cell to its rows; without them intervals are over seeds alone."""
    wanted = reads(study)
    final = rows_of(frames["final"], wanted.get("final", []))
    here = evidence(study, final, frames)
    frame = pd.DataFrame([_row(claim, here) for claim in CLAIMS], columns=FRAME)
    summary = {Cell(r.backbone, r.method, r.task, r.train): r._asdict() for r in summarise(final).itertuples()}
    caption = _caption(study, wanted, summary)
    return Listing("claims", TITLE, caption, COLUMNS, frame, blocks="section")


def evidence(study: Study, final: pd.DataFrame, frames: Mapping) -> Evidence:
    """What a study's rows say of the paper's sentences. `frames`: kind -> rows; curves and fid may be missing."""
    contrasts = Contrasts(study, final, frames.get("predictions"))
    tuned = summarise(final[final["method"] == "vpt"].query("backbone == @MAIN and train == @BASE"))
    fid = frames.get("fid", pd.DataFrame(columns=["task", "fid"]))
    asked = frames if {"final", "fid"} <= set(frames) else None

    @cache
    def gaps(backbone: str, a: str, b: str, train: str) -> dict[str, Contrast]:
        return contrasts.over_tasks(a, b, backbone, dict.fromkeys(tasks_of((*VTAB, *FGVC)), train))

    return Evidence(
        gaps,
        dict(zip(fid["task"], fid["fid"].astype(float), strict=True)),
        dict(zip(tuned["task"], tuned["tuned_percent"], strict=True)),
        _overfit(study, frames.get("curves"), final),
        [quadrant.few.side for quadrant in quadrants(study, asked, contrasts)]
        if asked and study.main_backbone == MAIN
        else (),
    )


def _overfit(study: Study, curves: pd.DataFrame | None, final: pd.DataFrame) -> dict[str, bool]:
    """Task -> whether both methods overfit at the base size, of tasks whose curves are there for both."""
    cells = reads(study).get("curves", [])
    if curves is None or not cells:
        return {}
    found = overfitting(rows_of(curves, cells), rows_of(final, cells))
    wide = found.pivot(index="task", columns="method", values="overfits").reindex(columns=PAIR).dropna()
    return {task: bool(both) for task, both in wide.astype(bool).all(axis=1).items()}


def _row(claim: Claim, here: Evidence) -> dict:
    theirs = claim.measure(in_print(claim.tables)) if claim.tables else Found(claim.absent)
    ours = claim.measure(here)
    return {
        "section": claim.section, "says": claim.says, "printed": claim.printed,
        "recomputed": theirs.text, "ours": ours.text, "verdict": _verdict(theirs.answer, ours.answer),
        "in_print": theirs.answer, "here": ours.answer, "tables": " ".join(map(str, claim.tables)),
    }  # fmt: skip


def _verdict(theirs: str, ours: str) -> str:
    """'yes, no': whether it holds by the printed cells, and by ours; '–' where nothing tells."""
    return ", ".join(answer or MISSING for answer in (theirs, ours))


def _caption(study: Study, wanted: Mapping, summary: Mapping) -> str:
    parts = [
        f"{TITLE}. Each row is a sentence that counts or compares. From its cells: the same number from what the paper "
        "prints, taken as printed. Here: from this study's rows. Counts: tasks on which the first method has the "
        "higher mean, in brackets the fewest and the most that 95 % intervals over seeds and test images allow (Holm); "
        "of other backbones also Natural + Specialized + Structured. Differences: the first method minus the second in "
        "points, mean over tasks with its 95 % interval on these tasks. A doubling: the least-squares slope of "
        "VPT − FT on the number of images, with its interval over tasks. ρ: Spearman's correlation of Fréchet distance "
        "and VPT − FT over tasks, with Bonett and Wright's interval. A number of wins holds where the intervals allow "
        "it; of other backbones, and of FT at the largest size, whose twelve tasks the paper does not name, where it "
        f"is most of the tasks, as with parameters and overfitting. {OPEN}: the interval allows both answers, or tasks "
        "are missing. –: drawn or not printed, not part of this study, or no rows yet.",
        protocol_line(study),
        finals_line(study, wanted.get("final", [])),
        seeds_line(study, wanted.get("final", []), summary),
    ]
    return " ".join(part for part in parts if part)
