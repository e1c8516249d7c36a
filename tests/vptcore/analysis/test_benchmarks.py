"""Others' printed numbers: as the sources add them up, and means beside ours by pandas."""

import numpy as np
import pandas as pd
import pytest

from vptcore.analysis.benchmarks import GROUP_OF, GROUPS, MEAN, beside, read_methods, read_sources
from vptcore.models.methods_table import METHODS


@pytest.fixture(scope="module")
def wide() -> pd.DataFrame:
    cells = read_methods()
    return cells[cells["task"].isin(GROUP_OF)].pivot(index=["source", "name"], columns="task", values="value")


def test_every_method_has_all_tasks_once_and_a_line_in_its_source(wide):
    cells = read_methods()
    assert wide.shape == (36, 19)
    assert not wide.isna().any().any()
    assert set(cells["source"]) == set(read_sources()["source"])
    assert set(cells["method"]) - {""} <= set(METHODS)
    assert (cells["at"] != "").all()
    assert not cells.duplicated(["source", "name", "task"]).any()


def test_task_numbers_add_up_to_the_means_that_are_printed_beside_them(wide):
    """V-PETL Bench prints two decimals; so a number that was copied wrong would show."""
    cells = read_methods()
    printed = cells[cells["task"] == MEAN].set_index(["source", "name"])["value"]
    assert len(printed) == 20
    assert (wide.mean(axis=1)[printed.index] - printed).abs().max() < 0.0051


def test_what_is_said_of_the_sources(wide):
    from_zips = wide.loc["v_petl"].drop(["Full fine-tuning", "Linear probing", "VPT-Shallow", "VPT-Deep", "BitFit"])
    assert from_zips["cifar100"].max() - from_zips["cifar100"].min() > 10
    groups = wide.T.groupby(GROUP_OF).mean().mean()
    apart = groups - wide.mean(axis=1)
    assert apart.median() == pytest.approx(2.5, abs=0.5)


def test_means_beside_ours():
    ours = {"full": {"cifar100": 70.0, "dtd": 60.0, "leaves": 1.0}, "my_own": {"dtd": 3.0}}
    frame = beside(ours).set_index(["source", "name"])
    row = frame.loc["v_petl", "Full fine-tuning"]
    assert (row["tasks"], row["ours"]) == (2, 65.0)
    assert row["theirs"] == pytest.approx((68.9 + 64.3) / 2)
    assert row["difference"] == pytest.approx(65.0 - (68.9 + 64.3) / 2)
    assert row["natural"] == pytest.approx(np.mean([68.9, 87.7, 64.3, 97.2, 86.9, 87.4, 38.8]))
    assert row[GROUPS] == pytest.approx(68.97, abs=0.005)
    assert frame.loc[("v_petl", "GPS"), "tasks"] == 0
    assert np.isnan(frame.loc[("v_petl", "GPS"), "ours"])
    alone = frame.loc["adapter_plus", "Adapter+"]
    assert alone[GROUPS] == 77.6
    assert np.isnan(alone[MEAN])
