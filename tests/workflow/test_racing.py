"""A whole study whose grids are raced, and then raced no more: through Snakemake, audited, as if never edited."""

from __future__ import annotations

from random import Random

import pytest

from tests.workflow.test_edits import EDITS, Edited, apply, check_as_fresh, check_finished, run_fresh, tiny_config
from vptcore.records import read_rows
from vptcore.training.choose import choose

pytestmark = pytest.mark.slow


def raced(study: Edited, random: Random) -> None:
    if study.config.pop("search", None) is None:
        study.config["search"] = "racing"


@pytest.fixture
def config(monkeypatch) -> dict:
    """Full fine-tuning, which FT-then-PT starts from, over three rates and two epochs."""
    monkeypatch.setitem(EDITS, "raced", raced)
    config = tiny_config()
    config["epochs"] = 2
    config["experiments"]["all"]["methods"] = ["full", "ft_then_pt", "linear"]
    for method, rates in (("full", [0.05, 0.02, 0.005]), ("ft_then_pt", [2, 1, 0.5])):
        config["methods"][method]["grid"]["lr"] = rates
    return config


def searches(study: Edited) -> dict:
    paths = (study.root / "search").rglob("rows.parquet")
    return {rows["method"].iloc[0]: rows for rows in (read_rows(path, "search") for path in paths)}


def test_racing_trains_what_is_missing_and_going_back_leaves_the_grid(config, tmp_path_factory):
    study = run_fresh(tmp_path_factory.mktemp("study"), config)
    plain = searches(study)
    apply(study, "raced", Random(0))
    found = searches(study)
    for method in ("full", "ft_then_pt"):
        rows = found[method]
        assert rows["epochs"].tolist() == [1, 1, 1, 2, 2]
        assert set(rows.loc[rows["epochs"] == 2, "config"]) < {0, 1, 2}
    assert found["linear"]["epochs"].tolist() == plain["linear"]["epochs"].tolist(), "a probe is not raced"
    final = read_rows(next((study.root / "final").glob("**/method=full/**/rows.parquet")), "final")
    assert set(final["config"]) == {choose(found["full"])["config"]}
    caption = (study.root / "tables/table_selection.md").read_text()
    assert "2 searches raced: all 6 configurations on schedules of 1 epoch, the best 4 in full" in caption
    check_finished(study)
    check_as_fresh(study, run_fresh(tmp_path_factory.mktemp("fresh"), study.config))
    apply(study, "raced", Random(0))
    for method, rows in searches(study).items():
        assert rows["val_accuracy"].tolist() == plain[method]["val_accuracy"].tolist()
    check_finished(study)
