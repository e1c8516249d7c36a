"""Wrong configs, made from the schema and from mistakes that people make.

In: a config that is right, and a seed. Out: outcomes: each wrong config must end in one line that starts with the key
it is about, before any job starts. Most go straight to `load_study`; a sample goes through `vptcore check` and through
Snakemake.

    python -m faults configs
"""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import hypothesis
import yaml
from hypothesis import strategies as st

from faults.mistakes import MISTAKES
from faults.outcome import Outcome, judged
from faults.small import NAME, Trial, environment_of, small_config
from vptcore.choices import ConfigError
from vptstudy.config.resolve import load_study
from vptstudy.config.schema import SCHEMA

PART = "configs"
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


@dataclass(frozen=True)
class Wrong:
    """A wrong config, the key its error must start with (the first of its dotted parts at least), and what was done."""

    kind: str
    key: str
    config: object
    what: str


def right_config() -> dict:
    """The small config with a task, a backbone and LoRA of one's own, so that every part of the schema is in it."""
    config = small_config()
    config["tasks"] = {"leaves": {"source": "folder", "path": "leaves", "group": "natural", "classes": 3}}
    config["backbones"] = {"my_vit": {"timm": "vit_small_patch16_224", "width": 384, "mean": [0.5, 0.5, 0.5]}}
    config["methods"]["lora"] = {
        "batch": 20,
        "grid": {"lr": [0.01], "weight_decay": [0.0]},
        "lora": {"rank": 2, "alpha": 2, "targets": ["qkv"]},
    }
    config["prompts"]["sets"]["other"] = {"default": 2, "vit_mini_cifar10": {"digits": 3}}
    return config


# From the schema: every place of the right config, and what its schema says must not be there.


def places(config: object, schema: dict, path: tuple = ()) -> Iterator[tuple[tuple, object, dict]]:
    """(path, value, schema) of a config and of everything in it."""
    yield path, config, schema
    if isinstance(config, dict):
        for name, value in config.items():
            inside = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if isinstance(inside, dict):
                yield from places(value, _resolved(inside), (*path, name))
    if isinstance(config, list):
        for position, value in enumerate(config):
            if isinstance(schema.get("items"), dict):
                yield from places(value, _resolved(schema["items"]), (*path, position))


def _resolved(schema: dict) -> dict:
    """A part of the schema with what its `$ref` points to."""
    known = _definitions()
    return known[schema["$ref"].removeprefix("#/$defs/")] | schema if "$ref" in schema else schema


@cache
def _definitions() -> dict[str, dict]:
    return json.loads(SCHEMA.read_text(encoding="utf-8"))["$defs"]


def wrong_values(schema: dict, value: object) -> st.SearchStrategy:
    """(what was done, a value that this schema must refuse)."""
    kinds = [st.tuples(st.just("another type"), _another_type(schema))]
    if "enum" in schema or any("enum" in part for part in schema.get("anyOf", [])):
        known = schema.get("enum", []) + [c for part in schema.get("anyOf", []) for c in part.get("enum", [])]
        kinds.append(st.tuples(st.just("not a choice"), st.text(max_size=12).filter(lambda t: t not in known)))
    if "pattern" in schema:
        kinds.append(st.tuples(st.just("not a name"), _not_a_match(schema["pattern"])))
    for bound in ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"):
        if bound in schema:
            kinds.append(st.tuples(st.just("out of range"), _beyond(schema, bound)))
    if schema.get("type") in ("number", "integer"):
        kinds.append(st.tuples(st.just("not a number"), st.sampled_from([float("nan"), float("inf"), -float("inf")])))
    if schema.get("type") == "integer":
        kinds.append(st.tuples(st.just("not whole"), st.sampled_from([1.0, 2.5, 1e300, 40.0])))
        kinds.append(st.tuples(st.just("too large to store"), st.integers(min_value=2**31, max_value=2**70)))
    if schema.get("minItems") or schema.get("minProperties"):
        kinds.append(st.tuples(st.just("empty"), st.just([] if schema.get("minItems") else {})))
    if schema.get("uniqueItems") and value:
        kinds.append(st.tuples(st.just("twice the same"), st.just([*value, value[0]])))
    if schema.get("additionalProperties") is False:
        known = set(schema.get("properties", {}))
        keys = st.one_of(st.text(max_size=12), st.integers(), st.none(), st.booleans()).filter(lambda k: k not in known)
        kinds.append(st.tuples(st.just("unknown key"), keys.map(lambda k: {**value, k: 1})))
    # What has a default may be left out, as an experiment's tasks where the config names some; of the rest the schema
    # must name it.
    kinds += [
        st.tuples(st.just("missing key"), st.just({k: v for k, v in value.items() if k != name}))
        for name in schema.get("required", [])
        if name != "tasks"
    ]
    return st.one_of(kinds)


