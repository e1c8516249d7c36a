"""The numbers behind each figure, one function a kind of figure: what is written beside a picture as CSV.

In: a figure's row, a study, and the frames that the figure reads. Out: a frame of the numbers that are drawn.

    vptcore render results/demo figure_05
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from vptcore.analysis.calibration import calibration_error, reliability
from vptcore.analysis.curves import mean_curves
from vptcore.analysis.evidence import grouped
from vptcore.analysis.statistics import CELL, Difference, summarise
from vptcore.training.choose import ranked
from vptstudy.report import quadrants as plane
from vptstudy.report.chance import chance_of
from vptstudy.report.contrasts import Contrasts
from vptstudy.report.raced import is_raced
from vptstudy.report.tables import cost, whens
from vptstudy.study import Study

Frames = Mapping[str, pd.DataFrame]


def forest(spec, study: Study, frames: Frames) -> pd.DataFrame:
    """The differences of each group's tasks, and then their mean (without a task) on these tasks and like ones."""
    gaps = Contrasts(study, frames["final"], frames.get("predictions")).pair_at(study.tasks)
    rows: list[dict] = []
    for group in spec.groups:
        mine = {task: gap for task, gap in gaps.items() if study.tasks[task].group == group}
        rows += [{"task": task, "group": group, **_interval(gap)} for task, gap in mine.items()]
        if len(mine) > 1:
            both = grouped(list(mine.values()))
            like = {"like_low": both.like.low, "like_high": both.like.high}
            rows.append({"task": "", "group": group, **_interval(both.these), **like})
    return pd.DataFrame(rows, columns=["task", "group", "difference", "low", "high", "like_low", "like_high"])


def distances(spec, study: Study, frames: Frames) -> pd.DataFrame:
    """Fréchet distances beside VPT − FT in percentage points."""
    gaps = Contrasts(study, frames["final"], frames.get("predictions")).pair_at(study.tasks)
    known = [{"task": task, **_interval(gap)} for task, gap in gaps.items()]
    gaps = pd.DataFrame(known, columns=["task", "difference", "low", "high"])
    kept = ["task", "network", "reference", "images", "fid", "fid_low", "fid_high"]
    far = {task.id: task.high_disparity for task in study.tasks.values()}
    found = frames["fid"][kept].merge(gaps, on="task", how="left")
    return found.assign(far_objective=found["task"].map(far))


def points(spec, study: Study, frames: Frames) -> pd.DataFrame:
    """VPT − FT of each task at each size, with its distance and objective."""
    kept = ["backbone", "task", "group", "images", "gap", "fid", "objective"]
    return whens.points_of(study, frames)[kept]


def accuracies(spec, study: Study, frames: Frames) -> pd.DataFrame:
    """Mean and standard deviation of each cell's test accuracy over seeds, and the chance of its task."""
    found = summarise(frames["final"])[[*CELL, "n", "mean", "std", "low", "high"]]
    return found.assign(chance=[chance_of(study, task, frames.get("predictions")) for task in found["task"]])


def losses(spec, study: Study, frames: Frames) -> pd.DataFrame:
    return mean_curves(frames["curves"])


def quadrants(spec, study: Study, frames: Frames) -> pd.DataFrame:
    """VPT − FT in points, of each task and over each quadrant (without a task), with few images and with many.

    `threshold`: the distance beyond which a task's images are far.
    """
    measured = frames["fid"].set_index("task").rename(columns={"reference_spread": "threshold"})
    rows = []
    for one in plane.quadrants(study, frames):
        place = {"quadrant": one.numeral, "far_objective": one.far_objective, "far_images": one.far_images}
        for images, verdict in (("few", one.few), ("many", one.many)):
            if verdict is None or not one.tasks:
                continue
            at, wins = {"images": images} | place, verdict.wins
            for task, gap in verdict.gaps.items():
                rows.append(at | {"task": task, **measured.loc[task, ["fid", "threshold"]], **_interval(gap)})
            rows.append(at | {"task": "", **_interval(verdict.gap), "wins": len(wins.won), "of": wins.tasks})
    columns = ["images", "quadrant", "far_objective", "far_images", "task", "fid", "threshold"]
    return pd.DataFrame(rows, columns=[*columns, "difference", "low", "high", "wins", "of"])


