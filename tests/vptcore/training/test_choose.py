"""Choosing: the rule in a two-line pandas form, ties, divergence."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vptcore.training.choose import choose, edge_of


def rows(*values):
    return pd.DataFrame(values, columns=["lr", "weight_decay", "val_accuracy", "diverged"]).assign(epochs=10)


def test_ties_go_to_the_smaller_lr_then_the_smaller_decay():
    table = rows((1.0, 0.1, 0.8, False), (0.5, 0.1, 0.8, False), (0.5, 0.0, 0.8, False), (0.1, 0.0, 0.7, False))
    assert choose(table)[["lr", "weight_decay"]].tolist() == [0.5, 0.0]


def test_diverged_is_never_chosen():
    assert choose(rows((1.0, 0.0, 0.9, True), (0.5, 0.0, 0.2, False)))["lr"] == 0.5
    with pytest.raises(ValueError, match=r"every configuration diverged; add smaller learning rates than 0\.5, 1"):
        choose(rows((1.0, 0.0, None, True), (0.5, 0.0, None, True)))


@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 1.0, 5.0]), st.sampled_from([0.0, 0.1]), st.integers(0, 5), st.booleans()),
        min_size=1,
        max_size=20,
    )
)
def test_against_a_plain_sort(values):
    table = rows(*[(lr, wd, a / 5, d) for lr, wd, a, d in values])
    usable = [v for v in values if not v[3]]
    if usable:
        best = min(usable, key=lambda v: (-v[2], v[0], v[1]))
        assert choose(table)[["lr", "weight_decay"]].tolist() == [best[0], best[1]]


@pytest.mark.parametrize(
    ("scores", "edge"),
    [
        ((0.1, 0.2, 0.3), "highest"), ((0.3, 0.2, 0.1), "lowest"), ((0.1, 0.3, 0.2), ""), ((0.1, 0.3, None), ""),
        ((0.3, 0.3, 0.1), ""), ((0.1, 0.3, 0.3), ""), ((0.3, 0.1, 0.3), "lowest"), ((0.3, 0.3, 0.3), "flat"),
        ((0.3, 0.3, None), "flat"), ((0.3, None, None), "lowest"), ((None, None, 0.3), "highest"),
    ],
)  # fmt: skip
def test_the_edge_of_the_rates_that_were_tried(scores, edge):
    table = rows(*((lr, 0.0, score, score is None) for lr, score in zip((0.1, 1.0, 10.0), scores, strict=True)))
    assert edge_of(table) == edge


def test_a_short_schedule_is_tried_and_never_chosen():
    short = rows((0.1, 0.0, 0.9, False), (1.0, 0.0, 0.8, False), (10.0, 0.0, 0.1, False)).assign(epochs=2)
    full = rows((1.0, 0.0, 0.5, False), (0.1, 0.0, 0.4, False))
    assert choose(pd.concat([short, full]))["val_accuracy"] == 0.5
    assert edge_of(pd.concat([short, full])) == "", "0.1 and 10 were tried"
    assert edge_of(full) == "highest"
    assert choose(short)["lr"] == 0.1, "where there is nothing longer"
    with pytest.raises(ValueError, match="every configuration diverged"):
        choose(pd.concat([short, full.assign(diverged=True)]))


def plain_edge(values):
    """The rule rate by rate, without a sort or a table: what each rate scores, and what was tried on either side."""
    tried = {lr for lr, _, _, _ in values}
    scores = {}
    for lr, _, score, diverged in values:
        if not diverged:
            scores[lr] = max(score, scores.get(lr, -1))
    best = [lr for lr in scores if not any(other > scores[lr] for other in scores.values())]
    inside = [lr for lr in best if any(t < lr for t in tried) and any(t > lr for t in tried)]
    if len(tried) == 1 or not best:
        return ""
    if len(set(scores.values())) == 1 and len(scores) > 1:
        return "flat"
    return "" if inside else "highest" if best == [max(tried)] else "lowest"


@given(
    st.lists(
        st.tuples(st.sampled_from([0.1, 1.0, 5.0, 9.0]), st.sampled_from([0.0, 0.1]), st.integers(0, 3), st.booleans()),
        min_size=1,
        max_size=12,
    )
)
def test_the_edge_against_the_rule_rate_by_rate(values):
    values = [(lr, wd, score / 3, diverged) for lr, wd, score, diverged in values]
    assert edge_of(rows(*values)) == plain_edge(values)


def test_a_rate_scores_as_the_best_of_its_decays():
    grid = [(1.0, 0.0, 0.2, False), (1.0, 0.1, 0.5, False), (2.0, 0.0, 0.5, False), (2.0, 0.1, None, True)]
    assert edge_of(rows(*grid)) == "flat"
    assert edge_of(rows(*grid, (4.0, 0.0, 0.1, False))) == ""


def test_one_rate_or_none_that_held_has_no_edge():
    assert edge_of(rows((1.0, 0.0, 0.5, False), (1.0, 0.1, 0.6, False))) == ""
    assert edge_of(rows((1.0, 0.0, None, True), (2.0, 0.1, None, True))) == ""
