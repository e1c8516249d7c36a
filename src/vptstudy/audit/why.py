"""`--why FILE`: what one file was made from, drawn as a tree, from the file back to the config and the images.

In: a `View`, the study's jobs, an `Audit` of the chain. Out: a rich tree; every file says what it holds and whether it
holds.

    vptcore audit results/demo --why tables/table_01.csv
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from rich.text import Text
from rich.tree import Tree

from vptcore.training.choose import choose
from vptcore.wording import plural
from vptstudy.audit.context import View
from vptstudy.audit.findings import Audit, Report, Unusable
from vptstudy.graph.jobs import Job

MARKS = {"right": ("✓", "green"), "wrong": ("✗", "red"), "not yet made": ("·", "dim")}


def chain(jobs: Sequence[Job], name: str) -> list[str]:
    """The file, the files of its job, and every file above them."""
    wanted, files = {name}, []
    for job in reversed(jobs):
        if wanted & set(job.files):
            wanted |= set(job.reads)
            files += job.files
    return [name for job in jobs for name in job.files if name in wanted]


def tree(view: View, jobs: Sequence[Job], audit: Audit, name: str) -> Tree:
    """The tree of one file. What has been drawn once is named again without its branches."""
    made_by = {file: job for job in jobs for file in job.files}
    reports = {report.file: report for report in audit.reports}
    return _branch(view, made_by, reports, name, set())


def _branch(view: View, made_by: Mapping[str, Job], reports: Mapping[str, Report], name: str, drawn: set[str]) -> Tree:
    job = made_by.get(name)
    if job is None:
        return Tree(Text.assemble((name, "bold"), "  given"))
    label = _label(view, reports.get(name), name)
    if name in drawn:
        return Tree(label.append("  (above)", "dim"))
    drawn.add(name)
    node = Tree(label)
    for above in sorted(job.reads, key=_order):
        node.children.append(_branch(view, made_by, reports, above, drawn))
    if job.stage == "prepare" and name == job.files[1]:
        node.add(Text.assemble(("source", "bold"), f"  {job.slice['source']}", f" in {job.slice['path']}" * bool(
            job.slice["path"])))  # fmt: skip
    if not job.reads or job.stage in ("table", "figure", "report"):
        node.add(Text.assemble(("config", "bold"), f"  study {view.study.name}, protocol {view.study.protocol.name}"))
    return node


_LAST = ("splits", "index", "data")


def _order(name: str) -> tuple[int, str]:
    """What decides first: finals, searches and models before the rows and images that all of them share."""
    stage = name.split("/", 1)[0]
    return (_LAST.index(stage) + 1 if stage in _LAST else 0), ""


def _label(view: View, report: Report | None, name: str) -> Text:
    mark, style = MARKS.get(report.state if report else "", ("?", "dim"))
    label = Text.assemble((mark, style), " ", (name, "bold"))
    if report is None or not report.there:
        return label.append("  not yet made", "dim")
    kind = name.split("/", 1)[0]
    try:
        says = _SAYS[kind](view.rows(name, kind)) if kind in _SAYS else ""
    except (Unusable, IndexError, KeyError, TypeError, ValueError):
        says = "cannot be read"
    label.append(f"  {says}")
    for finding in report.wrong:
        label.append(f"\n  {finding.check}: {finding.text}", "red")
    return label


Rows = Mapping[str, np.ndarray]


def _final(rows: Rows) -> str:
    accuracy = rows["test_accuracy"].astype(float) * 100
    spread = f" ± {accuracy.std(ddof=1):.2f}" if len(accuracy) > 1 else ""
    chosen = f"configuration {rows['config'][0]}, lr {rows['lr'][0]:g}, weight decay {rows['weight_decay'][0]:g}"
    return f"test {accuracy.mean():.2f}{spread} % over {plural(len(accuracy), 'seed')} ({chosen})"


def _search(rows: Rows) -> str:
    import pandas as pd

    keys = ("config", "lr", "weight_decay", "epochs", "val_accuracy", "diverged")
    best = choose(pd.DataFrame({key: rows[key] for key in keys}))
    count = plural(len(set(rows["config"].tolist())), "configuration")
    return f"{count}, best {best['config']}: lr {best['lr']:g} with val {best['val_accuracy']:.1%}"


def _index(rows: Rows) -> str:
    classes = len(set(rows["label"].tolist()))
    return f"{plural(len(rows['row']), 'image')}, {plural(classes, 'class', 'classes')}"


def _splits(rows: Rows) -> str:
    return ", ".join(f"{int((rows['part'] == part).sum()):,} {part}" for part in dict.fromkeys(rows["part"].tolist()))


_SAYS: dict[str, Callable[[Rows], str]] = {
    "final": _final,
    "search": _search,
    "splits": _splits,
    "index": _index,
    "fid": lambda rows: f"Fréchet distance {rows['fid'][0]:.2f} in {rows['network'][0]} features",
    "curves": lambda rows: plural(len(rows["epoch"]), "row"),
    "predictions": lambda rows: plural(len(rows["row"]), "prediction"),
    "explain": lambda rows: plural(len(rows["pick"]), "map"),
}
