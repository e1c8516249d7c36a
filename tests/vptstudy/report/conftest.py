"""Studies and rows that the report's tests share; made once."""

from __future__ import annotations

import pytest

from tests.vptstudy.report import synthetic


@pytest.fixture(scope="session")
def paper():
    return synthetic.paper_study()


@pytest.fixture(scope="session")
def paper_final(paper):
    return synthetic.final_rows(paper)


@pytest.fixture(scope="session")
def demo():
    return synthetic.demo_study()


@pytest.fixture(scope="session")
def demo_final(demo):
    return synthetic.final_rows(demo)
