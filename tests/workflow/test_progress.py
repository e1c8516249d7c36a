"""What the study's logger makes of Snakemake's own words."""

import traceback

import pytest

from snakemake_logger_plugin_study import _in_one_line


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
