"""report.page: one file, everything escaped, the same bytes twice."""

from __future__ import annotations

import base64
import re
from dataclasses import replace

import pytest

from tests.report.synthetic import final_rows, make_study
from tests.report.test_render import EVIL, Counter
from vptcore.data.tasks import TASKS
from vptcore.report.figures import FIGURES, caption, draw, save
from vptcore.report.page import body_of, table_page, write_page
from vptcore.report.render import to_html
from vptcore.report.tables import build
from vptcore.study import Cell


@pytest.fixture(scope="module")
def evil():
    tasks = {**TASKS, "digits": replace(TASKS["digits"], title=EVIL)}
    cells = [Cell("vit_mini_cifar10", m, t, "160") for t in ("digits", "shapes_count") for m in ("full", "vpt")]
    return make_study(cells, base="160", tasks=tasks, name="<script>study</script>")


@pytest.fixture(scope="module")
def figure(evil, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    rows = {"final": final_rows(evil)}
    save(draw("forest", evil, rows), folder / "forest.pdf", folder / "forest.png")
    return {
        "number": "forest",
        "title": FIGURES["forest"].title,
        "caption": caption("forest", evil, rows) + EVIL,
        "png_path": folder / "forest.png",
        "pdf_path": "results/forest.pdf",
        "made_from": [f"results/{EVIL}/{i}.parquet" for i in range(20)],
    }


def page(study, path, figures, notes=None) -> str:
    tables = [build(n, study, final_rows(study)) for n in (1, 2)]
    sections = [body_of(table_page(table, to_html(table), 4)) for table in tables]
    write_page(study, path, tables, sections, figures, notes or {"Command": f"make {EVIL}"})
    return path.read_text(encoding="utf-8")


def test_nothing_escapes_escaping(evil, figure, tmp_path):
    text = page(evil, tmp_path / "report.html", [figure])
    assert re.findall(r"<script[^>]*>", text) == ["<script>"]
    assert "alert(1)" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_it_needs_no_network_and_no_other_file(evil, figure, tmp_path):
    text = page(evil, tmp_path / "report.html", [figure])
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", text)
    assert "http" not in text
    assert "@import" not in text
    assert "url(" not in text
    assert base64.b64encode(figure["png_path"].read_bytes()).decode() in text


def test_it_is_well_formed_and_says_the_verdict_first(evil, figure, tmp_path):
    text = page(evil, tmp_path / "report.html", [figure])
    parser = Counter()
    parser.feed(text)
    assert parser.open == []
    assert text.index('class="headline"') < text.index('class="answers"') < text.index("<table")
    assert "and 8 more" in text
    assert "snakemake figure_forest" in text


def test_the_same_rows_give_the_same_bytes(evil, figure, tmp_path):
    assert page(evil, tmp_path / "a.html", [figure]) == page(evil, tmp_path / "b.html", [figure])


def test_a_study_without_rows_still_has_a_page(evil, tmp_path):
    write_page(evil, tmp_path / "report.html", [], [], [], {})
    assert "No group has rows of both" in (tmp_path / "report.html").read_text()


def test_left_out_sizes_are_named(evil, tmp_path):
    study = replace(evil, left_out=(("shapes_count", "5000"),))
    write_page(study, tmp_path / "report.html", [], [], [], {})
    assert "Shapes/cnt. (train size 5000)" in (tmp_path / "report.html").read_text()
