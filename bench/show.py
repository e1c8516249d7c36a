"""What a run leaves behind: a table on the terminal, a drawing, and the rows as parquet.

In: the rows of a run and the work they measured. Out: text for the console, `bench.pdf`, `bench.png`, `bench.parquet`,
and `bench.md`, the table for a page.

    python -m bench --cases vpt_50 --pairs 1 --out bench/out
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from bench.cases import CASES, EPOCHS, Work
from bench.measure import METRICS, Row
from vptcore.records import METADATA_KEY, replacing
from vptstudy.report.figures.style import FAINT, INK, PAGE, method_colour, new_figure, save, styled

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("case", "metric", "against")]
    + [(name, pa.float64()) for name in ("ours", "theirs", "ratio", "ratio_min", "ratio_max")]
    + [("device", pa.string())]
)
# The metric that a case's bar is about.
TRAINING = ("train_img_s", "grid_s")
# Ratios from here on are not drawn to scale.
FAR = 10
SCALED = f"* plain is scaled: some steps are timed, the whole takes {EPOCHS} epochs of them for each configuration"


def table_of(rows: Iterable[Row], work: Work) -> Table:
    """One line per case and metric. The bar is shown where it was set, on a CPU."""
    rows = list(rows)
    title = f"{work.backbone.title}, {work.backbone.size} px, batch {work.batch}; {rows[0].device if rows else ''}"
    title += f"\nplain: attention {work.attention}"
    table = Table(title=title, title_justify="left", caption=f"ratio > 1: ours is ahead\n{SCALED}", box=None)
    table.caption_justify = "left"
    for name in ("case", "metric", "against"):
        table.add_column(name)
    for name in ("ours", "theirs", "ratio", "least to greatest", "bar"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*_cells(row, work))
    return table


def _cells(row: Row, work: Work) -> tuple[str, ...]:
    case, bar = CASES[row.case], ""
    if work.device == "cpu" and row.metric in TRAINING and row.against == "plain":
        bar = f"{'reached' if row.ratio >= case.bar else 'missed'} {case.bar:g}"
    star = " *" if is_scaled(row) else ""
    spread = f"{_short(row.ratio_min)} to {_short(row.ratio_max)}"
    title = METRICS[row.metric].title
    return (
        case.title,
        title,
        row.against,
        _short(row.ours),
        _short(row.theirs) + star,
        f"{_short(row.ratio)} x",
        spread,
        bar,
    )


def is_scaled(row: Row) -> bool:
    """Whether their value stands for a run that was not timed to its end."""
    return CASES[row.case].method == "linear" and row.metric in TRAINING


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def markdown(rows: Iterable[Row]) -> str:
    """The table of docs/performance.md: a line a case, ours against plain and against today's form."""
    found = {(row.case, row.metric, row.against): row for row in rows}
    titles = (
        "case", "train, img/s: ours", "plain", "ratio", "min – max", "today's", "ratio", "min – max",
        "evaluation: plain", "today's", "peak memory: plain",
    )  # fmt: skip
    lines = [titles, ("---",) * len(titles)]
    for case in dict.fromkeys(case for case, *_ in found):
        metric = "grid_s" if CASES[case].is_grid else "train_img_s"
        plain, modern = (found.get((case, metric, name)) for name in ("plain", "modern"))
        either = plain or modern
        ours = f"{_short(either.ours)}{' s' if metric == 'grid_s' else ''}" if either else ""
        others = (("eval_img_s", "plain"), ("eval_img_s", "modern"), ("peak_mib", "plain"))
        ratios = [found.get((case, *key)) for key in others]
        cells = [CASES[case].title, ours, *_against(plain), *_against(modern)]
        lines.append((*cells, *(f"{row.ratio:.2f}" if row else "" for row in ratios)))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _against(row: Row | None) -> tuple[str, str, str]:
    if row is None:
        return "", "", ""
    scaled = " (scaled)" if is_scaled(row) else ""
    return _short(row.theirs) + scaled, f"**{_short(row.ratio)}**", f"{_short(row.ratio_min)} – {_short(row.ratio_max)}"


def write(rows: Iterable[Row], work: Work, path: Path | str) -> None:
    """The rows with the schema `SCHEMA`; the work is in the file's metadata."""
    table = pa.Table.from_pylist([asdict(row) for row in rows], schema=SCHEMA)
    note = {"kind": "bench", "work": asdict(work)}
    with replacing(path) as beside:
        pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(note).encode()}), beside)


def draw(rows: Iterable[Row], work: Work, folder: Path) -> None:
    """Ratios of training, evaluation and memory side by side: the median, and a line from the least to the greatest.

    The last panel is training against today's form.
    """
    rows = list(rows)
    cases = [case for case in CASES.values() if any(row.case == case.id for row in rows)]
    kinds = {
        "training": (TRAINING, "plain"),
        "evaluation": (("eval_img_s",), "plain"),
        "peak memory": (("peak_mib",), "plain"),
        "training, today's form": (TRAINING, "modern"),
    }
    with styled():
        figure = new_figure(PAGE, 0.24 * len(cases) + 0.9)
        for axes, (title, (metrics, against)) in zip(figure.subplots(1, 4, sharey=True), kinds.items(), strict=True):
            _panel(axes, title, cases, [r for r in rows if r.metric in metrics and r.against == against], work)
        figure.supxlabel(
            f"times that ours is ahead of the plain form, and of today's; {work.backbone.title}, {rows[0].device}",
            fontsize=6.5,
        )
    save(figure, folder / "bench.pdf", folder / "bench.png")


def _panel(axes, title: str, cases: list, rows: list[Row], work: Work) -> None:
    """One metric. A probe is a thousand times ahead: beyond `FAR` a row is an arrow at the edge."""
    height = {case.id: place for place, case in enumerate(reversed(cases))}
    near = [row.ratio_max for row in rows if row.ratio_max < FAR]
    edge = 1.15 * max([1.3, *near])
    axes.axvline(1, color=FAINT, zorder=0)
    for row in rows:
        case, y = CASES[row.case], height[row.case]
        colour, label = method_colour(case.method), _short(row.ratio)
        if row.ratio_max >= FAR:
            axes.annotate(f"{label} →", (edge, y), color=colour, ha="right", va="center", fontsize=6)
            continue
        axes.plot([row.ratio_min, row.ratio_max], [y, y], color=colour)
        axes.plot([row.ratio], [y], "o", color=colour)
        axes.annotate(label, (row.ratio, y), (0, 4.5), textcoords="offset points", ha="center", fontsize=6)
        if work.device == "cpu" and row.metric in TRAINING and row.against == "plain" and case.bar > 1:
            axes.plot([case.bar], [y], "|", color=INK, markersize=9, markeredgewidth=0.8)
    axes.set(title=title, xlim=(0, edge), ylim=(-0.6, len(cases) - 0.2))
    axes.set_yticks(list(height.values()), [CASES[name].title for name in height])
