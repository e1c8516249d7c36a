"""report.jobs: captions as Snakemake's report takes them."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from docutils.core import publish_parts
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment, StrictUndefined

from vptstudy.report.produce import note

# Docutils renames an argument that Snakemake still gives under its old name.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
NOTE = Path(__file__).parents[3] / "workflow/report/note.rst"
HOSTILE = [
    "{{ 7 * 7 }} {% raw %} {# gone #}",
    "*em* **strong** `role` ``code`` |sub| link_ [1]_ :math:`x`",
    '<script>alert(1)</script> <b>& &amp; "q"',
    "one\n\n.. include:: /etc/hostname\n\n.. raw:: html\n\n   <i>two",
    "Fréchet ≈ 95 % ± − × ✓",
]


def shown(caption: str, path: Path) -> str:
    """The note as Snakemake renders it: the rule's caption file through Jinja, then docutils, in the study's folder."""
    path.write_text(note(caption), encoding="utf-8")
    job = SimpleNamespace(output=SimpleNamespace(note=os.path.relpath(path)))
    text = Environment(undefined=StrictUndefined).from_string(NOTE.read_text()).render(snakemake=job)
    return publish_parts(text, writer_name="html", settings_overrides={"halt_level": 2})["body"]


@pytest.mark.parametrize("caption", HOSTILE)
def test_nothing_of_a_caption_is_markup(caption, tmp_path):
    body = re.fullmatch(r"<p>(.*)</p>\s*", shown(caption, tmp_path / "table_01.rst"))
    assert "<" not in body[1]
    assert html.unescape(body[1]) == " ".join(caption.split())


@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"))))
def test_any_caption_comes_back(tmp_path_factory, caption):
    body = re.fullmatch(r"<p>(.*)</p>\s*", shown(caption, tmp_path_factory.getbasetemp() / "table_01.rst"))
    assert html.unescape(body[1]) == " ".join(caption.split())
