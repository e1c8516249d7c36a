"""The report in a real browser: Debian's chromium, headless, from file://, with no network. Skips where there is none.

A probe at the end of a copy of the page looks at it from inside and writes what it found into the document. The report
that Snakemake makes of a study is visited in tests/workflow/test_report.py.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.vptstudy.report.test_page import evil, figure, page  # noqa: F401  (fixtures)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no chromium here (apt-get install chromium)")

PROBE = """
<script>
window.addEventListener("load", () => {
  const seen = { width: innerWidth, page: document.documentElement.scrollWidth };
  seen.images = [...document.images].map((image) => image.complete && image.naturalWidth > 0);
  const table = document.querySelector("#table-2 table");
  const lines = () => [...table.tBodies[0].rows].map((row) => row.cells[1].dataset.value);
  const button = table.querySelectorAll("thead button")[1];
  button.click(); seen.descending = lines(); seen.first = button.parentElement.getAttribute("aria-sort");
  button.click(); seen.ascending = lines(); seen.second = button.parentElement.getAttribute("aria-sort");
  const out = document.createElement("pre");
  out.id = "probe"; out.textContent = JSON.stringify(seen);
  document.body.append(out);
});
</script></body>"""


def visit(page: Path, probe: str, width: int) -> tuple[dict, list[str], list[str]]:
    """(what the probe saw of a copy of the page, the console's lines, addresses asked for beyond the disk)."""
    folder, text = page.parent, page.read_text(encoding="utf-8")
    before, _, after = text.replace('loading="lazy"', "").rpartition("</body>")
    (folder / "probe.html").write_text(before + probe + after, encoding="utf-8")
    log = folder / "net.json"
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += [f"--window-size={width},900", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=8000"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--enable-logging=stderr", f"--log-net-log={log}"]
    done = subprocess.run(
        [*command, "--dump-dom", f"file://{folder}/probe.html"], capture_output=True, text=True, timeout=120
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.S)
    assert found, done.stderr[-2000:]
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    asked = re.findall(r'"url":"((?:https?|wss?)://[^"]*)"', log.read_text(encoding="utf-8", errors="replace"))
    # The browser's own calls home are not the page's.
    return json.loads(found[1]), console, [url for url in asked if "google" not in url and "gvt1" not in url]


@pytest.mark.parametrize("width", [1200, 400])
def test_it_opens_sorts_and_fits(evil, figure, tmp_path, width):  # noqa: F811
    page(evil, tmp_path, [figure])
    seen, console, asked = visit(tmp_path / "index.html", PROBE, width)
    assert console == []
    assert asked == []
    assert seen["images"] == [True]
    numbers = [float(value) for value in seen["ascending"] if value]
    assert len(numbers) >= 2
    assert numbers == sorted(numbers)
    assert [float(value) for value in seen["descending"] if value] == numbers[::-1]
    assert (seen["first"], seen["second"]) == ("descending", "ascending")
    # Wide tables scroll inside themselves; the page never does.
    assert seen["page"] <= seen["width"]
