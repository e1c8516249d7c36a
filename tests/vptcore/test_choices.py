"""A name among choices, and the line for one that is not."""

import pytest

from vptcore.choices import ConfigError, choose_one


@pytest.mark.parametrize(("value", "choices"), [("a", "abc"), (1, [1, 2]), (True, [True]), (1.0, [1])])
def test_a_choice_is_given_back(value, choices):
    assert choose_one("key", value, choices) == value


@pytest.mark.parametrize(
    ("value", "choices", "line"),
    [
        ("digit", ["dtd", "digits"], "key: 'digit' is unknown; did you mean 'digits'? Choices: dtd, digits"),
        ("x", ["dtd", "digits"], "key: 'x' is unknown; choices: dtd, digits"),
        ("gpu", ["auto", "cpu", "cuda"], "key: 'gpu' is unknown; did you mean 'cuda'? Choices: auto, cpu, cuda"),
        ("gpu", ["cpu", "a"], "key: 'gpu' is unknown; did you mean 'cpu'? Choices: cpu, a"),
        (True, [1, 0], "key: True is unknown; choices: 1, 0"),
        (1, [True], "key: 1 is unknown; choices: True"),
        ("x", [], "key: 'x' is unknown; choices: none are defined"),
        (["a"], "ab", "key: ['a'] is unknown; choices: a, b"),
    ],
)
def test_any_other_value_is_one_line_with_the_nearest(value, choices, line):
    with pytest.raises(ConfigError) as error:
        choose_one("key", value, iter(choices))
    assert str(error.value) == line
