"""How every figure looks, in one place: widths, fonts, lines, colours, and how a figure is saved.

In: a drawn figure and two paths. Out: a vector PDF with embedded TrueType fonts and a PNG of 200 dpi, both free of
dates, so that the same rows give the same bytes.

    python -m pytest tests/vptstudy/report/test_figures.py
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from vptcore.choices import ConfigError, choose_one
from vptcore.models.methods_table import METHODS
from vptcore.records import replacing

# Inches: a figure that shows little, the column of a one-column paper, and the height that leaves room for a caption.
# Nothing is wider, so that nothing is made smaller to be printed: no letter is under SMALLEST points.
COLUMN, PAGE, HEIGHT = 3.3, 5.5, 8.2
SMALLEST = 7
DPI = 200
INK, FAINT, NEUTRAL = "#222222", "#c8c8c8", "#8a8a8a"
ALARM = "#b3261e"
# What a drawing shows as trained.
TRAINED = "#E69F00"
HATCH = "//////"
# A legend below an axis finds its place only in the second layout: after one it hangs over the edge.
LAYOUTS = 2
# Ten colours that colour-blind eyes tell apart: seaborn's "colorblind", without the second that it takes to import.
TASKS = ["#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc", "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9"]

RC = {
    # DejaVu comes with matplotlib: the same bytes on every machine.
    "font.family": "DejaVu Sans",
    "font.size": 7,
    "axes.titlesize": 7,
    "figure.titlesize": 7.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.labelsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.1,
    "lines.markersize": 3,
    "hatch.linewidth": 0.5,
    "axes.grid": False,
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.5,
    "figure.figsize": (PAGE, PAGE),
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "pdf.fonttype": 42,
    "svg.hashsalt": "vptcore",
}


@contextmanager
def styled(own: Path | str | None = None):
    """Everything drawn inside follows RC and then `own`, a matplotlib style file; the process's settings stay."""
    with mpl.rc_context(RC):
        if own:
            mpl.rcParams.update(read_style(own))
        yield


def read_style(path: Path | str) -> Mapping:
    """The settings of a matplotlib style file. Raises ConfigError for a file that is none."""
    if not Path(path).is_file():
        raise ConfigError(f"style {path}: no such file; expected a matplotlib style file")
    # matplotlib only logs a key that it does not know.
    keys = [line.partition("#")[0].partition(":")[0].strip() for line in Path(path).read_text("utf-8").splitlines()]
    for key in filter(None, keys):
        near = [known for known in mpl.rcParams if known.partition(".")[0] == key.partition(".")[0]]
        choose_one(f"style {path}: key", key, near)
    try:
        found = mpl.rc_params_from_file(path, use_default_template=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"style {path}: {' '.join(str(error).split())}") from None
    if not found:
        raise ConfigError(f"style {path}: it sets nothing; expected lines such as 'font.family: serif'")
    return found


def new_figure(width: float, height: float) -> Figure:
    """A figure without pyplot's global state; constrained layout keeps labels from overlapping.

    A style's `figure.figsize` is as wide as PAGE is to be; heights stay.
    """
    return Figure(figsize=(width * mpl.rcParams["figure.figsize"][0] / PAGE, height), layout="constrained")


def panels(width: float, panel_height: float, count: int, columns: int, **options) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels in rows of at most `columns`; the places left over stay empty.

    Fewer panels than a row holds make a narrower figure, never under one column; many rows make lower panels, to fit a
    page.
    """
    width = max(COLUMN, width * min(count, columns) / columns)
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = new_figure(width, min(panel_height, HEIGHT / rows) * rows + 0.35)
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for spare in axes[count:]:
        spare.set_visible(False)
    return figure, axes[:count]


def stamp(figure: Figure, words: str) -> None:
    """What must be known of everything in the figure, in red along its lower edge; the layout makes room for it."""
    lines = textwrap.fill(words, int(19.5 * figure.get_figwidth()))
    figure.supxlabel(lines, x=0.01, ha="left", fontsize=mpl.rcParams["font.size"], color=ALARM)


def method_colour(method: str) -> str:
    return METHODS[method].colour


def tint(colour: str, strength: float = 0.12) -> str:
    """A colour mixed with white: `strength` 1 is the colour itself."""
    mixed = 1 - strength * (1 - np.array(to_rgb(colour)))
    return to_hex(mixed)


def task_colours(tasks: list[str]) -> dict[str, str]:
    """One colour per task, told apart by colour-blind eyes for up to ten tasks."""
    return dict(zip(tasks, cycle(TASKS), strict=False))


def short(name: str, letters: int) -> str:
    """A name as matplotlib is to draw it, of so many letters at most: the middle is left out."""
    if len(name) <= letters:
        return plain(name)
    # The end of a name often tells it from its neighbours: 'leaf disease 12'.
    end = letters // 3
    return plain(f"{name[: letters - end - 1].rstrip()}…{name[-end:].lstrip()}")


def letters_in(inches: float) -> int:
    """How many letters of the usual size fit a width, at least six."""
    return max(6, int(inches * 72 / (0.58 * mpl.rcParams["font.size"])))


def beside_labels(axis: Axes, names: Sequence[str]) -> None:
    """Names below the bars or marks at 0, 1, …: upright where they would run into each other."""
    axis.set_xticks(range(len(names)), [short(name, 20) for name in names], rotation=90)
    axis.tick_params(axis="x", length=0)


def plain(name: str) -> str:
    """A name as matplotlib is to draw it: dollar signs are no formulas, which fail where they are wrong."""
    return "".join(c for c in name if c.isprintable() or c == " ").replace("$", r"\$")


def save(figure: Figure, pdf_path: Path | str, png_path: Path | str, own: Path | str | None = None) -> None:
    """Write both files, each beside its place and then into it; laid out once, so that they are the same picture."""
    with styled(own):
        for _ in range(LAYOUTS):
            figure.get_layout_engine().execute(figure)
        figure.set_layout_engine("none")
        with replacing(pdf_path) as beside:
            figure.savefig(
                beside, format="pdf", metadata={"Creator": "vptcore", "Producer": None, "CreationDate": None}
            )
        with replacing(png_path) as beside:
            figure.savefig(beside, format="png", metadata={"Software": None})
