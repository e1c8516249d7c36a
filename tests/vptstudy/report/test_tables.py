"""report.tables: numbers against pandas, marks, missing rows, the paper beside ours, and rows that are wrong."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.vptstudy.report.synthetic import fid_rows, final_rows, make_study
from vptcore.records import KINDS, RowsError
from vptstudy.report.tables.build import TABLES, build, cells
from vptstudy.study import Cell


def entry(table, method, task, metric="accuracy", group=None, train=None) -> pd.Series:
    f = table.frame
    found = f[(f.method == method) & (f.task == task) & (f.metric == metric)]
    found = found if group is None else found[found.group == group]
    found = found if train is None else found[found.train == train]
    assert len(found) == 1
    return found.iloc[0]


@pytest.mark.parametrize("number", [1, 2, 3, 6, 8, 12, 15, 19])
def test_accuracies_and_means_are_pandas(number, paper, paper_final):
    table = build(number, paper, paper_final)
    f = table.frame[(table.frame.metric == "accuracy") & (table.frame["mean"].notna())]
    rows = paper_final[paper_final.backbone == table.backbone]
    task_means = rows.groupby(["method", "train", "task"]).test_accuracy.mean() * 100
    for row in f[f.task != "mean"].itertuples():
        assert row.mean == pytest.approx(task_means[row.method, row.train, row.task])
    for key, group in f.groupby(["method", "train", "group"]):
        inside, mean = group[group.task != "mean"], group[group.task == "mean"]
        assert mean["mean"].item() == pytest.approx(inside["mean"].mean()), key
        mine = rows[(rows.method == key[0]) & (rows.train == key[1]) & rows.task.isin(inside.task)]
        assert mean["std"].item() == pytest.approx(100 * mine.groupby("seed").test_accuracy.mean().std()), key


@pytest.mark.parametrize(
    ("tasks", "means"), [(("shapes_count",), 0), (("shapes_count", "shapes_location"), 1)], ids=("one", "two")
)
def test_a_study_of_one_task_has_no_mean(tasks, means):
    study = make_study([Cell("vit_mini_cifar10", m, t, "160") for t in tasks for m in ("full", "vpt")], base="160")
    table = build(2, study, final_rows(study))
    assert sum(column.task == "mean" for column in table.columns) == means
    assert (table.frame.task == "mean").any() == bool(means)


def test_wins_are_counted_on_means_over_full(paper, paper_final):
    table = build(2, paper, paper_final)
    wide = table.frame.query("metric == 'accuracy' and task != 'mean'").pivot(
        index="task", columns="method", values="mean"
    )
    for method in ("vpt", "mixed", "ft_then_pt", "linear"):
        assert entry(table, method, "mean").wins == (wide[method] > wide["full"]).sum()
    assert pd.isna(entry(table, "full", "mean").wins)


def test_best_is_bold_and_the_better_of_two_underlined(paper, paper_final):
    frame = build(1, paper, paper_final).frame.query("metric == 'accuracy' and task == 'svhn'").set_index("method")
    assert frame.index[frame.bold].tolist() == [frame["mean"].idxmax()]
    assert frame.index[frame.underlined].tolist() == [frame.loc[["full", "vpt"], "mean"].idxmax()]


def test_a_mean_over_fewer_tasks_is_marked_and_does_not_compete(paper, paper_final):
    kept = tuple(cell for cell in paper.cells if (cell.method, cell.task) != ("mixed", "dtd"))
    table = build(1, replace(paper, cells=kept), paper_final)
    mixed = entry(table, "mixed", "mean", group="natural")
    assert (mixed.state, mixed.bold) == ("fewer", False)
    assert entry(table, "mixed", "dtd").text == ""
    assert "†" in table.caption


def test_further_methods_stand_in_table_1_only_if_run_as_widely(paper, paper_final):
    methods = set(build(1, paper, paper_final).frame["method"])
    assert "linear" in methods
    assert "lora" not in methods


def test_tuned_share_and_prompt_length(paper, paper_final):
    rows = paper_final.query("backbone == 'vit_b16_sup21k' and method == 'vpt' and train == '800' and task == 'dtd'")
    share = (100 * rows.tuned_parameters / rows.total_parameters).iloc[0]
    assert entry(build(1, paper, paper_final), "vpt", "dtd", "tuned_percent")["mean"] == pytest.approx(share)
    assert entry(build(16, paper, paper_final), "vpt", "dtd", "prompt_length").text == "10"


def test_fid_row_and_its_paper_numbers_only_for_inception(paper, paper_final):
    tasks = [task.id for task in paper.tasks.values() if task.group == "fgvc"]
    ours = build(19, paper, paper_final, fid_rows(tasks))
    assert math.isnan(entry(ours, "", "cub200", "fid").printed)
    inception = build(19, paper, paper_final, fid_rows(tasks, network="inception_v3_tf"))
    assert entry(inception, "", "cub200", "fid").printed == 146.845
    assert "fid" not in set(build(19, paper, paper_final).frame.metric)


def test_gap_of_lora_is_the_difference_of_means(paper, paper_final):
    table = build(20, paper, paper_final)
    for train in ("400", "800", "10000"):
        lora, full = (entry(table, m, "cifar100", train=train)["mean"] for m in ("lora", "full"))
        assert entry(table, "lora", "cifar100", "gap", train=train)["mean"] == pytest.approx(lora - full)


def test_sizes_stand_small_to_large(paper, paper_final):
    table = build(6, paper, paper_final)
    trains = list(dict.fromkeys(line.train for line in table.lines))
    assert trains == ["400", "800", "5000", "10000", "20000"]
    assert entry(table, "full", "kitti_distance", train="10000").text == ""


def test_missing_rows_are_marked_counted_and_never_zero(demo, demo_final):
    kept = demo_final[~((demo_final.method == "vpt") & (demo_final.task == "shapes_count"))]
    table = build(2, demo, kept)
    assert entry(table, "vpt", "shapes_count").text == "–"
    mean = entry(table, "vpt", "mean")
    present = kept[(kept.method == "vpt") & (kept.train == "160") & kept.task.str.startswith("shapes")]
    assert mean["mean"] == pytest.approx(100 * present.groupby("task").test_accuracy.mean().mean())
    assert (mean.state, mean.bold, mean.underlined) == ("partial", False, False)
    assert "1 of 18 cells has no rows yet" in table.caption
    assert "*: a mean over those of its tasks that have rows" in table.caption


@pytest.mark.parametrize("number", [1, 2, 5, 6, 16])
def test_no_rows_at_all_is_a_table_of_dashes(number, demo):
    table = build(number, demo, pd.DataFrame(columns=["backbone", "method", "task", "train", *KINDS["final"].names]))
    assert set(table.frame.text) == {"–"}
    assert f"{len(cells(number, demo))} of {len(cells(number, demo))} cell" in table.caption


def test_one_seed_has_no_spread_and_says_so(demo, demo_final):
    table = build(1, demo, demo_final[demo_final.seed == 42])
    assert "±" not in entry(table, "vpt", "digits").text
    assert "12 cells have fewer than 3 seeds" in table.caption


def test_ties_are_named(demo, demo_final):
    rows = demo_final.copy()
    full = rows[(rows.method == "full") & (rows.task == "digits") & (rows.train == "160")].test_accuracy.to_numpy()
    tied = (rows.method == "vpt") & (rows.task == "digits") & (rows.train == "160")
    rows.loc[tied, "test_accuracy"] = full[::-1]
    table = build(1, demo, rows)
    assert entry(table, "vpt", "mean", group="specialized").wins == 0
    assert "Ties with FT, not counted as wins: Digits (VPT)." in table.caption
    assert entry(table, "vpt", "digits").underlined
    assert entry(table, "full", "digits").underlined


def test_diverged_seeds_are_named(demo, demo_final):
    rows = demo_final.copy()
    rows.loc[(rows.method == "full") & (rows.task == "digits") & (rows.seed == 44), "diverged"] = True
    assert "Digits (FT, train size 160) seed 44" in build(1, demo, rows).caption


def test_difference_and_verdict_beside_the_paper(paper, paper_final):
    row = entry(build(1, paper, paper_final), "vpt", "dtd")
    assert row.printed == 68.8
    assert row.difference == pytest.approx(row["mean"] - 68.8)
    half = stats.t.ppf(0.975, row.n - 1) * row["std"] * np.sqrt(1 / row.n + 1 / 5) + 0.05
    assert row.verdict == ("within" if abs(row["mean"] - 68.8) <= half else "outside")


def test_the_caption_holds_the_number_outside_against_chance(paper, paper_final):
    table = build(1, paper, paper_final)
    judged = table.frame[table.frame.verdict.isin(["outside", "within"])]
    outside, means = (judged.verdict == "outside").sum(), (judged.task == "mean").sum()
    assert means
    assert f"Of {len(judged)} numbers, {means} of which come from others' runs, {outside} " in table.caption
    ((chance, p),) = re.findall(r"by chance it would be ([\d.]+) \(p [=<] ([\d.]+)\)\.", table.caption)
    assert float(chance) == pytest.approx(0.05 * len(judged), abs=0.051)
    alone = stats.binomtest(int(outside), len(judged), 0.05, alternative="greater").pvalue
    assert float(p) == pytest.approx(alone, abs=0.1), "near what independent numbers would give"


def test_seeds_that_differ_too_much_say_nothing_of_the_paper(paper, paper_final):
    rows = paper_final.copy()
    mine = (rows.method == "vpt") & (rows.task == "dtd") & (rows.train == "800") & (rows.backbone == "vit_b16_sup21k")
    rows.loc[mine, "test_accuracy"] = np.linspace(0.02, 0.7, mine.sum())
    table = build(1, paper, rows)
    assert entry(table, "vpt", "dtd").verdict == "too noisy"
    assert "~ an interval wider than ± 10 points, too noisy to say (1)" in table.caption


def test_slips_doubts_and_other_definitions_are_flagged_and_explained(paper, paper_final):
    strategies = build(1, paper, paper_final)
    slip, doubt = entry(strategies, "full", "mean", group="specialized"), entry(strategies, "ft_then_pt", "cifar100")
    assert (slip.verdict, doubt.verdict) == ("slip", "doubt")
    assert "should be 83.35" in slip.why
    assert "65.9" in doubt.why
    assert doubt.difference == pytest.approx(doubt["mean"] - 85.9)
    length = entry(build(16, paper, paper_final), "vpt", "cifar100", "prompt_length")
    assert length.verdict == "another definition"
    assert "would be 10" in length.why


def test_the_gap_row_of_table_20_is_shown_beside_ours(paper, paper_final):
    row = entry(build(20, paper, paper_final), "lora", "cifar100", "gap", train="400")
    assert row.printed == 25.1
    assert row.difference == pytest.approx(row["mean"] - 25.1)


def test_a_printed_mean_over_other_tasks_is_shown_and_not_compared(paper_final):
    study = make_study([Cell("vit_b16_sup21k", m, t, "800") for m in ("full", "vpt") for t in ("dtd", "svhn")])
    table = build(1, study, paper_final)
    assert entry(table, "vpt", "dtd").printed == 68.8
    mean = entry(table, "vpt", "mean")
    assert mean.printed == 79.53
    assert math.isnan(mean.difference)
    assert mean.verdict == "other tasks"
    assert "over other tasks than ours" in mean.why


def test_rows_of_a_partial_mean_are_no_answer_to_the_paper(paper, paper_final):
    kept = paper_final[~((paper_final.method == "vpt") & (paper_final.task == "dtd"))]
    table = build(1, paper, kept)
    assert entry(table, "vpt", "dtd").verdict == "not run"
    assert entry(table, "vpt", "mean", group="natural").verdict == "not run"


def test_another_studys_tasks_have_nothing_published(demo, demo_final):
    assert not any(build(n, demo, demo_final).has_published for n in TABLES if cells(n, demo))


def test_repeated_seeds_are_one_line(demo, demo_final):
    with pytest.raises(RowsError, match="seed 42 occurs twice") as error:
        build(1, demo, pd.concat([demo_final, demo_final]))
    assert "\n" not in str(error.value)


def test_nan_accuracies_are_one_line(demo, demo_final):
    rows = demo_final.assign(test_accuracy=np.nan)
    with pytest.raises(RowsError, match="test_accuracy nan"):
        build(2, demo, rows)


def test_wrong_rows_of_other_cells_do_not_disturb(demo, demo_final):
    other = demo_final[demo_final.task == "digits"]
    build(2, demo, pd.concat([demo_final, other]))


def test_two_distances_for_a_task_are_one_line(paper, paper_final):
    fid = fid_rows(["cub200"])
    with pytest.raises(RowsError, match="task cub200 occurs twice"):
        build(19, paper, paper_final, pd.concat([fid, fid]))


def test_a_table_without_cells_is_one_line(demo, demo_final):
    with pytest.raises(ValueError, match=r"table 19: the study 'demo' has no cells for it"):
        build(19, demo, demo_final)


def test_order_of_rows_does_not_matter(demo, demo_final):
    shuffled = demo_final.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(build(2, demo, demo_final).frame, build(2, demo, shuffled).frame)


def test_final_rows_have_the_schemas_columns(demo):
    columns = set(final_rows(demo, demo.cells[:1]).columns)
    assert columns == {"backbone", "method", "task", "train", *KINDS["final"].names}
