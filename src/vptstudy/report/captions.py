"""Captions of tables, computed: what is shown, on what, under which protocol, over how many seeds, what is missing; and
the sentences and words that all captions share.

In: a spec, a study and the frame it was made from. Out: plain text of whole sentences.

    python -m pytest tests/vptstudy/report/test_captions.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import pandas as pd

from vptcore.analysis.by_chance import by_chance
from vptcore.analysis.curves import NATS, RISE
from vptcore.analysis.published import TOO_WIDE
from vptcore.analysis.statistics import number
from vptcore.data.tasks import needed
from vptcore.models.methods_table import METHODS
from vptcore.training.choose import FLAT, HIGHEST, LOWEST
from vptcore.training.recipe import final_parts
from vptcore.wording import are_verb, have_verb, plural
from vptstudy.study import ONE_SHOT, WHOLE_TRAIN, Cell, Study

MARKS = {
    "within": "✓",
    "outside": "×",
    "too noisy": "~",
    "slip": "‡",
    "doubt": "◊",
    "another definition": "§",
    "not run": "–",
    "no interval": "?",
    "equal": "=",
    "different": "≠",
    "other tasks": "¶",
}
_MEANINGS = {
    "within": "the paper's number lies in our 95 % interval for the mean of five further runs",
    "outside": "the paper's number lies outside that interval",
    "too noisy": f"an interval wider than ± {TOO_WIDE:g} points, too noisy to say",
    "slip": "a slip of the paper, which no rounding of its own cells gives",
    "doubt": "doubtful: possible, but printed otherwise elsewhere, or unlikely",
    "another definition": "another definition than ours, and so no answer to it",
    "not run": "not run here",
    "no interval": "one seed, so no interval",
    "equal": "equal to the last printed digit",
    "different": "not equal",
    "other tasks": "a mean of the paper over other tasks than ours, and so not compared",
}
# More names than this in a caption are a list nobody reads.
MOST_NAMES = 8


def protocol_line(study: Study) -> str:
    """'Protocol: paper.', and the config's own notice on everything that it shows (report.notice)."""
    name = getattr(study.protocol, "name", "")
    return " ".join(filter(None, (f"Protocol: {name}." if name else "", notice(study))))


def notice(study: Study) -> str:
    """What the config says of all its results ('Synthetic rows: ...'), '' for most studies."""
    return study.config["report"].get("notice", "")


