"""Choosing: the rule in a two-line pandas form, ties, divergence."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vptcore.training.choose import choose


def rows(*values):
    return pd.DataFrame(values, columns=["lr", "weight_decay", "val_accuracy", "diverged"])


def test_ties_go_to_the_smaller_lr_then_the_smaller_decay():
    table = rows((1.0, 0.1, 0.8, False), (0.5, 0.1, 0.8, False), (0.5, 0.0, 0.8, False), (0.1, 0.0, 0.7, False))
    assert choose(table)[["lr", "weight_decay"]].tolist() == [0.5, 0.0]


def test_diverged_is_never_chosen():
    assert choose(rows((1.0, 0.0, 0.9, True), (0.5, 0.0, 0.2, False)))["lr"] == 0.5
    with pytest.raises(ValueError, match=r"all 2 configurations diverged; add smaller learning rates than 0\.5, 1"):
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
