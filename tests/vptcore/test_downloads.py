"""Trust on first use: recorded, said, held; refused on change, on a pin that differs, and on a broken lock file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vptcore
from vptcore.downloads import LOCK, held, read_lock, revision
from vptcore.records import file_sha256


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"weights")
    return tmp_path


def test_the_first_time_is_recorded_and_said(here, capsys):
    assert held("hub:a/b", here / "file") == here / "file"
    said = capsys.readouterr().err
    assert "hub:a/b: first use" in said
    assert read_lock() == {"hub:a/b": {"sha256": file_sha256(here / "file")}}
    held("hub:a/b", here / "file")
    assert capsys.readouterr().err == ""


def test_a_change_is_refused_in_one_line_and_not_recorded(here):
    held("hub:a/b", here / "file")
    before = LOCK.read_bytes()
    (here / "file").write_bytes(b"weights!")
    with pytest.raises(ValueError, match=r"hub:a/b: .* is recorded in downloads.lock.json") as error:
        held("hub:a/b", here / "file")
    assert "\n" not in str(error.value)
    assert LOCK.read_bytes() == before


def test_a_pin_needs_no_lock(here):
    held("x", here / "file", pinned=file_sha256(here / "file"))
    with pytest.raises(ValueError, match="is pinned in the code"):
        held("x", here / "file", pinned="0" * 64)
    assert not LOCK.exists()


def test_the_first_revision_stays():
    assert revision("data", "aaa") == "aaa"
    assert revision("data", "bbb") == "aaa"


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', ""])
def test_a_broken_lock_file_trusts_nothing(here, text):
    LOCK.write_text(text)
    with pytest.raises(ValueError, match="not a readable lock file"):
        held("hub:a/b", here / "file")


def test_two_processes_record_both(here):
    code = "from vptcore.downloads import held; from pathlib import Path; import sys; held(sys.argv[1], Path('file'))"
    environment = os.environ | {"PYTHONPATH": str(Path(vptcore.__file__).parents[1])}
    words = [[sys.executable, "-c", code, f"n{i}"] for i in range(4)]
    running = [subprocess.Popen(each, env=environment, stderr=subprocess.DEVNULL) for each in words]
    assert [process.wait() for process in running] == [0] * 4
    assert sorted(json.loads(LOCK.read_text())) == ["n0", "n1", "n2", "n3"]
