"""analysis.calibration against a plain loop over bins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vptcore.analysis.calibration import bin_of, calibration_error, reliability


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"confidence": rng.random(400), "label": rng.integers(0, 3, 400), "seed": np.arange(400) % 2})
    frame["prediction"] = np.where(rng.random(400) < 0.6, frame.label, (frame.label + 1) % 3)
    return frame.assign(backbone="b", method=np.where(np.arange(400) < 150, "vpt", "full"), task="t", train="800")


def plainly(rows: pd.DataFrame, bins: int) -> float:
    """Guo et al. 2017, equation 3, bin by bin."""
    total = 0.0
    for b in range(bins):
        mine = rows[(rows.confidence > b / bins) & (rows.confidence <= (b + 1) / bins)]
        if len(mine):
            total += len(mine) * abs((mine.label == mine.prediction).mean() - mine.confidence.mean())
    return total / len(rows)


def test_the_error_is_the_plain_one(predictions):
    found = calibration_error(reliability(predictions, 10)).set_index("method")
    for method, rows in predictions.groupby("method"):
        errors = [plainly(part, 10) for _, part in rows.groupby("seed")]
        assert found.loc[method, "mean"] == pytest.approx(np.mean(errors))
        assert found.loc[method, "std"] == pytest.approx(np.std(errors, ddof=1))
        assert found.loc[method, "n"] == 2


def test_every_answer_is_in_one_bin(predictions):
    assert reliability(predictions)["count"].sum() == 400
    unknown = predictions.assign(confidence=predictions.confidence.mask(predictions.index < 10))
    assert reliability(unknown)["count"].sum() == 390
    assert list(bin_of(np.array([0.0, 0.1, 0.100001, 1.0]), 10)) == [0, 0, 1, 9]
