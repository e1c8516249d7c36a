"""Files and folders that this person may not read: each is one line that names it, before any job.

Root reads everything, so for root the commands run without that capability.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.vptcore.data.layouts import make_folder
from vptcore.data.arrays import prepare

UNPRIVILEGED = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
pytestmark = pytest.mark.skipif(
    bool(UNPRIVILEGED) and not shutil.which("setpriv"), reason="root reads everything, and setpriv is not here"
)
CELLS = {"backbones": ["vit_mini_cifar10"], "tasks": ["own"], "methods": ["linear"], "train": ["train"]}
BASE = {"study": "s", "fid": False, "base_train": "train", "experiments": {"e": CELLS}}
# What is unreadable: the task of the config, and the words of the line.
CASES = {
    "folder/a": ({"source": "folder", "path": "folder"}, "folder a cannot be read (Permission denied)"),
    "list.csv": ({"source": "csv", "path": "list.csv", "classes": 2}, "tasks.own: cannot be read (Permission denied)"),
    "t.parquet": ({"source": "parquet", "path": "t.parquet", "classes": 2}, "not a readable parquet file"),
    "hf/train.parquet": ({"source": "hf", "path": "hf", "classes": 2}, "hf/train.parquet: not a readable parquet file"),
    "told.csv": ({"source": "folder", "path": "folder", "splits": "told.csv"}, "tasks.own.splits: told.csv: not a "),
    "study.yaml": ({"source": "folder", "path": "folder"}, "study.yaml"),
}


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_folder(Path("folder"), {"a": 6, "b": 6})
    Path("list.csv").write_text(
        "path,label\n" + "".join(f"folder/{kind}/{i}.png,{kind}\n" for kind in "ab" for i in "01")
    )
    Path("told.csv").write_text("key,split\n")
    Path("hf").mkdir()
    for name in ("t.parquet", "hf/train.parquet"):
        pq.write_table(pa.table({"image": [b"x"] * 4, "label": [0, 1, 0, 1]}), name)
    return tmp_path


def said_by(*words: str) -> tuple[int, str]:
    """(status, all that a command says) of one without root's right to read everything."""
    done = subprocess.run([*UNPRIVILEGED, sys.executable, *words], capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_what_cannot_be_read_is_one_line_of_check(here, name):
    task, words = CASES[name]
    Path("study.yaml").write_text(yaml.safe_dump(BASE | {"tasks": {"own": task}}))
    Path(name).chmod(0)
    try:
        status, said = said_by("-m", "vptstudy.cli.main", "check", "study.yaml")
    finally:
        Path(name).chmod(0o755)
    assert status in (1, 2)
    (line,) = [line for line in said.splitlines() if line.startswith(("vptcore check: ", "  cannot run "))]
    assert words in line


PREPARE = """
import sys
from vptcore.data.arrays import prepare
job = {"version": 1, "task": "own", "source": "folder", "path": "folder", "classes": 2, "size": 32, "max_pool": 99,
       "seed": 0, "resize": "bilinear", "signature": "", "workers": 1}
job |= {"on_bad_image": "skip"} if sys.argv[1:] else {}
try:
    print(prepare(job, "out/images.npy", "out/rows.parquet"))
except ValueError as error:
    raise SystemExit(str(error))
"""


def test_an_image_that_cannot_be_read_is_a_bad_image(here):
    Path("folder/a/3.png").chmod(0)
    status, said = said_by("-c", PREPARE)
    assert status == 1
    assert said.strip() == (
        "folder: image a/3.png cannot be decoded (folder/a/3.png cannot be read: Permission denied); replace it, take "
        "it out, or set tasks.own.on_bad_image: skip"
    )
    status, said = said_by("-c", PREPARE, "skip")
    assert status == 0, said
    assert "1 bad image skipped (a/3.png)" in said


def test_an_image_that_would_fill_the_memory_is_a_bad_image(here):
    """A PNG of 60,000 x 60,000 pixels in its header and none behind it."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    rest = chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    Path("folder/a/9.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rest)
    job = {"version": 1, "task": "own", "source": "folder", "path": "folder", "classes": 2, "size": 32, "max_pool": 99}
    job |= {"seed": 0, "resize": "bilinear", "signature": "", "workers": 1}
    with pytest.raises(
        ValueError, match=r"^folder: image a/9\.png cannot be decoded \(Image size \(3600000000 pixels\)"
    ):
        prepare(job, "out/images.npy", "out/rows.parquet")