_ANY = {
    "object": st.dictionaries(st.text(max_size=4), st.integers(), max_size=2),
    "array": st.lists(st.one_of(st.integers(), st.text(max_size=4)), max_size=2),
    "string": st.text(max_size=12),
    "integer": st.integers(-100, 100),
    "number": st.floats(-100, 100).filter(lambda x: x != int(x)),
    "boolean": st.booleans(),
    "null": st.none(),
}


def _another_type(schema: dict) -> st.SearchStrategy:
    parts = schema.get("anyOf", [schema])
    allowed = {part["type"] for part in parts if "type" in part} | {"string" for part in parts if "enum" in part}
    allowed |= {"integer"} if "number" in allowed else set()
    return st.one_of([values for kind, values in _ANY.items() if kind not in allowed])


def _not_a_match(pattern: str) -> st.SearchStrategy:
    """Any text that is no name, or for a path one with a character that a shell or Snakemake would read."""
    if pattern.startswith("^[a-z]"):
        return st.one_of(
            st.text(max_size=12), st.sampled_from(["demo\n", "../demo", "Demo", "a b", "a-b", "é", "a/b"])
        ).filter(lambda text: not _NAME.match(text))
    bad = st.sampled_from(list("{}$`;&|<>*?\"'\\\n\x00=[]!"))
    return st.tuples(st.sampled_from(["results", "a/b"]), bad, st.sampled_from(["", "task", "(touch x)"])).map("".join)


def _beyond(schema: dict, bound: str) -> st.SearchStrategy:
    limit = schema[bound]
    step = 0 if "exclusive" in bound else 1
    sign = -1 if "min" in bound.lower() else 1
    return st.integers(step, 10**6).map(lambda n: limit + sign * n)


def from_schema() -> st.SearchStrategy:
    """Wrong configs of which one place breaks the schema."""
    config, schema = right_config(), json.loads(SCHEMA.read_text(encoding="utf-8"))
    known = [(path, value, part) for path, value, part in places(config, schema) if part]

    def wrong(place) -> st.SearchStrategy:
        path, value, part = place
        return wrong_values(part, value).map(
            lambda drawn: Wrong(drawn[0], _dotted(path), replaced(config, path, drawn[1]), f"{_dotted(path)}")
        )

    return st.sampled_from(known).flatmap(wrong)


def replaced(config: object, path: tuple, value: object) -> object:
    if not path:
        return value
    config = copy.deepcopy(config)
    place = config
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return config


def _dotted(path: tuple) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")


# From people: what the schema cannot say.


def from_people() -> st.SearchStrategy:
    """Wrong configs that fit the schema, or mistakes that go over several places; see `faults.mistakes`."""

    def wrong(mistake) -> st.SearchStrategy:
        def made(value) -> Wrong:
            config = right_config()
            mistake.make(config, value)
            return Wrong(mistake.kind, mistake.key, config, f"{mistake.kind}: {value!r}"[:90])

        return st.sampled_from(mistake.values).map(made)

    return st.sampled_from(MISTAKES).flatmap(wrong)


