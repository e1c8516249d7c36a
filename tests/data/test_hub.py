"""Fetching against a small server that speaks the Hub's protocol, and the list of what is there."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.data.layouts import make_folder, make_parquet, make_vtab1k, make_wds
from vptcore.data.hub import fetch, listing
from vptcore.data.sources import Request, open_source
from vptcore.data.tasks import TASKS, Task

COMMIT = "a" * 40


@contextmanager
def hub(files: Path):
    """Serve a folder as the newest commit of any data set; yields the address and the list of paths that were sent."""
    names = sorted(path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file())
    sent: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.do_GET()

        def do_GET(self):
            _, found, name = self.path.partition(f"/resolve/{COMMIT}/")
            headers = {"X-Repo-Commit": COMMIT}
            if "/tree/" in self.path:
                sizes = {name: (files / name).stat().st_size for name in names}
                body = json.dumps([{"type": "file", "path": n, "size": s, "oid": "0" * 40} for n, s in sizes.items()])
                body = body.encode()
            elif not found:
                siblings = [{"rfilename": name} for name in names]
                body = json.dumps({"id": "x/y", "sha": COMMIT, "siblings": siblings}).encode()
            else:
                body = (files / name).read_bytes()
                headers["ETag"] = f'"{hashlib.sha1(body).hexdigest()}"'
            self.send_response(200)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                sent.append(name)
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", sent
    finally:
        server.shutdown()
        server.server_close()


def test_fetch_brings_the_shards_once(tmp_path):
    served = make_wds(tmp_path / "served", {"train": [0, 1, 2, 0, 1], "test": [2, 1]})
    (served / "README.md").write_text("not needed")
    task = Task("mine", "Mine", "natural", 3, 5, 2, "wds", "clip-benchmark/wds_mine")
    with hub(served) as (address, sent):
        folder = fetch(task, tmp_path / "data", address)
        assert folder == tmp_path / "data" / "mine"
        shards = {"train/0.tar", "train/1.tar", "test/0.tar", "train/nshards.txt", "test/nshards.txt", "classnames.txt"}
        assert {name for name in sent if name} == shards
        sent.clear()
        fetch(task, tmp_path / "data", address)
        assert not [name for name in sent if name]
    items = list(open_source("wds", Request("mine", 3, folder)).items)
    assert [i.label for i in items] == [0, 1, 2, 0, 1, 2, 1]


def fetch_fails(task: Task, root: Path, endpoint: str | None = None) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the callers hold the message
        fetch(task, root, endpoint)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_fetch_without_network_says_what_to_put_where(tmp_path):
    message = fetch_fails(TASKS["eurosat"], tmp_path, "http://127.0.0.1:9")
    assert "https://huggingface.co/datasets/clip-benchmark/wds_vtab-eurosat" in message
    assert f"put into {tmp_path / 'eurosat'}" in message


def test_fetch_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    message = fetch_fails(TASKS["eurosat"], tmp_path)
    assert "huggingface_hub" in message
    assert str(tmp_path / "eurosat") in message


def test_fetch_of_what_no_repository_has(tmp_path):
    assert "train800.txt" in fetch_fails(TASKS["sun397"], tmp_path)
    assert "class" in fetch_fails(TASKS["cub200"], tmp_path)
    assert "nothing to fetch" in fetch_fails(TASKS["digits"], tmp_path)


def test_listing(tmp_path):
    make_wds(tmp_path / "eurosat", {"train": [0], "test": [0]})
    make_vtab1k(tmp_path / "noah", {"train800": 4, "val200": 2, "test": 3})
    make_folder(tmp_path / "cub200", {"train/a": 2, "test/a": 1})
    make_parquet(tmp_path / "my.parquet", {"image": [b"x"] * 5, "label": [0] * 5})
    settings = {
        "sun397": {"path": str(tmp_path / "noah")},
        "dtd": {"source": "parquet", "path": str(tmp_path / "my.parquet")},
    }
    tasks = [TASKS[id] for id in ("eurosat", "sun397", "cub200", "dtd", "svhn", "digits", "fashion_mnist")]
    rows = {row["task"]: row for row in listing(tasks, settings, tmp_path)}
    assert list(rows) == [task.id for task in tasks]
    found = {name: (row["source"], row["found"], row["rows"]) for name, row in rows.items()}
    assert found == {
        "eurosat": ("wds", True, None), "sun397": ("vtab1k", True, 9), "cub200": ("fgvc", True, 3),
        "dtd": ("parquet", True, 5), "svhn": ("wds", False, None), "digits": ("sklearn_digits", True, 1797),
        "fashion_mnist": ("embedded_parquet", True, 3000),
    }  # fmt: skip
    assert rows["eurosat"]["bytes"] == sum(p.stat().st_size for p in (tmp_path / "eurosat").rglob("*") if p.is_file())
    assert rows["dtd"]["where"] == str(tmp_path / "my.parquet")
    assert "vptcore data fetch svhn" in rows["svhn"]["where"]
    assert rows["svhn"]["licence"] == "non-commercial"
    assert {tuple(row) for row in rows.values()} == {tuple(rows["svhn"])}
