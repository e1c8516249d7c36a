"""The jinja2 templates that every page is made of.

python -m pytest tests/vptstudy/report/test_page.py
"""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from vptstudy.report.captions import full_stop


@cache
def templates() -> Environment:
    """The jinja2 environment of report/page/templates: always escaping, and an undefined name is an error."""
    found = Environment(
        loader=PackageLoader("vptstudy.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["full_stop"] = full_stop
    return found
