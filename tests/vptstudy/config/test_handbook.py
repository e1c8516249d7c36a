"""docs/config.md is the schema's own page, and every key has a description."""

import json
from pathlib import Path

import yaml

from vptstudy.config import handbook
from vptstudy.config.defaults import FILE, with_defaults
from vptstudy.config.schema import SCHEMA, check_schema

ROOT = Path(__file__).resolve().parents[3]


def parts(schema: dict, at: str = ""):
    for name, inside in schema.get("properties", {}).items():
        yield f"{at}.{name}", inside
        yield from parts(inside, f"{at}.{name}")
    for inside in (schema.get("additionalProperties"), *schema.get("$defs", {}).values()):
        if isinstance(inside, dict):
            yield from parts(inside, f"{at}.*")


def test_every_key_is_described_in_a_sentence():
    found = list(parts(json.loads(SCHEMA.read_text())))
    assert len(found) > 80
    bad = [key for key, part in found if not part.get("description", "").endswith(".")]
    assert bad == []


def test_the_page_is_up_to_date():
    assert (ROOT / "docs/config.md").read_text() == handbook.page(), "run `make config-docs`"


def test_the_pages_defaults_are_the_ones_that_are_used():
    whole = with_defaults({"study": "a", "experiments": {"b": {"backbones": ["vit_mini_cifar10"]}}})
    for key, value in yaml.safe_load(FILE.read_text()).items():
        assert whole[key] == value or (key == "methods" and whole[key].items() >= value.items())


def test_the_example_fits_the_schema():
    fid = {"network": "backbone", "reference": "a.npz", "bootstrap": 0}
    check_schema(with_defaults(yaml.safe_load(handbook.EXAMPLE) | {"fid": fid}))
