"""Checking a config: the schema, and one line for every mistake.

In: a config as Snakemake or YAML gives it. Out: nothing, or a `ConfigError` whose message is one line that names the
key, the value found, what was expected and, for a name, the choices and the nearest one.

    python -m pytest tests/vptstudy/test_study.py
"""

from __future__ import annotations

import difflib
import json
import math
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from vptcore.choices import ConfigError, choose_one

SCHEMA = Path(__file__).with_name("schema.json")
_KINDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "nothing",
}
# Rows keep whole numbers in 32 bits.
LARGEST = 2**31 - 1


@cache
def _validator():
    """JSON schema's own rules take 2.0 for a whole number, and nan and infinity for numbers; no job can use them."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend

    def is_whole(_, value) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST

    def is_number(_, value) -> bool:
        return is_whole(_, value) or (isinstance(value, float) and math.isfinite(value))

    types = Draft202012Validator.TYPE_CHECKER.redefine_many({"integer": is_whole, "number": is_number})
    return extend(Draft202012Validator, type_checker=types)(json.loads(SCHEMA.read_text(encoding="utf-8")))


def check_schema(config: object) -> None:
    """Check `config` against schema.json; the deepest, most telling mistake becomes the error."""
    from jsonschema.exceptions import best_match

    check_mapping(config)
    for problem in _unprintable(config, ()):
        raise ConfigError(problem)
    errors = sorted(_validator().iter_errors(config), key=lambda error: _position(config, error.absolute_path))
    error = best_match(errors, key=lambda e: (-len(e.path), e.validator != "additionalProperties"))
    if error is not None:
        raise ConfigError(_one_line(error))


def _position(config: object, path: Iterable) -> list[int]:
    """Where a place is in the config; the validator takes keys in no order."""
    found = []
    for step in path:
        found.append(list(config).index(step) if isinstance(config, Mapping) else step)
        config = config[step]
    return found


def check_mapping(config: object) -> None:
    if not isinstance(config, Mapping):
        raise ConfigError(f"config: {_show(config)} is not a mapping of keys")


def check_names(key: str, named: object, known: Iterable[str]) -> None:
    """The keys of a mapping must be known names."""
    for name in named if isinstance(named, Mapping) else ():
        try:
            choose_one(f"{key}.{name}", name, known)
        except ConfigError as wrong:
            raise ConfigError(str(wrong).replace("is unknown", "is not a key here", 1)) from None


def _unprintable(value: object, path: tuple) -> Iterator[str]:
    """Keys that are no texts, and texts that would not stay in one line: they end up in paths, tables and messages."""
    key = _dotted(path)
    if isinstance(value, str) and not is_one_line(value):
        yield f"{key}: {_show(value)} is not a text of one line; take out the control characters"
    if isinstance(value, Mapping):
        for name, inside in value.items():
            if not isinstance(name, str):
                yield f"{key}: the key {_show(name)} is not a text; write it in quotes"
            elif not is_one_line(name):
                yield f"{key}: the key {_show(name)} is not a text of one line; take out the control characters"
            else:
                yield from _unprintable(inside, (*path, name))
    if isinstance(value, list | tuple):
        for position, inside in enumerate(value):
            yield from _unprintable(inside, (*path, position))


def is_one_line(text: str) -> bool:
    """Whether a text has no control character, line separator or lone surrogate."""
    return not any(unicodedata.category(character) in ("Cc", "Zl", "Zp", "Cs") for character in text)


def _dotted(path: Iterable) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".") or "config"


def _under(key: str, name: str) -> str:
    return name if key == "config" else f"{key}.{name}"


def _one_line(error) -> str:
    key = _dotted(error.absolute_path)
    value, rule = error.instance, error.validator_value
    match error.validator:
        case "additionalProperties":
            known = list(error.schema.get("properties", {}))
            unknown = sorted(map(str, set(value) - set(known)))[0]
            try:
                choose_one(_under(key, unknown), unknown, known)
            except ConfigError as wrong:
                return str(wrong).replace("is unknown", "is not a key here", 1)
        case "required":
            missing = next(name for name in rule if name not in value)
            known = error.schema.get("properties", {})
            if near := difflib.get_close_matches(missing, [name for name in value if name not in known], n=1):
                return f"{_under(key, near[0])}: {near[0]!r} is not a key here; did you mean {missing!r}?"
            return f"{key}: the key {missing!r} is missing"
        case "type" if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST:
            return f"{key}: {_show(value)} is too {'large' if value > 0 else 'small'}; at most {LARGEST} can be stored"
        case "type" if rule == "array" and "expected" not in error.schema and not isinstance(value, Mapping):
            return f"{key}: {_show(value)} is not a list; write [{_show(value)}]"
        case "type" | "anyOf" | "oneOf":
            return f"{key}: {_show(value)} is not {_expected(error.schema)}"
        case "enum":
            try:
                choose_one(key, value, rule)
            except ConfigError as wrong:
                return str(wrong)
        case "minItems" | "minProperties":
            return f"{key}: is empty; expected at least {rule}"
        case "minimum" | "exclusiveMinimum":
            return (
                f"{key}: {_show(value)} is too small; expected "
                f"{'more than' if 'exclusive' in error.validator else 'at least'} {rule}"
            )
        case "maximum" | "exclusiveMaximum":
            return (
                f"{key}: {_show(value)} is too large; expected "
                f"{'less than' if 'exclusive' in error.validator else 'at most'} {rule}"
            )
        case "uniqueItems":
            return f"{key}: {_show(value)} names something twice"
        case "minLength":
            return f"{key}: is empty; expected {_expected(error.schema)}"
        case "pattern" if "expected" in error.schema:
            return f"{key}: {_show(value)} is not {_expected(error.schema)}"
        case "pattern" | "propertyNames":
            return f"{key}: {_show(value)} is not a name of lower-case letters, digits and underscores"
    return f"{key}: {error.message.splitlines()[0]}"


def _expected(schema: dict) -> str:
    if "expected" in schema:
        return schema["expected"]
    kinds = schema.get("type") or [
        k for part in schema.get("anyOf", schema.get("oneOf", [])) for k in [part.get("type", "")]
    ]
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return " or ".join(_KINDS.get(kind, kind) for kind in kinds)


def _show(value: object) -> str:
    text = json.dumps(value, default=str, skipkeys=True)
    return text if len(text) <= 60 else text[:57] + "..."


def read_config(path: Path) -> dict:
    """A YAML config as a mapping; what cannot be read ends in one line with its place."""
    import yaml

    try:
        text = path.read_bytes().decode("utf-8-sig")
        config = _loader()(text).get_single_data()
    except FileNotFoundError:
        raise ConfigError(
            f"{path}: no such file; the paper's study is config.yaml, the demo's profiles/demo/study.yaml"
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {_yaml_mistake(error)}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: holds {type(config).__name__}, expected a mapping of keys")
    return config


@cache
def _loader():
    """PyYAML's safe loader, which takes the last of two equal keys in silence, made to refuse them."""
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    def mapping(loader: Loader, node: yaml.MappingNode) -> dict:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                continue
            if key.value in seen:
                lines = sorted({seen[key.value], key.start_mark.line + 1})
                at = f"in line{'s' * (len(lines) > 1)} {' and '.join(map(str, lines))}"
                problem = f"the key {key.value!r} is there twice, {at}; keep one"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen[key.value] = key.start_mark.line + 1
        loader.flatten_mapping(node)
        return loader.construct_mapping(node, deep=True)

    Loader.add_constructor("tag:yaml.org,2002:map", mapping)
    return Loader


def _yaml_mistake(error) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "cannot be read"
    if "is there twice" in problem:
        return problem
    if "'\\t'" in problem:
        problem = "a tab where spaces are needed; indent with spaces"
    return f"not YAML{f' in line {mark.line + 1}' if mark else ''}: {problem}"
