"""The keys of a task in the schema, held to what reads them."""

from __future__ import annotations

import json

from vptcore.data.decode import RESIZES
from vptcore.data.sources import READERS
from vptstudy.config.schema import SCHEMA

KEYS = json.loads(SCHEMA.read_text())["properties"]["tasks"]["additionalProperties"]["properties"]


def test_a_config_may_name_every_reader():
    assert set(KEYS["source"]["enum"]) == set(READERS)


def test_a_config_may_name_every_resize():
    assert set(KEYS["resize"]["enum"]) == set(RESIZES)
