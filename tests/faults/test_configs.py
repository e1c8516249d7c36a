"""Wrong configs are wrong, differ, come again for the same seed, and each ends in one line that names its key."""

import copy

import pytest

from faults.configs import at_load, draw, from_people, from_schema, right_config, told_badly
from faults.mistakes import MISTAKES
from vptcore.choices import ConfigError
from vptstudy.config.resolve import load_study
from vptstudy.config.schema import check_schema


def test_the_right_config_is_right():
    load_study(right_config())


def test_draws_differ_and_come_again():
    first, again = (draw(from_schema(), 15, seed=3) for _ in range(2))
    assert [repr(w.config) for w in first] == [repr(w.config) for w in again]
    assert len({repr(w.config) for w in first}) == 15


@pytest.mark.parametrize("strategy", [from_schema(), from_people()], ids=["schema", "people"])
def test_a_sample_ends_in_one_line(strategy):
    problems = {w.what: at_load(w) for w in draw(strategy, 40, seed=11)}
    assert {what: found for what, found in problems.items() if found} == {}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.kind)
def test_every_mistake_of_people_is_refused(mistake):
    config = right_config()
    mistake.make(config, mistake.values[0])
    with pytest.raises(ConfigError) as error:
        load_study(config)
    assert told_badly(str(error.value), mistake.key) == []


def test_a_config_that_is_accepted_is_seen():
    right = type("Wrong", (), {"config": right_config(), "key": "study"})
    assert at_load(right) == ["accepted"]
    assert told_badly("a\nb", "a") != []
    assert told_badly("epochs: 0 is too small", "seeds") != []


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("epochs",), 2.0, "epochs: 2.0 is not a whole number"),
        (("epochs",), 2**31, "epochs: 2147483648 is too large; at most 2147483647 can be stored"),
        (("methods", "vpt", "grid", "lr"), [float("inf")], r"methods.vpt.grid.lr\[0\]: Infinity is not a number"),
        (("study",), "demo\n", "study: .* is not a text of one line"),
        (("results",), "res{task}", "results: .* is not a path without any of"),
        (("tasks",), {1: {}}, "tasks: the key 1 is not a text; write it in quotes"),
    ],
)
def test_what_json_schema_would_take(path, value, message):
    config = copy.deepcopy(right_config())
    place = config
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ConfigError, match=message):
        check_schema(config)
