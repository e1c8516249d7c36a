"""Captions of figures, computed: what is shown, on what, over how many seeds, how it was taken, what is missing.

In: a figure's spec, a study, what it wants and the frames it was made from. Out: plain text of whole sentences.

    python -m pytest tests/vptstudy/report/test_figures.py
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from vptcore.analysis.curves import overfitting
from vptcore.analysis.statistics import CELL
from vptcore.models.methods_table import METHODS, in_order
from vptcore.wording import have_verb, plural
from vptstudy.report.captions import (
    diverged_line,
    finals_line,
    join,
    overfitting_rule,
    protocol_line,
    recipe_line,
    seeds_phrase,
    train_phrase,
)
from vptstudy.study import Cell, Study


def _seeds_shown(study: Study, frames: Mapping[str, pd.DataFrame]) -> str:
    """How many seeds the rows have that are seen: one in maps and searches; of test curves those that were kept."""
    if "explain" in frames:
        return "one seed"
    if set(frames) == {"search"}:
        return "each configuration run once"
    kind = next((kind for kind in ("curves", "final", "predictions") if kind in frames), "")
    if not kind or not len(frames[kind]):
        return seeds_phrase(len(study.seeds))
    counts = frames[kind].groupby(CELL)["seed"].nunique()
    if kind != "curves":
        return _from_to(counts)
    tested = frames[kind][frames[kind]["test_loss"].notna()].groupby(CELL)["seed"].nunique().reindex(counts.index)
    if tested.eq(counts).all():
        return _from_to(counts)
    return f"{_from_to(counts)}, test curves of {_from_to(tested.fillna(0).astype(int))}"


def _from_to(counts: pd.Series) -> str:
    """'5 seeds', 'one seed', '3 to 5 seeds', 'none'."""
    least, most = int(counts.min()), int(counts.max())
    return "none" if not most else seeds_phrase(most) if least == most else f"{least} to {most} seeds"


# Kinds of rows that come from no training.
_OF_IMAGES = {"examples", "index", "fid"}
_OF_FINALS = {"final", "curves", "predictions"}


def figure_caption(
    spec,
    study: Study,
    wanted: Mapping[str, list],
    frames: Mapping[str, pd.DataFrame],
    shown: Mapping[str, pd.DataFrame],
) -> str:
    """The caption of one figure: `frames` is what it reads of what is `wanted`, and `shown` what of that it draws."""
    cells = next((list(v) for v in wanted.values() if v and isinstance(v[0], Cell)), [])
    if spec.narrows:
        drawn = {cell for frame in shown.values() for cell in _present(frame, by_cell=True)}
        cells = [cell for cell in cells if cell in drawn]
    trains = sorted({cell.train for cell in cells}, key=lambda t: (not t.isdigit(), int(t) if t.isdigit() else 0)) or [
        study.base_train
    ]
    where = f"{study.backbones[study.main_backbone].title}, {train_phrase(trains)}, {_seeds_shown(study, shown)}."
    if not wanted:
        return f"{spec.title}. {spec.shows}"
    parts = [
        f"{spec.title}." if set(wanted) <= _OF_IMAGES else f"{spec.title}. {where}",
        spec.shows,
        spec.adds(study, frames) if spec.adds else "",
        _layer_line(shown),
        _network_line(shown),
        _overfitting_line(shown),
        protocol_line(study),
        finals_line(study, cells) if _OF_FINALS & set(wanted) else "",
        recipe_line(study, cells),
    ]
    parts += _missing_lines(wanted, frames)
    return " ".join(part for part in parts if part)


def _missing_lines(wanted: Mapping[str, list], frames: Mapping[str, pd.DataFrame]) -> list[str]:
    """'2 of 8 cells have no final rows yet.', once for the kinds that lack the same."""
    kinds: dict[tuple, list[str]] = {}
    for kind, asked in wanted.items():
        unit = "cell" if any(isinstance(one, Cell) for one in asked) else "task"
        if absent := frozenset(asked) - _present(frames[kind], by_cell=unit == "cell"):
            kinds.setdefault((absent, len(asked), unit), []).append(kind)
    return [
        f"{len(absent)} of {plural(count, unit)} {have_verb(len(absent))} no {join(lacking)} rows yet."
        for (absent, count, unit), lacking in kinds.items()
    ]


def _present(frame: pd.DataFrame, by_cell: bool) -> set:
    """The cells, or the tasks, that have rows."""
    if not isinstance(frame, pd.DataFrame):
        return set(frame)
    if not by_cell:
        return set(frame["task"])
    keys = frame[["backbone", "method", "task", "train"]].drop_duplicates().itertuples(index=False)
    return {Cell(*key) for key in keys}


def _layer_line(frames: Mapping[str, pd.DataFrame]) -> str:
    """Where Grad-CAM was taken, in which form, and how many steps the integral had."""
    if "explain" not in frames or frames["explain"].empty:
        return ""
    layers, steps = (sorted(set(frames["explain"][name].dropna())) for name in ("layer", "ig_steps"))
    forms = join(_CAMS[cam] for cam in dict.fromkeys(frames["explain"]["cam"]))
    taken = f"Grad-CAM, {forms}, at {join(layers)}, prompts left out"
    return f"{taken}; integrals in {join(str(int(n)) for n in steps)} steps."


_CAMS = {
    "plain": "not smoothed",
    "authors": "smoothed twice as the authors' (over mirrored and scaled images, and by the first principal component)",
}


def _network_line(frames: Mapping[str, pd.DataFrame]) -> str:
    if "fid" not in frames:
        return ""
    fid = frames["fid"]
    return f"Features: {join(sorted(set(fid['network'])))}; reference: {join(sorted(set(fid['reference'])))}."


def _overfitting_line(frames: Mapping[str, pd.DataFrame]) -> str:
    """How many of the curves overfit by the rule of analysis.curves, per method."""
    if "curves" not in frames:
        return ""
    found = overfitting(frames["curves"], frames.get("final"))
    known = found[found["seeds"] > 0]
    counts = [
        f"{METHODS[method].title} {int(mine['overfits'].sum())} of {len(mine)}"
        for method in in_order(known["method"])
        if len(mine := known[known["method"] == method])
    ]
    said = f"Overfitting, which is {overfitting_rule()}: {', '.join(counts)}." if counts else ""
    return " ".join(filter(None, (said, diverged_line(found["diverged"]))))
