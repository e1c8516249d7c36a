"""The replay of advise: a grid that is made up and whose truth is known, and a slice of what was recorded."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from bench import advise_replay
from bench.advise_grids import SCHEMA
from bench.advise_replay import FILE, Recorded, outcome, read, replay
from vptstudy.advise.folds import FOLDS
from vptstudy.advise.rungs import RATES, SEEDS

COUNTS = {"val": 200, "test": 100, "truth": 400}
SUMMIT = 3  # of five rates
COSTS = {"vpt_5": 4.0, "vpt_20": 4.0, "lora": 4.0, "full": 4.0, "linear": 0.0}


def right(accuracy: float, images: int, turn: int = 0) -> bytes:
    """So many of the images, evenly among them, as the file has them."""
    order = np.random.default_rng(turn).permutation(images)
    right_N = np.zeros(images, bool)
    right_N[order[: round(accuracy * images)]] = True
    return np.packbits(right_N).tobytes()


def made_up(val: dict[str, float], truth: dict[str, float], splits: int = 1) -> pd.DataFrame:
    """Rows of every arm at every rate: the third from below is the best, a step away costs ten points."""
    rows = []
    for split in range(splits):
        for arm, best in val.items():
            method = arm.partition("_")[0]
            for stage, share in (("short", 0.25), ("full", 1.0)):
                for place, rate in enumerate(RATES[method]):
                    less = 0.1 * abs(place - SUMMIT)
                    scored = {"val": best - less} | ({"truth": truth[arm] - less} if stage == "full" else {})
                    rows.append(row(split, arm, stage, rate, 0, share * COSTS[arm], scored))
            for seed in SEEDS[:3]:
                scored = {"test": truth[arm], "truth": truth[arm]}
                rows.append(row(split, arm, "final", RATES[method][SUMMIT], seed, COSTS[arm], scored))
    return pd.DataFrame(rows)


def row(split, arm, stage, rate, seed, cost, scored) -> dict:
    tuned = {"full": 1000}.get(arm, 10)
    parts = dict.fromkeys(COUNTS, 0) | {f"{part}_right": b"" for part in COUNTS}
    for part, accuracy in scored.items():
        parts |= {part: COUNTS[part], f"{part}_right": right(accuracy, COUNTS[part], seed + list(COSTS).index(arm))}
    return {"set": "made_up", "folder": 100, "split": split, "arm": arm, "stage": stage, "seed": seed, "rate": rate,
            "decay": 0.0, "epochs": 8, "diverged": False, "tuned": tuned, "gflop": cost, **parts}  # fmt: skip


VAL = {"vpt_5": 0.6, "vpt_20": 0.58, "lora": 0.7, "full": 0.9, "linear": 0.5}


@pytest.fixture
def recorded(tmp_path):
    def written(val, truth, splits=1) -> pd.DataFrame:
        made_up(val, truth, splits).to_parquet(tmp_path / "grid.parquet")
        return read(tmp_path / "grid.parquet")

    return written


def test_a_grid_whose_best_is_plain(recorded):
    one = replay(Recorded("x", (recorded(VAL, VAL),)))
    assert (one.take, one.regret, one.search_regret, one.surest_is_best) == ("full", 0.0, 0.0, True)
    # Four rates of four arms for a quarter, and three arms on the full schedule, of twenty in the whole grid.
    assert one.cost == pytest.approx((4 * 4 / 4 + 3) / 20)


def test_val_that_misleads_is_regret_and_a_wrong_certainty(recorded):
    one = replay(Recorded("x", (recorded(VAL, VAL | {"full": 0.65}),)))
    assert one.surest_is_best is False
    # The whole grid is misled too, and so the search has nothing to regret.
    assert one.search_regret == 0
    found, _ = outcome(recorded(VAL, VAL | {"full": 0.65}))
    sure = next(bar for bar in found if bar.what.startswith("P ≥ .95 is right, one"))
    assert (sure.found, sure.of, sure.met) == (0, 1, False)


def test_folds_are_replayed_together_where_all_are_there(recorded):
    close = VAL | {"lora": 0.9}
    found, advices = outcome(recorded(close, close, splits=FOLDS))
    assert [one.name for one in advices] == [*(f"made_up/100/{k}" for k in range(FOLDS)), "made_up/100"]
    assert advices[-1].contrast.images == FOLDS * COUNTS["test"]
    assert any("by folds" in bar.what for bar in found)


def test_what_is_asked_decides_the_status(recorded, tmp_path, monkeypatch, capsys):
    made_up(VAL, VAL).to_parquet(tmp_path / "grid.parquet")
    monkeypatch.setattr("sys.argv", ["advise_replay", str(tmp_path / "grid.parquet")])
    assert advise_replay.main() == 0
    assert "| training in the whole grid's, one split | 35.0 % | ≤ 40 % | 1 | yes |" in capsys.readouterr().out
    monkeypatch.setattr(advise_replay, "COST", 0.3)
    assert advise_replay.main() == 1


def test_a_slice_of_the_recording_is_replayed():
    rows = read(FILE)
    assert set(rows.columns) == set(SCHEMA.names)
    one = rows[(rows["set"] == "digits") & (rows["folder"] == rows["folder"].min()) & (rows["split"] == 0)]
    advice = replay(Recorded("digits", (one,)))
    whole = one[one["stage"] == "full"]
    best = max(right_N.mean() for right_N in whole["val_right"])
    assert max(right_N.mean() for right_N in whole[whole["arm"] == advice.choice.finalists[0]]["val_right"]) <= best
    assert 0.2 < advice.cost < 0.6
    assert abs(advice.regret) < 100
    assert math.isclose(sum(advice.choice.chances.values()), 1)


@pytest.mark.slow
def test_the_documentation_has_the_outcome():
    """docs/advise.md quotes what `make advise-replay` prints."""
    page = (FILE.parents[1] / "docs/advise.md").read_text()
    found, _ = outcome(read(FILE))
    assert [bar.line() for bar in found if bar.line() not in page] == []
