"""report.listing and report.extras: a plain table in its forms, and the table of costs against pandas."""

from __future__ import annotations

import io

import pandas as pd
import pytest

from tests.vptstudy.report.synthetic import final_rows, search_rows
from tests.vptstudy.report.test_render import EVIL, Counter
from vptstudy.graph import targets
from vptstudy.report.tables.extras import EXTRAS
from vptstudy.report.tables.listing import Listing, ListingColumn, groups
from vptstudy.report.tables.renderers import to_csv, to_html, to_latex, to_markdown


@pytest.fixture
def listing():
    frame = pd.DataFrame({"block": ["a", "a", EVIL], "name": [EVIL, "two", None], "gap": [1.26, -0.04, float("nan")]})
    columns = (ListingColumn("name", "Na|me"), ListingColumn("gap", "Gap", 1, signed=True))
    return Listing("made_up", f"Made {EVIL}", f"Caption {EVIL}", columns, frame, blocks="block")


def test_numbers_are_rounded_and_gaps_are_dashes(listing):
    lines = [line for line in to_markdown(listing).splitlines() if line.startswith("| ") and ":--" not in line]
    assert lines[1].endswith("| +1.3 |")
    assert lines[2] == "| two | 0.0 |"  # never −0.0
    assert lines[-1] == "| – | – |"
    assert r"Na\|me" in lines[0]


def test_csv_keeps_the_values(listing):
    back = pd.read_csv(io.StringIO(to_csv(listing)))
    pd.testing.assert_frame_equal(back, listing.frame, check_dtype=False)


def test_blocks_are_runs(listing):
    assert [(heading, len(rows)) for heading, rows in groups(listing)] == [("a", 2), (EVIL, 1)]


def test_everything_is_escaped(listing):
    html = to_html(listing)
    assert "<script" not in html
    parser = Counter()
    parser.feed(html)
    assert parser.open == []
    assert parser.seen.count("tbody") == 2
    assert 'data-value="1.26"' in html
    assert r"5\% \& \$\_\{x\}" in to_latex(listing)
    assert "<script" not in to_markdown(listing)


@pytest.mark.parametrize("rows", [3, 200])
def test_latex_beyond_a_page_breaks(rows):
    """A long table repeats its head on every page, and has one caption and label."""
    frame = pd.DataFrame({"block": ["a"] * (rows - 1) + ["b"], "name": ["x & y"] * rows, "gap": range(rows)})
    columns = (ListingColumn("name", "Name"), ListingColumn("gap", "Gap", 1))
    text = to_latex(Listing("made_up", "Title", "Caption", columns, frame, blocks="block"))
    assert ("longtable" in text) == (rows == 200)
    assert text.count(r"Name & \multicolumn{1}{r}{Gap}") == (2 if rows == 200 else 1)
    assert text.count(r"x \& y &") == rows
    assert text.count(r"\caption{") == text.count(r"\label{tab:made-up}") == 1


def test_what_a_method_costs_is_pandas(demo):
    frames = {"final": final_rows(demo), "search": search_rows(demo)}
    built = EXTRAS["cost"].build(demo, frames).frame.set_index(["group", "method"])
    base = frames["final"].query("train == '160'")
    for (group, method), row in built.iterrows():
        tasks = [task.id for task in demo.tasks.values() if task.group == group]
        mine = base[(base.method == method) & base.task.isin(tasks)]
        assert row.accuracy == pytest.approx(100 * mine.groupby("task").test_accuracy.mean().mean())
        assert row.final_seconds == pytest.approx(mine.groupby("task").seconds.median().mean())
        grid = frames["search"].query("method == @method and task in @mine.task")
        assert row.search_seconds == pytest.approx(grid.groupby("task").seconds.sum().mean())
        assert row.tasks == mine.task.nunique()


def test_costs_of_half_the_searches(demo):
    """Searches without rows leave a dash, and cells without rows are counted in the caption."""
    final = final_rows(demo).query("not (method == 'mlp' and task == 'digits')")
    built = EXTRAS["cost"].build(demo, {"final": final, "search": search_rows(demo).head(0)})
    assert built.frame["search_seconds"].isna().all()
    assert "1 of 30 cells has no rows yet" in built.caption
    assert "| – |" in to_markdown(built)


def test_extra_tables_have_targets_and_files(demo):
    assert "cost" in targets.tables_of(demo)
    assert targets.table_id("05") == 5
    assert targets.table_id("cost") == targets.padded("cost") == "cost"
    files = targets.table_files(demo, "cost")
    assert set(files) == {"final", "search"}
    assert all("/train=160/" in file for kind in files.values() for file in kind)
