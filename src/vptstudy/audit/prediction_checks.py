"""Checks of stored predictions: every test image once a seed, and the numbers that stand for them.

In: the rows of kind `predictions` and of what is computed from them. Out: findings.

    python -m pytest tests/workflow/test_audit.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from vptcore.training.watched import watched_places
from vptstudy.audit.findings import Finding
from vptstudy.graph.jobs import Job

Rows = dict[str, np.ndarray]
EXACT = 1e-9
# Float32 columns, and on a GPU two passes over the same images.
CLOSE = 2e-4


def every_image(
    job: Job, rows: Rows, final: Rows | None, index: Rows | None, parts: Mapping[str, np.ndarray] | None
) -> Iterator[Finding]:
    """Every test image once for every seed, in the split's order, with the index's label.

    index, parts: the task's index and part -> rows of the split; None where one cannot be used.
    """
    seeds, classes = job.slice["seeds"], job.slice["classes"]
    if (found := sorted(set(rows["seed"].tolist()))) != sorted(seeds):
        yield Finding("complete", f"seeds {listed(found)}; the config asks for {listed(seeds)}")
        return
    if parts is not None and index is not None:
        test = parts["test"]
        wanted = np.repeat(np.array(seeds), len(test)), np.tile(test, len(seeds))
        if len(rows["row"]) != len(wanted[0]):
            yield Finding("complete", f"{len(rows['row']):,} predictions; {len(seeds)} seeds of {len(test):,} test "
                          f"images are {len(wanted[0]):,}")  # fmt: skip
            return
        if not (np.array_equal(rows["seed"], wanted[0]) and np.array_equal(rows["row"], wanted[1])):
            yield Finding("complete", "not every test image once for every seed, in the order of the split")
            return
        if not np.array_equal(rows["label"], index["label"][rows["row"]]):
            yield Finding("plausible", "labels are not those of the index")
    if len(rows["prediction"]) and (rows["prediction"].min() < 0 or rows["prediction"].max() >= classes):
        yield Finding("plausible", f"a prediction is none of {classes} classes")
    ended = [] if final is None else final["seed"][final["diverged"].astype(bool)].tolist()
    yield from _confidences(rows, ~np.isin(rows["seed"], ended), classes)


def _confidences(rows: Rows, good: np.ndarray, classes: int) -> Iterator[Finding]:
    """A confidence is the largest of C probabilities, and where the prediction is right the loss is its -log."""
    confidence, loss = rows["confidence"][good].astype(float), rows["loss"][good].astype(float)
    if not ((confidence >= 1 / classes - 1e-6) & (confidence <= 1 + 1e-6)).all():
        yield Finding("plausible", f"a confidence is not in [1/{classes}, 1]")
        return
    if not (np.isfinite(loss).all() and (loss >= -1e-6).all()):
        yield Finding("plausible", "a loss is negative or not finite in a seed that is not marked diverged")
        return
    hit = (rows["prediction"] == rows["label"])[good]
    # Rounding of a confidence near 1 to float32 moves its logarithm by 1e-7.
    gap = loss - -np.log(np.maximum(confidence, 1e-30))
    if (np.abs(gap[hit]) > 1e-5 + 1e-5 * loss[hit]).any() or (gap[~hit] < -1e-5 - 1e-5 * loss[~hit]).any():
        yield Finding("plausible", "losses do not go with their confidences")


def curves_end_as_predicted(job: Job, curves: Rows, predictions: Rows) -> Iterator[Finding]:
    """A test curve ends where the predictions of the images it is taken on do."""
    for seed in np.unique(curves["seed"][np.isfinite(curves["test_loss"])]).tolist():
        mine = np.flatnonzero((curves["seed"] == seed) & np.isfinite(curves["test_loss"]))
        theirs = np.flatnonzero(predictions["seed"] == seed)
        at = theirs[watched_places(len(theirs), job.slice["curve_images"])]
        last, hits = mine[np.argmax(curves["epoch"][mine])], predictions["prediction"][at] == predictions["label"][at]
        ends = {"test_loss": predictions["loss"][at].astype(float).mean(), "test_accuracy": hits.mean()}
        for key, value in ends.items():
            if len(at) and np.isfinite(value) and not np.isclose(curves[key][last], value, rtol=CLOSE, atol=1e-6):
                yield Finding("plausible", f"seed {seed}: its curve ends at {key} {curves[key][last]:.6g}, but its "
                              f"predictions give {value:.6g}")  # fmt: skip
                return


def finals_count_predictions(final: Rows, predictions: Rows) -> Iterator[Finding]:
    """Accuracy and loss of a seed are those of its predictions."""
    hits = predictions["prediction"] == predictions["label"]
    for place, seed in enumerate(final["seed"].tolist()):
        mine = predictions["seed"] == seed
        if not mine.any():
            continue
        accuracy, said = float(hits[mine].mean()), float(final["test_accuracy"][place])
        if abs(accuracy - said) > EXACT:
            yield Finding(
                "plausible", f"seed {seed}: test_accuracy {said:.4f}, but its predictions give {accuracy:.4f}"
            )
            return
        loss = float(predictions["loss"][mine].astype(float).mean())
        if not final["diverged"][place] and not np.isclose(final["test_loss"][place], loss, rtol=CLOSE, atol=1e-6):
            yield Finding("plausible", f"seed {seed}: test_loss {final['test_loss'][place]:.5f}, but its predictions "
                          f"give {loss:.5f}")  # fmt: skip
            return


def listed(values) -> str:
    return ", ".join(map(str, values))
