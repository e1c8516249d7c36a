"""What the study's logger makes of Snakemake's own words."""

import re
import subprocess
import sys
import traceback
from pathlib import Path

import pytest

from snakemake_logger_plugin_study import _in_one_line

ROOT = Path(__file__).parents[2]


def told(error: Exception) -> str:
    """As Snakemake writes an exception that it did not expect."""
    try:
        raise error
    except Exception as raised:
        return "\n".join(traceback.format_exception(raised))


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(30, "Read-only file system"), "failed: snakemake: OSError: [Errno 30] Read-only file system"),
        (PermissionError(13, "Permission denied", "a/b"), "PermissionError: [Errno 13] Permission denied: 'a/b'"),
    ],
)
def test_an_error_of_the_system_is_one_line(error, line):
    shown = _in_one_line(told(error))
    assert shown.endswith(line)
    assert "\n" not in shown


@pytest.mark.parametrize("text", [told(KeyError("a")), "MissingRuleException:\nNo rule to produce a", "one line"])
def test_everything_else_stays_as_it_is(text):
    assert _in_one_line(text) == text


def test_a_dry_run_lists_its_jobs_and_counts_them_once(tmp_path):
    """Of the demo: Table 1 has five methods on two tasks."""
    words = ["--configfile", str(ROOT / "profiles/demo/study.yaml"), "--config", f"results={tmp_path}"]
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-d", str(tmp_path), "--cores", "1"]
    done = subprocess.run(
        [*command, "--logger", "study", "--dry-run", "table_01", *words], capture_output=True, text=True, check=True
    )
    listed = sorted(line.split() for line in done.stdout.splitlines())
    assert sum(line[0] == "search" for line in listed) == 10
    assert ["search", "vpt", "·", "digits", "·", "160"] in listed
    assert ["table", "01"] in listed
    assert len(re.findall(r"^\d+ jobs: ", done.stderr, re.M)) == 1
    assert int(done.stderr.split(" jobs: ")[0].splitlines()[-1]) == len(listed) + 1  # the target itself
