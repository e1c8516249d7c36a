"""What is seen in each figure, in words and numbers, for whoever does not see it: the alt texts of the report.

In: a study and the numbers that a figure draws (its csv). Out: sentences with those numbers. One function a kind of
figure; the catalogue names it in a figure's row.

    python -m pytest tests/vptstudy/report/test_seen.py
"""

from __future__ import annotations

import math

import pandas as pd

from vptcore.analysis.statistics import number
from vptcore.models.methods_table import METHODS, in_order
from vptcore.wording import plural
from vptstudy.report.tables.grid import GROUP_TITLES
from vptstudy.study import Study


def differences(study: Study, drawn: pd.DataFrame) -> str:
    """'CIFAR-100 +13.2 [+11.9, +14.4]; …; mean of Natural +4.1 [+3.9, +4.4], tasks like these [−1.0, +9.2].'"""
    said = []
    for row in drawn.itertuples():
        like = between(row.like_low, row.like_high)
        name = study.tasks[row.task].title if isinstance(row.task, str) else f"mean of {GROUP_TITLES[row.group]}"
        said.append(f"{name} {_gap(row)}" + (f", on tasks like these {like}" if like else ""))
    return _listed("VPT − FT in points", said)


def quadrants(study: Study, drawn: pd.DataFrame) -> str:
    parts = []
    for images, rows in drawn.groupby("images", sort=False):
        means = rows[rows["task"].isna()].sort_values("quadrant")
        said = [
            f"{_quadrant(row)} {_gap(row)}, VPT ahead on {row.wins:.0f} of {row.of:.0f}" for row in means.itertuples()
        ]
        parts.append(_listed(f"With {images} images, VPT − FT in points", said))
    return " ".join(parts)


def _quadrant(row) -> str:
    return f"{'far' if row.far_objective else 'near'} objective and {'far' if row.far_images else 'near'} images"


def points(study: Study, drawn: pd.DataFrame) -> str:
    main = drawn[drawn["backbone"] == study.main_backbone]
    said = [
        f"{size:,.0f} images: VPT ahead on {(rows['gap'] > 0).sum()} of {plural(len(rows), 'task')}, mean "
        f"{number(rows['gap'].mean(), 1, True)} points"
        for size, rows in main.groupby("images")
    ]
    return _listed("By train size", said)


def distances(study: Study, drawn: pd.DataFrame) -> str:
    said = [f"{study.tasks[row.task].title} {row.fid:.0f}{_ahead(row.difference)}" for row in drawn.itertuples()]
    return _listed("Fréchet distances", said)


def _ahead(gap: float) -> str:
    return "" if math.isnan(gap) else f" ({'VPT' if gap > 0 else 'FT'} ahead)"


def accuracies(study: Study, drawn: pd.DataFrame) -> str:
    """Of each task and method the accuracy at the smallest and at the largest size, and chance."""
    said = []
    for task, rows in drawn.groupby("task", sort=False):
        lines = []
        for method in in_order(rows["method"].unique()):
            line = rows[rows["method"] == method].sort_values("train")
            ends = [f"{100 * row.mean:.1f} % at {row.train:,} images" for row in _ends(line)]
            lines.append(f"{METHODS[method].title} {' and '.join(ends)}")
        said.append(f"{study.tasks[task].title}: {', '.join(lines)}, chance {100 * rows['chance'].iloc[0]:.0f} %")
    return _listed("Test accuracy", said)


def _ends(line: pd.DataFrame) -> list:
    return list(line.assign(mean=line["mean"])[["train", "mean"]].iloc[[0, -1] if len(line) > 1 else [0]].itertuples())


def losses(study: Study, drawn: pd.DataFrame) -> str:
    """Of each curve where the test loss ends, and its minimum."""
    said = []
    for (task, train, method), rows in drawn.groupby(["task", "train", "method"], sort=False):
        test = rows.dropna(subset="test_loss").set_index("epoch")["test_loss"]
        if len(test):
            ends = f"ends at {test.iloc[-1]:.2g}, least {test.min():.2g} at epoch {test.idxmin()}"
            said.append(f"{study.tasks[task].title} at {train}, {METHODS[method].title} {ends}")
    return _listed("Test loss", said)


def searches(study: Study, drawn: pd.DataFrame) -> str:
    said = [
        f"{study.tasks[row.task].title} rate {row.lr:g}, decay {row.weight_decay:g}, {100 * row.val_accuracy:.1f} %"
        for row in drawn[drawn["chosen"]].itertuples()
    ]
    return _listed("Chosen, with val accuracy", said)


def calibration(study: Study, drawn: pd.DataFrame) -> str:
    said = [
        f"{study.tasks[row.task].title}, {METHODS[row.method].title} {100 * row.mean:.1f}"
        for row in drawn[["task", "method", "mean"]].itertuples(index=False)
    ]
    return _listed("Expected calibration error in points", said)


def costs(study: Study, drawn: pd.DataFrame) -> str:
    said = [
        f"{row.group_title}, {row.method_title} {row.accuracy:.1f} % in {row.final_seconds:.3g} s, tuning "
        f"{row.tuned_percent:.2g} % of the parameters"
        for row in drawn.itertuples()
    ]
    return _listed("Mean accuracy and cost of a seed", said)


def answers(study: Study, drawn: pd.DataFrame) -> str:
    """Of each task how many images are shown that one method alone gets right."""
    cases = (
        drawn.drop_duplicates(["task", "pick"]).groupby("task", sort=False)["case"].value_counts().unstack(fill_value=0)
    )
    said = [
        f"{study.tasks[task].title} {row.get('vpt_only', 0)} by VPT, {row.get('full_only', 0)} by FT"
        for task, row in cases.iterrows()
    ]
    return (
        _listed("Images that one method alone gets right", said)
        if said
        else "No image that one of the two gets right and the other wrong."
    )


def images(study: Study, drawn: pd.DataFrame) -> str:
    said = [f"{study.tasks[task].title} {len(rows)}" for task, rows in drawn.groupby("task", sort=False)]
    return _listed(f"{len(drawn)} images of {plural(len(said), 'task')}", said)


def parts(study: Study, drawn: pd.DataFrame) -> str:
    of = {METHODS[m].title: [row["part"] for _, row in drawn.iterrows() if row[m]] for m in ("full", "vpt")}
    return " ".join(f"{name} trains {len(what)} of {len(drawn)} parts: {', '.join(what)}." for name, what in of.items())


def paths(study: Study, drawn: pd.DataFrame) -> str:
    ends = drawn.groupby("path", sort=False)["loss"].last()
    return " ".join(f"In {name} the loss ends at {loss:.2f}." for name, loss in ends.items())


def _gap(row) -> str:
    return f"{number(row.difference, 1, True)} {between(row.low, row.high)}".strip()


def between(low: float, high: float) -> str:
    """'[−1.0, +9.2]', '' for an interval that is not known."""
    return "" if math.isnan(low) else f"[{number(low, 1, True)}, {number(high, 1, True)}]"


def _listed(what: str, said: list[str]) -> str:
    return f"{what}: {'; '.join(said)}." if said else ""