def seeds_phrase(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def train_phrase(trains: Collection[str]) -> str:
    """'train size 800', 'one-shot', 'all of train', 'train sizes 400 and 800'."""
    names = {ONE_SHOT: "one-shot", WHOLE_TRAIN: "all of train"}
    shown = [names.get(train, train) for train in trains]
    if len(shown) == 1:
        return shown[0] if shown[0] in names.values() else f"train size {shown[0]}"
    return f"train sizes {join(shown)}"


def join(names: Iterable[str]) -> str:
    """'a, b and c'; beyond MOST_NAMES the rest is counted."""
    names = list(names)
    if len(names) > MOST_NAMES:
        names = [*names[:MOST_NAMES], f"{len(names) - MOST_NAMES} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


def full_stop(words: str) -> str:
    """A sentence's end, also after 'KITTI/dist.', which has its stop."""
    return words if words.endswith(".") else words + "."


def cell_title(cell: Cell, study: Study) -> str:
    return f"{study.tasks[cell.task].title} ({METHODS[cell.method].title}, {train_phrase([cell.train])})"


def seeds_line(study: Study, wanted: list[Cell], summary: Mapping[Cell, Mapping]) -> str:
    """Which cells have no rows, which fewer seeds than the study asks for, and which seeds diverged."""
    parts = []
    absent = sum(cell not in summary for cell in wanted)
    if absent:
        parts.append(f"{absent} of {plural(len(wanted), 'cell')} {have_verb(absent)} no rows yet (–).")
    short = sum(summary[cell]["n"] < len(study.seeds) for cell in wanted if cell in summary)
    if short:
        parts.append(f"{plural(short, 'cell')} {have_verb(short)} fewer than {seeds_phrase(len(study.seeds))}.")
    diverged = [
        f"{cell_title(cell, study)} seed {', '.join(map(str, summary[cell]['diverged']))}"
        for cell in wanted
        if cell in summary and summary[cell]["diverged"]
    ]
    if diverged:
        parts.append(f"Diverged, and counted as they are: {join(diverged)}.")
    return " ".join(parts)


def table_caption(spec, study: Study, backbone: str, wanted: list[Cell], summary: Mapping, frame: pd.DataFrame) -> str:
    """The caption of one table. `frame` is the table's own."""
    trains = list(dict.fromkeys(frame.train))
    parts = [f"{spec.title}. {study.backbones[backbone].title}, {train_phrase(trains)}."]
    if spec.metric == "prompt_length":
        parts.append("Prompt length in tokens a layer.")
    else:
        parts += [_accuracy_legend(study, frame), finals_line(study, wanted)]
    parts += [protocol_line(study), recipe_line(study, wanted), seeds_line(study, wanted, summary)]
    parts += [_states_line(frame), _ties_line(study, frame)]
    parts += [marks_line([*frame["verdict"], *frame["wins_kind"]]), _by_chance_line(frame)]
    return " ".join(part for part in parts if part)


def finals_line(study: Study, cells: list[Cell]) -> str:
    """What the finals of these cells are trained on, a sentence for each way; of numbered sizes how many images."""
    sized = sorted({int(cell.train) for cell in cells if cell.train.isdigit()})
    counts = f": {join(f'{needed(size):,}' for size in sized)} images at {train_phrase([str(size) for size in sized])}"
    said = dict.fromkeys(_trained_on(study, cell, counts) for cell in cells)
    return " ".join(f"Finals are trained on {what}." for what in said)


def _trained_on(study: Study, cell: Cell, counts: str) -> str:
    parts = final_parts(study.protocol, study.tasks[cell.task].group, cell.train)
    if cell.train == ONE_SHOT:
        what = "two images a class, drawn anew" if parts == ("final",) else "one image a class"
        several = study.one_shot_picks > 1
        picks = "each seed on its own pick" if several else "one pick for all seeds, whose luck is in no interval"
        return f"{what}: {picks}"
    if parts == ("train",):
        return "train alone, without val"
    return f"train and val{counts if cell.train.isdigit() else ''}"


def edges_line(edges: Iterable[str]) -> str:
    """How many best rates are the lowest or highest of their grid, and how many grids are flat; '' where none is."""
    count = Counter(edges)
    of, cut, parts = sum(count.values()), count[HIGHEST] + count[LOWEST], []
    if cut:
        ends = f"highest {count[HIGHEST]}, lowest {count[LOWEST]}"
        parts.append(f"{cut} of {plural(of, 'chosen rate')} on the edge of the grid ({ends}).")
    if count[FLAT]:
        parts.append(f"Flat, all rates that held scoring the same: {count[FLAT]} of {plural(of, 'grid')}.")
    return " ".join(parts)


def recipe_line(study: Study, cells: list[Cell]) -> str:
    """Which recipe sizes without a search of their own are trained with (`regrid: false`)."""
    if all(study.searched_by(cell) == cell for cell in cells):
        return ""
    base = train_phrase([study.base_train])
    return f"Sizes without a search of their own use the learning rate and weight decay found with {base}."


def _accuracy_legend(study: Study, frame: pd.DataFrame) -> str:
    parts = [f"Test accuracy in percent, mean ± standard deviation over {seeds_phrase(len(study.seeds))}"]
    if frame["wins"].notna().any():
        parts.append("; in brackets the number of tasks won against FT")
    where = "its column" + (" and train size" if frame.train.nunique() > 1 else "")
    parts.append(f". Bold: not worse than the best of {where}, over seeds and test images (95 %, Holm)")
    parts.append("; underlined: the same of FT and VPT alone." if frame["underlined"].any() else ".")
    return "".join(parts)


def _states_line(frame: pd.DataFrame) -> str:
    parts = []
    if (frame.state == "partial").any():
        parts.append("*: a mean over those of its tasks that have rows.")
    if (frame.state == "fewer").any():
        parts.append("†: a mean over fewer tasks than the group has columns.")
    if ((frame.state == "none") & (frame.task != "mean")).any():
        parts.append("A blank cell is not part of the study.")
    return " ".join(parts)


def _ties_line(study: Study, frame: pd.DataFrame) -> str:
    tied = [
        f"{study.tasks[task].title} ({METHODS[row.method].title})"
        for row in frame.itertuples()
        for task in row.ties.split()
    ]
    return f"Ties with FT, not counted as wins: {join(tied)}." if tied else ""


def marks_line(verdicts: Iterable[str]) -> str:
    """The legend of the marks that occur, in a fixed order, with how many there are."""
    present = Counter(verdicts)
    shown = [f"{mark} {_MEANINGS[name]} ({present[name]})" for name, mark in MARKS.items() if name in present]
    return f"Beside the paper: {'; '.join(shown)}." if shown else ""


def _by_chance_line(frame: pd.DataFrame) -> str:
    """How many × there are and how many there would be by chance, with one p that knows what means are made of."""
    found = by_chance(frame)
    if not found.compared:
        return ""
    said = "p < .001" if found.p < 0.001 else f"p = {number(found.p, 3)}"
    among = f", {found.derived} of which come from others' runs," if found.derived else ""
    return (
        f"Of {plural(found.compared, 'number')}{among} {found.outside} {are_verb(found.outside)} ×; by "
        f"chance it would be {found.expected:.1f} ({said})."
    )


def overfitting_rule() -> str:
    """What counts as overfitting, for a caption (analysis.curves)."""
    share = f"{RISE:.0%}".replace("%", " %")
    return f"a rise of at least {share} of the minimum and {NATS:g} nats, clear over seeds (95 %)"


def curves_on(study: Study) -> str:
    """On which test images a curve is taken."""
    return f"Curves are taken on a fixed sample of at most {study.config['curves']['images']:,} test images."


def diverged_line(counts: Iterable[int]) -> str:
    """How many seeds left a curve unfinished; '' where none did."""
    lost, cells = sum(counts), sum(count > 0 for count in counts)
    return (
        f"{plural(lost, 'run')} of {plural(cells, 'cell')} diverged, and {have_verb(lost)} no part in it."
        if lost
        else ""
    )


def target(kind: str, number: int | str) -> str:
    """The workflow's target that makes one table or figure: 'table_01', 'figure_03', 'figure_forest'."""
    return f"{kind}_{int(number):02d}" if str(number).isdigit() else f"{kind}_{number}"
