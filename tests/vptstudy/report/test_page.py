"""report.page: one file, everything escaped, the same bytes twice."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from markupsafe import escape

from tests.vptstudy.report.synthetic import answers_of, fid_rows, final_rows, make_study
from tests.vptstudy.report.test_render import EVIL, Counter
from vptcore.data.tasks import TASKS
from vptcore.jobs.provenance import provenance
from vptcore.records import KINDS, file_sha256, write_rows
from vptstudy.report.contrasts import Contrasts
from vptstudy.report.figures.draw import FIGURES, caption, draw, numbers, save
from vptstudy.report.page.compose import body_of, table_page, write_page
from vptstudy.report.page.sources import anchor_of, rows_page
from vptstudy.report.produce import advice_of
from vptstudy.report.quadrants import quadrants
from vptstudy.report.tables.build import build
from vptstudy.report.tables.printed import agreement, verdicts
from vptstudy.report.tables.renderers import to_html
from vptstudy.study import Cell


@pytest.fixture(scope="module")
def evil():
    tasks = {**TASKS, "digits": replace(TASKS["digits"], title=EVIL)}
    cells = [Cell("vit_mini_cifar10", m, t, "160") for t in ("digits", "shapes_count") for m in ("full", "vpt")]
    return make_study(cells, base="160", tasks=tasks, name="<script>study</script>")


@pytest.fixture(scope="module")
def figure(evil, tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    rows = {"final": final_rows(evil), "predictions": answers_of(final_rows(evil))}
    save(draw("forest", evil, rows), folder / "forest.pdf", folder / "forest.png")
    (folder / "forest.csv").write_text(numbers("forest", evil, rows), encoding="utf-8")
    return {
        "number": "forest",
        "title": FIGURES["forest"].title,
        "caption": caption("forest", evil, rows) + EVIL,
        "png_path": folder / "forest.png",
        "pdf_path": folder / "forest.pdf",
        "made_from": [f"results/{EVIL}/{i}.parquet" for i in range(20)],
    }


def page(study, folder, figures, notes=None) -> str:
    final, fid = final_rows(study), fid_rows(["digits", "shapes_count"])
    tables = [build(n, study, final, None, answers_of(final)) for n in (1, 2)]
    sections = [body_of(table_page(table, to_html(table), 4)) for table in tables]
    plane = quadrants(study, {"final": final, "fid": fid})
    contrasts = Contrasts(study, final, answers_of(final))
    write_page(study, folder, contrasts, plane, sections, figures, notes or {"Command": f"make {EVIL}"})
    return (folder / "index.html").read_text(encoding="utf-8")


def test_nothing_escapes_escaping(evil, figure, tmp_path):
    text = page(evil, tmp_path, [figure])
    assert re.findall(r"<script[^>]*>", text) == ["<script>"]
    assert "alert(1)" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_it_needs_no_network_and_only_what_lies_beside_it(evil, figure, tmp_path):
    text = page(evil, tmp_path, [figure])
    assert "http" not in text
    assert "@import" not in text
    assert "url(" not in text
    beside = {link.partition("#")[0] for link in re.findall(r"""(?:src|href)=["']([^"'#][^"']*)""", text)}
    assert beside >= {"figures/forest.png", "figures/forest.pdf", "rows.html", "tables/table_01.csv"}
    assert all(not link.startswith(("/", "..", "file:")) for link in beside)
    assert (tmp_path / "figures/forest.png").read_bytes() == figure["png_path"].read_bytes()


def test_it_is_well_formed_and_says_the_verdict_first(evil, figure, tmp_path):
    text = page(evil, tmp_path, [figure])
    parser = Counter()
    parser.feed(text)
    assert parser.open == []
    assert text.index('class="headline"') < text.index('class="answers"') < text.index("<table")
    picture, contents = text.index('id="figure-forest"'), text.index('aria-label="Contents"')
    assert text.index('class="answers"') < picture < text.index('class="plane"') < contents
    assert contents < text.index('id="table-1"')
    assert "and 8 more" in text
    assert f"<code>{escape(f'vptcore render {shlex.quote(evil.root)} figure_forest')}</code>" in text


def test_the_same_rows_give_the_same_bytes(evil, figure, tmp_path):
    assert page(evil, tmp_path / "a", [figure]) == page(evil, tmp_path / "b", [figure])


def test_a_study_without_rows_still_has_a_page(evil, tmp_path):
    write_page(evil, tmp_path, Contrasts(evil, final_rows(evil).head(0)), [], [], [], {})
    assert "No group has rows of both" in (tmp_path / "index.html").read_text()


def test_left_out_sizes_are_named(evil, tmp_path):
    study = replace(evil, left_out=(("shapes_count", "5000"),))
    write_page(study, tmp_path, Contrasts(study, final_rows(study)), [], [], [], {})
    assert "Shapes/cnt. (train size 5000)" in (tmp_path / "index.html").read_text()


def test_a_notice_is_the_first_thing_said(evil, figure, tmp_path):
    study = replace(evil, config=evil.config | {"report": {"notice": f"No result. {EVIL}"}})
    text = page(study, tmp_path, [figure])
    assert text.index("No result.") < text.index('class="headline"')
    assert "<script>alert" not in text


def test_every_number_links_to_its_rows(evil, tmp_path):
    """Each cell of ours links to an entry of rows.html, which says path, hash, slice and what each seed scored."""
    paths = []
    for (method, task), rows in final_rows(evil).groupby(["method", "task"]):
        path = tmp_path / f"final/backbone=vit_mini_cifar10/method={method}/task={task}/train=160/rows.parquet"
        job = {"lr": 0.1, "note": EVIL}
        inputs = {"search": tmp_path / "x.txt"}
        inputs["search"].write_text("x")
        write_rows(path, "final", rows[KINDS["final"].names], provenance(job, inputs, started=0.0))
        paths.append(path)
    absent = tmp_path / "fid/task=digits/rows.parquet"
    text = rows_page(evil, [*paths, absent], {"full": "#111", "vpt": "#222"}, "")
    parser = Counter()
    parser.feed(text)
    assert parser.open == []
    assert "<script>alert" not in text
    ids = set(re.findall(r'<details id="([^"]+)"', text))
    assert ids == {anchor_of(path) for path in [*paths, absent]}
    table = to_html(build(1, evil, final_rows(evil)))
    links = set(re.findall(r'href="rows.html#([^"]+)"', table))
    assert links == {f"final/vit_mini_cifar10/{m}/digits/160" for m in ("full", "vpt")}
    assert links <= ids
    assert all(file_sha256(path) in text for path in paths)
    assert "no rows yet" in text
    accuracies = final_rows(evil).test_accuracy
    assert all(f"{accuracy:.4f}" in text for accuracy in accuracies)


def test_anchors_are_in_the_files_names():
    path = "results/paper/final/backbone=b/method=vpt/task=t/train=800/rows.parquet"
    assert anchor_of(path) == "final/b/vpt/t/800"
    assert anchor_of("results/paper/fid/task=t/rows.parquet") == "fid/t"


def test_the_contents_have_titles_and_a_phone_has_the_forests_numbers(evil, figure, tmp_path):
    text = page(evil, tmp_path, [figure])
    contents = text.split('aria-label="Contents"')[1].split("</nav>")[0]
    assert "VPT against full fine-tuning, task by task" in contents
    assert "Table 1: Training strategies, Natural and Specialized" in contents
    phone = text.split("list narrow")[1].partition("</table>")[0]
    lines = re.findall(r'<tr class="(task|mean)"><th[^>]*>(.*?)</th><td>(.*?)</td><td>(.*?)</td></tr>', phone)
    drawn = pd.read_csv(tmp_path / "figures/forest.csv")
    assert [points.replace("−", "-") for _, _, points, _ in lines] == [f"{gap:+.1f}" for gap in drawn["difference"]]
    assert [kind == "mean" for kind, *_ in lines] == drawn["task"].isna().tolist()


def test_the_alt_text_says_what_is_seen(evil, figure, tmp_path):
    (alt,) = re.findall(r'<img[^>]* alt="([^"]*)"', page(evil, tmp_path, [figure]))
    drawn = pd.read_csv(tmp_path / "figures/forest.csv")
    assert alt.startswith("VPT against full fine-tuning, task by task.")
    assert all(f"{abs(value):.1f}" in alt for value in drawn["difference"])


def test_advice_is_said_first_and_only_while_it_is_newer_than_the_rows(evil, tmp_path):
    study = replace(evil, config=evil.config | {"results": str(tmp_path)})
    root = Path(study.root)
    (root / "final").mkdir(parents=True)
    rows = root / "final/rows.parquet"
    rows.write_bytes(b"")
    assert advice_of(study, [str(rows)]) == ""
    (root / "advice.json").write_text(json.dumps({"advice": f"Take a linear probe. {EVIL}"}))
    os.utime(rows, (1, 1))
    said = advice_of(study, [str(rows)])
    assert said == f"Take a linear probe. {EVIL}"
    write_page(study, tmp_path, Contrasts(study, final_rows(study)), [], [], [], {}, advice=said)
    text = (tmp_path / "index.html").read_text()
    assert text.index("Take a linear probe") < text.index('class="said"') < text.index('class="answers"')
    assert "<script>alert" not in text
    os.utime(rows)
    os.utime(root / "advice.json", (2, 2))
    assert advice_of(study, [str(rows)]) == ""


def test_how_many_printed_numbers_agree_is_counted_from_the_tables(tmp_path):
    """By hand: of five cells two lie inside and one outside; slips and cells without rows are no answer."""
    frame = pd.DataFrame({"verdict": ["within", "within", "outside", "slip", "not run"]})
    frame.to_csv(tmp_path / "table_01.csv")
    counts = verdicts([tmp_path / "table_01.csv"])
    assert agreement(counts) == "2 of 3 printed accuracies lie in our 95 % intervals (3 expected)"
    assert agreement(verdicts([])) == ""
