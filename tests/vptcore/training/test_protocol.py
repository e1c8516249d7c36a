"""The protocols: names, overrides, mistakes in one line, and a table in the docs that names every switch."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from vptcore.choices import ConfigError
from vptcore.training.protocol import PROTOCOLS, Protocol, resolve_protocol

SWITCHES = [f.name for f in fields(Protocol) if f.name != "name"]


def test_single_switches_override():
    assert resolve_protocol("paper", {"mixed_optimizer": "adamw"}).mixed_optimizer == "adamw"
    assert resolve_protocol("authors").full_decay == "fixed"


@pytest.mark.parametrize(
    ("name", "switches", "message"),
    [
        ("papr", {}, "protocol: 'papr' is unknown; did you mean 'paper'"),
        ("paper", {"promt_dropout": 0.1}, "switches: 'promt_dropout' is unknown; did you mean 'prompt_dropout'"),
        ("paper", {"mixed_optimizer": "adam"}, r"switches\.mixed_optimizer: 'adam' is unknown; did you mean 'adamw'"),
        ("paper", {"prompt_dropout": "often"}, r"switches\.prompt_dropout: 'often' is not a number"),
        ("paper", {"prompt_dropout": 1.5}, r"switches\.prompt_dropout: 1\.5 is out of range"),
        ("paper", {"scale_lr": 1}, r"switches\.scale_lr: 1 is unknown"),
    ],
)
def test_mistakes_end_in_one_line(name, switches, message):
    with pytest.raises(ConfigError, match=message) as mistake:
        resolve_protocol(name, switches)
    assert "\n" not in str(mistake.value)


def test_no_protocol_by_default_lets_test_or_val_leak():
    for name in ("paper", "sound"):
        assert PROTOCOLS[name].ft_then_pt_base == "train"
        assert PROTOCOLS[name].one_shot_final == "same"


def test_the_docs_name_every_switch():
    named = re.findall(r"^\| `(\w+)`", Path("docs/protocol.md").read_text(), flags=re.M)
    assert sorted(named) == sorted(SWITCHES)
