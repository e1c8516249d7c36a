"""`snakemake --report` on the tiny study: one file with every table and figure, and a browser opens it offline."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest

from tests.vptstudy.report.test_browser import CHROMIUM, visit
from tests.workflow.conftest import tiny_config
from vptstudy.config.resolve import load_study
from vptstudy.graph import targets

# Opens each category, notes what it lists, shows its first entry and what is known about it.
PROBE = """
<script>
window.addEventListener("load", async () => {
  const seen = {}, wait = () => new Promise((go) => setTimeout(go, 200));
  const press = async (element) => { element.click(); await wait(); };
  const called = (name) => [...document.querySelectorAll("#app *")].filter((e) => e.textContent.trim() === name).pop();
  await wait();
  seen.overview = document.body.innerText;
  for (const name of Object.keys(categories)) {
    await press(called(name));
    const lines = [...document.querySelectorAll("tbody tr")].map((row) => row.innerText.trim());
    await press(document.querySelectorAll("tbody a")[0]);
    const image = document.querySelector("#app img[src^='data:image/png']"), page = document.querySelector("iframe");
    seen[name] = { lines, width: image && image.naturalWidth, page: page && page.src.slice(0, 14) };
    await press(document.querySelectorAll("tbody a")[1]);
    seen[name].about = document.body.innerText;
    await press(document.querySelector("ol a"));
  }
  const out = document.createElement("pre");
  out.id = "probe"; out.textContent = JSON.stringify(seen);
  document.body.append(out);
});
</script></body>"""


@pytest.fixture(scope="module")
def report(finished, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    result = finished.run("--report", str(path))
    assert result.returncode == 0, result.stderr
    return path


def entries(text: str) -> dict[str, dict]:
    """The report's own list of what it shows: path -> its rule, labels, caption."""
    return json.JSONDecoder().raw_decode("{" + text.partition("var results = {")[2])[0]


def test_every_table_and_figure_is_in_it_with_its_caption(finished, report):
    study = load_study(tiny_config())
    found = entries(report.read_text(encoding="utf-8"))
    names = [("table", targets.padded(n)) for n in targets.tables_of(study)]
    names += [("figure", targets.padded(n)) for n in targets.figures_of(study)]
    assert len(found) == len(names)
    for kind, name in names:
        entry = found[f"results/tiny/{kind}s/{kind}_{name}.{'html' if kind == 'table' else 'png'}"]
        assert entry["job_properties"]["rule"] == kind
        assert list(entry["labels"]) == [kind]
        if kind == "figure":
            caption = (finished.root / f"figures/figure_{name}.txt").read_text(encoding="utf-8").strip()
            assert caption in html.unescape(entry["caption"])


@pytest.mark.skipif(not CHROMIUM, reason="no chromium here (apt-get install chromium)")
def test_a_browser_opens_it_without_a_network(report):
    seen, console, asked = visit(report, PROBE, 1300)
    # What Snakemake's page itself says: that its style sheet is made in the browser, and each text that it shows.
    usual = ('"cdn.tailwindcss.com should not be used', '"<div class="document">')
    assert [line for line in console if not any(words in line for words in usual)] == []
    assert asked == []
    assert "Study tiny." in seen.pop("overview")
    assert sorted(seen) == ["Figures", "Figures beyond the paper", "Tables", "Tables beyond the paper"]
    assert seen["Figures"]["lines"][0].startswith("01 · VPT or full fine-tuning")
    assert seen["Figures"]["width"] > 600
    assert seen["Tables"]["lines"][0].startswith("01 · Training strategies")
    assert seen["Tables"]["page"] == "data:text/html"
    assert "Protocol: paper." in seen["Tables"]["about"]
