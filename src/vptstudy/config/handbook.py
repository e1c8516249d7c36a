"""docs/config.md: every key of a config, what it means, what it takes and its default, from the schema itself.

make config-docs
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from vptcore.records import write_text
from vptstudy.config.defaults import FILE
from vptstudy.config.schema import SCHEMA, read_config

HEAD = """# Config

A study is one YAML file. Only `study` and `experiments` are required; everything else has a default.

```yaml
{example}```

`vptcore check mine.yaml` says what it asks for and whether it can run. `vptcore check --all mine.yaml` prints it with
every default filled in. A mistake ends in one line before any job starts.

{table}
`vptcore check --all` prints the defaults of whole methods; they are in `src/vptstudy/config/defaults.yaml` and
`src/vptcore/models/methods_table.py`. `make config-docs` writes this page from `src/vptstudy/config/schema.json`.
"""
EXAMPLE = """study: leaves
tasks: {leaves: {source: folder, path: photos/leaves}}
experiments: {mine: {backbones: [vit_b16_sup21k]}}
"""
NAMED = {"methods": "METHOD", "experiments": "EXPERIMENT", "backbones": "BACKBONE", "tasks": "TASK"}
KINDS = {"object": "mapping", "array": "list", "string": "text", "integer": "whole number", "boolean": "true or false"}


def page() -> str:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    lines = ["| key | what it means | takes | default |", "|---|---|---|---|"]
    for key, part, default in _keys(schema, schema["$defs"], read_config(FILE), ""):
        cells = (f"`{key}`", part["description"], _takes(part), _shown(default))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return HEAD.format(example=EXAMPLE, table="\n".join(lines) + "\n")


def _keys(part: Mapping, known: Mapping, default: object, at: str) -> Iterator[tuple[str, dict, object]]:
    """(dotted key, its part of the schema, its default) of everything below `part`, in the schema's order."""
    for name, inside in part.get("properties", {}).items():
        key, inside = f"{at}{name}", _resolved(inside, known)
        under = default.get(name, _NONE) if isinstance(default, Mapping) else _NONE
        yield key, inside, under
        yield from _keys(inside, known, under, f"{key}.")
        further = inside.get("additionalProperties")
        if isinstance(further, Mapping) and name in NAMED:
            # One name stands for all; the defaults of one would not be another's.
            yield from _keys(_resolved(further, known), known, _NONE, f"{key}.{NAMED[name]}.")


_NONE = object()


def _resolved(part: Mapping, known: Mapping) -> dict:
    return known[part["$ref"].removeprefix("#/$defs/")] | part if "$ref" in part else dict(part)


def _takes(part: Mapping) -> str:
    if "enum" in part:
        return ", ".join(f"`{choice}`" for choice in part["enum"])
    if "expected" in part:
        return part["expected"]
    kind = part.get("type", "")
    if kind == "array":
        kind = part["items"].get("type", "size")
        return f"list of {KINDS.get(kind, kind)}s"
    low, high = part.get("minimum"), part.get("maximum")
    bounds = f" ≥ {low}" if low is not None else f" > {part['exclusiveMinimum']}" if "exclusiveMinimum" in part else ""
    return KINDS.get(kind, kind) + bounds + (f", ≤ {high}" if high is not None else "")


def _shown(default: object) -> str:
    if default is _NONE:
        return ""
    text = json.dumps(default, ensure_ascii=False)
    return f"`{text}`" if len(text) <= 40 else "see below"


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), page())
