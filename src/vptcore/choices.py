"""Names that a person chose: one line for one that is not among the choices.

In: a key, the value found, the choices. Out: the value, or a `ConfigError` whose message is one line that lists the
choices and the nearest one.

    python -m pytest tests/vptcore/test_choices.py
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

# What people write for a choice that no comparison of letters finds.
MEANT = {"gpu": "cuda"}


class ConfigError(ValueError):
    """A config that cannot be run. Its message is one line."""


def choose_one(key: str, value: object, choices: Iterable) -> object:
    """`value`, if it is among `choices`; else a ConfigError that lists them and the nearest."""
    choices = list(choices)
    # True == 1 in Python, but not in a config.
    if any(value == c and isinstance(value, bool) == isinstance(c, bool) for c in choices):
        return value
    names = [str(c) for c in choices]
    meant = MEANT.get(str(value))
    near = [meant] if meant in names else difflib.get_close_matches(str(value), names, n=1)
    hint = f"did you mean {near[0]!r}? Choices" if near else "choices"
    raise ConfigError(f"{key}: {value!r} is unknown; {hint}: {', '.join(names) or 'none are defined'}")