def _interval(gap: Difference) -> dict[str, float]:
    return {"difference": gap.difference, "low": gap.low, "high": gap.high}


def searches(spec, study: Study, frames: Frames) -> pd.DataFrame:
    """Every configuration, and whether it was chosen; of a race every training, with its epochs."""
    searches = [rows for _, rows in frames["search"].groupby(CELL, sort=False)]
    epochs = ["epochs"] if any(map(is_raced, searches)) else []
    kept = [*CELL, "config", "lr", "weight_decay", *epochs, "val_accuracy", "diverged"]
    parts = []
    for rows in searches:
        best = ranked(rows).head(1)
        parts.append(rows[kept].assign(chosen=rows.index.isin(best.index)))
    return pd.concat(parts, ignore_index=True)


def calibration(spec, study: Study, frames: Frames) -> pd.DataFrame:
    """The expected calibration error of each cell, as a fraction."""
    return calibration_error(reliability(frames["predictions"]))


def costs(spec, study: Study, frames: Frames) -> pd.DataFrame:
    return cost.beside_others(cost.table(study, frames).frame)


def answers(spec, study: Study, frames: Frames) -> pd.DataFrame:
    """What each method answered on each image that is explained, and how exact its integral is."""
    kept = [
        "task", "train", "pick", "row", "case", "method", "label", "prediction", "confidence", "target", "layer",
        "grid_h", "grid_w", "ig_steps", "ig_delta", "ig_difference",
    ]  # fmt: skip
    return frames["explain"][kept]


def images(spec, study: Study, frames: Frames) -> pd.DataFrame:
    return frames["examples"][["task", "row", "label", "class_name"]]


def parts(spec, study: Study, frames: Frames) -> pd.DataFrame:
    """Which parts each of the two methods trains."""
    rows = [("embeddings", True, False), ("layers", True, False), ("prompts of every layer", False, True)]
    return pd.DataFrame([*rows, ("head", True, True)], columns=["part", "full", "vpt"])


# The made-up loss of the hypothesis of an extra dimension, and where its descent starts.
START = (1.45, 0.0)


def loss_surface(x: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Two valleys along x, the nearer one shallow; an extra dimension p in which the ridge between them comes down."""
    return (x**2 - 1) ** 2 * np.exp(-2 * p) + 0.35 * x + 0.5 * (p - 0.9) ** 2 + 0.5


def descent(start: tuple[float, float], frozen: bool, steps: int = 4000, rate: float = 0.01) -> np.ndarray:
    """Gradient descent on `loss_surface` by central differences: (steps, 2). `frozen` keeps p where it is."""
    path, (x, p), h = [], start, 1e-5
    for _ in range(steps):
        path.append((x, p))
        dx = (loss_surface(x + h, p) - loss_surface(x - h, p)) / (2 * h)
        dp = (loss_surface(x, p + h) - loss_surface(x, p - h)) / (2 * h)
        x, p = x - rate * dx, p - (0.0 if frozen else rate * dp)
    return np.array(path)


def descents() -> tuple[np.ndarray, np.ndarray]:
    """The paths in one dimension, which gets stuck, and from there in two, which finds the way out."""
    stuck = descent(START, frozen=True)
    return stuck, descent((float(stuck[-1, 0]), 0.0), frozen=False)


def paths(spec, study: Study, frames: Frames) -> pd.DataFrame:
    """Every hundredth step of both descents, with the loss there."""
    rows = []
    for name, path in zip(("one dimension", "two dimensions"), descents(), strict=True):
        for step in range(0, len(path), 100):
            x, p = path[step]
            rows.append({"path": name, "step": step, "x": x, "p": p, "loss": float(loss_surface(x, p))})
    return pd.DataFrame(rows)