def draw(strategy: st.SearchStrategy, count: int, seed: int) -> list[Wrong]:
    """`count` wrong configs that differ, the same ones for the same seed."""
    found: dict[str, Wrong] = {}

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=3 * count, database=None, deadline=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    @hypothesis.given(strategy)
    def collect(wrong: Wrong) -> None:
        if len(found) < count:
            found.setdefault(repr(wrong.config), wrong)

    collect()
    return list(found.values())


# The three doors a config goes through.


def at_load(wrong: Wrong) -> list[str]:
    """What is not as it should be when `load_study` is given this config."""
    try:
        load_study(wrong.config)
    except ConfigError as error:
        return told_badly(str(error), wrong.key)
    except Exception as error:  # any other is what this looks for
        return [f"a traceback: {type(error).__name__}: {str(error)[:80]!r}"]
    return ["accepted"]


def told_badly(message: str, key: str) -> list[str]:
    problems = []
    if len(message.splitlines()) != 1 or any(ord(c) < 32 or ord(c) == 127 for c in message):
        problems.append(f"not one plain line: {message!r:.100}")
    if not message.startswith(key.split(".")[0].split("[")[0] or ""):
        problems.append(f"does not start with {key}: {message!r:.100}")
    return problems


def at_command(wrong: Wrong, trial: Trial) -> list[str]:
    """`vptcore check`, given this config as a file."""
    words = ["vptstudy.cli.main", "check", "study.yaml"]
    return _ends_in_one_line(wrong, trial, words, "vptcore check: ")


def at_snakemake(wrong: Wrong, trial: Trial) -> list[str]:
    words = ["snakemake", "--profile", f"profiles/{NAME}", "--cores", "1"]
    return _ends_in_one_line(wrong, trial, words, "config: ")


def _ends_in_one_line(wrong: Wrong, trial: Trial, words: list[str], start: str) -> list[str]:
    trial.write(wrong.config)
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=trial.folder, env=environment_of({}), capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    problems = [] if done.returncode else ["accepted"]
    if "Traceback" in done.stderr or len(lines) != 1:
        problems.append(f"{len(lines)} lines on stderr: {done.stderr[:200]!r}")
    elif not lines[0].startswith(start):
        problems.append(f"not {start!r}: {lines[0][:100]!r}")
    else:
        problems += told_badly(lines[0].removeprefix(start), wrong.key)
    if (trial.folder / "results").exists():
        problems.append("results were written")
    return problems


def writable(wrong: Wrong) -> bool:
    """Whether YAML gives this config back as it is: control characters and infinite numbers it may write otherwise."""
    try:
        return repr(yaml.safe_load(yaml.safe_dump(wrong.config))) == repr(wrong.config)
    except yaml.YAMLError:
        return False


def run(folder: Path, seed: int, quick: bool, say) -> list[Outcome]:
    """All wrong configs: 150 + 60 in the quick form, 600 + 200 in the whole one."""
    load_study(right_config())
    drawn = draw(from_schema(), 150 if quick else 600, seed) + draw(from_people(), 60 if quick else 200, seed)
    outcomes = [judged(PART, wrong.kind, wrong.what, at_load(wrong)) for wrong in drawn]
    say(f"{len(outcomes)} wrong configs at load_study")
    through = [wrong for wrong in drawn if wrong.config and isinstance(wrong.config, dict) and writable(wrong)]
    trial = Trial(folder / "wrong")
    doors = {"vptcore check": (at_command, 4 if quick else 20), "Snakemake": (at_snakemake, 3 if quick else 15)}
    for name, (door, count) in doors.items():
        for wrong in through[:: max(1, len(through) // count)][:count]:
            outcomes.append(judged(PART, f"through {name}", wrong.what, door(wrong, trial)))
            say(outcomes[-1].line)
    return outcomes
