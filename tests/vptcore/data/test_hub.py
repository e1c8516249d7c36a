"""Fetching against a small server that speaks the Hub's protocol, and the list of what is there."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from tests.vptcore.data.archive_layouts import make_svhn
from tests.vptcore.data.layouts import add_member, make_folder, make_parquet, make_vtab1k, make_wds
from vptcore.data.arrays import prepare
from vptcore.data.hub import fetch, listing
from vptcore.data.item import Request
from vptcore.data.readers import wds
from vptcore.data.sources import open_source
from vptcore.data.tasks import TASKS, Task
from vptstudy.cli.main import main

COMMIT = "a" * 40
ROOT = Path(__file__).parents[3]


@contextmanager
def hub(
    files: Path,
    cut: dict[str, int] | None = None,
    refuse: frozenset | set = frozenset(),
    spoil: frozenset | set = frozenset(),
    cut_after: int = 1000,
):
    """Serve a folder as the newest commit of any data set; yields the address and the list of paths that were sent.

    The first `cut[path]` answers for a path end after `cut_after` bytes; a path in `refuse` is answered with 403; of
    one in `spoil` a byte changes on its way. As on the Hub, tar files lie in Git LFS and others in Git.
    """
    cuts = dict(cut or {})
    names = sorted(path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file())
    sent: list[str] = []

    def listed(name: str) -> dict:
        data = (files / name).read_bytes()
        in_lfs = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
        blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
        return {"rfilename": name, "size": len(data), "blobId": blob} | (
            {"lfs": in_lfs} if name.endswith(".tar") else {}
        )

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
                siblings = [listed(name) for name in names]
                body = json.dumps({"id": "x/y", "sha": COMMIT, "siblings": siblings}).encode()
            else:
                body = (files / name).read_bytes()
                as_listed = listed(name)
                headers["ETag"] = f'"{as_listed["lfs"]["sha256"] if "lfs" in as_listed else as_listed["blobId"]}"'
                if name in spoil:
                    body = body[:-1] + bytes([body[-1] ^ 1])
            start = 0
            if found and self.command == "GET" and (asked := self.headers.get("Range")):
                start = int(asked.removeprefix("bytes=").split("-")[0])
                headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
                body = body[start:]
            refused = name in refuse and self.command == "GET"
            self.send_response(403 if refused else 206 if start else 200)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "GET":
                sent.append(f"{name} from {start}" if start else name)
                if cuts.get(name, 0) > 0:
                    cuts[name] -= 1
                    self.wfile.write(body[:cut_after])
                    self.close_connection = True
                else:
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


WIRE = ["train/0.tar", "train/1.tar", "test/0.tar"]


def small(tmp_path: Path) -> tuple[Path, Task]:
    served = make_wds(tmp_path / "served", {"train": [0, 1, 2, 0, 1], "test": [2, 1]})
    return served, Task("mine", "Mine", "natural", 3, 5, 2, "wds", "clip-benchmark/wds_mine")


def test_a_cut_answer_is_asked_for_again_within_the_call(tmp_path, monkeypatch):
    served, task = small(tmp_path)
    monkeypatch.chdir(tmp_path)
    with hub(served, cut={"train/0.tar": 1}) as (address, sent):
        folder = fetch(task, tmp_path / "data", address)
        # huggingface_hub goes on from its last whole piece of 10 MB; a smaller file is begun again.
        assert [name for name in sent if name.startswith("train/0.tar")] == ["train/0.tar", "train/0.tar"]
    for name in WIRE:
        assert (folder / name).read_bytes() == (served / name).read_bytes()


def test_a_cut_answer_goes_on_from_its_last_whole_piece(tmp_path, monkeypatch):
    served, task = small(tmp_path)
    with tarfile.open(served / "train/0.tar", "a") as tar:
        add_member(tar, "s0000009.txt", np.random.default_rng(0).bytes(24_000_000))
    monkeypatch.chdir(tmp_path)
    with hub(served, cut={"train/0.tar": 1}, cut_after=13_000_000) as (address, sent):
        folder = fetch(task, tmp_path / "data", address)
        asked = [name for name in sent if name.startswith("train/0.tar")]
    assert asked == ["train/0.tar", f"train/0.tar from {10 * 2**20}"]
    assert (folder / "train/0.tar").read_bytes() == (served / "train/0.tar").read_bytes()


def test_after_a_failed_fetch_whole_files_stay_and_the_others_are_fetched(tmp_path, monkeypatch):
    served, task = small(tmp_path)
    monkeypatch.chdir(tmp_path)
    with hub(served) as (address, sent):
        folder = fetch(task, tmp_path / "data", address)
    (folder / "train/1.tar").unlink()
    with hub(served, refuse={"train/1.tar"}) as (address, sent):
        assert "try again, whole files are kept" in fetch_fails(task, tmp_path / "data", address)
    assert not (folder / "train/1.tar").exists()
    with hub(served) as (address, sent):
        fetch(task, tmp_path / "data", address)
        assert [name for name in sent if name] == ["train/1.tar"]
    for name in WIRE:
        assert (folder / name).read_bytes() == (served / name).read_bytes()
    assert not list(folder.rglob("*.incomplete"))


@pytest.mark.parametrize("name", ["train/1.tar", "classnames.txt"])
def test_a_file_with_a_wrong_checksum_is_one_line_and_removed(tmp_path, monkeypatch, name):
    served, task = small(tmp_path)
    monkeypatch.chdir(tmp_path)
    with hub(served, spoil={name}) as (address, _):
        message = fetch_fails(task, tmp_path / "data", address)
    folder = tmp_path / "data" / "mine"
    assert f"({name} came as " in message
    assert "where the Hub lists" in message
    assert "try again" in message
    assert not (folder / name).exists()
    with hub(served) as (address, sent):
        fetch(task, tmp_path / "data", address)
        assert [path for path in sent if path] == [name]
    assert (folder / name).read_bytes() == (served / name).read_bytes()


def test_a_file_that_changed_on_disk_is_fetched_again(tmp_path, monkeypatch):
    served, task = small(tmp_path)
    monkeypatch.chdir(tmp_path)
    with hub(served) as (address, _):
        folder = fetch(task, tmp_path / "data", address)
        whole, path = (served / "test/0.tar").read_bytes(), folder / "test/0.tar"
        seen = path.stat()
        path.write_bytes(whole[:-1] + b"x")
        os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
        assert "test/0.tar came as " in fetch_fails(task, tmp_path / "data", address)
        fetch(task, tmp_path / "data", address)
    assert path.read_bytes() == whole


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
        "eurosat": ("wds", True, 2), "sun397": ("vtab1k", True, 9), "cub200": ("fgvc", False, None),
        "dtd": ("parquet", True, 5), "svhn": ("wds", False, None), "digits": ("sklearn_digits", True, 1797),
        "fashion_mnist": ("embedded_parquet", True, 3000),
    }  # fmt: skip
    assert rows["eurosat"]["bytes"] == sum(p.stat().st_size for p in (tmp_path / "eurosat").rglob("*") if p.is_file())
    assert "one class alone (a)" in rows["cub200"]["where"]
    assert rows["dtd"]["where"] == str(tmp_path / "my.parquet")
    assert "vptcore data fetch svhn" in rows["svhn"]["where"]
    assert rows["svhn"]["licence"] == "non-commercial"
    assert {tuple(row) for row in rows.values()} == {tuple(rows["svhn"])}


@pytest.mark.parametrize(("train", "per_shard"), [(7, 3), (6, 3), (1, 1), (2, 9)])
def test_shards_are_counted_by_their_keys(tmp_path, monkeypatch, train, per_shard):
    root = make_wds(tmp_path / "t", {"train": [0] * train, "test": [0]}, per_shard=per_shard)
    gone_through = []
    monkeypatch.setattr(wds, "samples", gone_through.append)
    assert (wds.count(root / "train"), wds.count(root / "test")) == (train, 1)
    assert gone_through == []


def test_shards_whose_keys_do_not_run_on_are_counted_one_by_one(tmp_path):
    root = make_wds(tmp_path / "t", {"train": [0] * 5, "test": [0]}, per_shard=2)
    first, last = root / "train" / "0.tar", root / "train" / "2.tar"
    kept = first.read_bytes()
    first.write_bytes(last.read_bytes())
    last.write_bytes(kept)
    assert wds.count(root / "train") == 5


def test_what_cannot_be_counted_says_why(tmp_path):
    root = make_wds(tmp_path / "eurosat", {"train": [0] * 5, "test": [0]})
    (root / "train" / "1.tar").write_bytes(b"")
    (row,) = listing([TASKS["eurosat"]], {}, tmp_path)
    assert (row["found"], row["rows"]) == (True, None)
    assert row["unknown"].startswith(f"{root / 'train' / '1.tar'}: not a ")


def test_the_list_says_yes_only_where_the_reader_would_read(tmp_path):
    (tmp_path / "dtd.parquet").write_bytes(b"")
    make_folder(tmp_path / "eurosat", {"a": 2, "b": 2, "c": 2})
    settings = {"dtd": {"source": "parquet"}, "eurosat": {"source": "folder"}}
    rows = {row["task"]: row for row in listing([TASKS["dtd"], TASKS["eurosat"]], settings, tmp_path)}
    assert not any(row["found"] for row in rows.values())
    assert "not a readable parquet file" in rows["dtd"]["where"]
    assert "found 3 classes (a, b, c, ...), expected 10 for eurosat" in rows["eurosat"]["where"]


def test_archives_are_counted_by_the_index_that_was_made_of_them(tmp_path):
    # Of 12, `original` takes 10 for train and 2 for val.
    make_svhn(tmp_path / "svhn", {"train": 12, "test": 10})
    index = tmp_path / "results/index/task=svhn/rows.parquet"
    job = {"task": "svhn", "source": "original", "path": str(tmp_path / "svhn"), "classes": 10, "size": 32, "seed": 0}

    def counted(settings=None):
        more = {"svhn": {"source": "original", **(settings or {})}}
        (row,) = listing([TASKS["svhn"]], more, tmp_path, tmp_path / "results")
        return row["rows"], row["unknown"]

    assert counted() == (None, "counted when they are prepared")
    prepare(job | {"max_pool": 25_000}, tmp_path / "images.npy", index)
    assert counted() == (22, "")
    make_svhn(tmp_path / "elsewhere", {"train": 12, "test": 10})
    assert counted({"path": str(tmp_path / "elsewhere")}) == (None, "counted when they are prepared")
    prepare(job | {"max_pool": 3}, tmp_path / "images.npy", index)
    assert counted() == (None, "at least 15: preparation kept no more train images")


def test_the_list_prints_a_question_mark_and_why(tmp_path, capsys):
    root = make_wds(tmp_path / "data/eurosat", {"train": [0] * 5, "test": [0]})
    config = tmp_path / "config.yaml"
    demo = (ROOT / "profiles/demo/study.yaml").read_text()
    config.write_text(demo.replace("data_root: data", f"data_root: {tmp_path / 'data'}"))
    assert main(["data", "list", "eurosat", "--config", str(config)]) == 0
    assert " 6 " in capsys.readouterr().out
    (root / "test" / "0.tar").write_bytes(b"")
    assert main(["data", "list", "eurosat", "--config", str(config)]) == 0
    out = capsys.readouterr().out
    assert " ? " in out
    assert f"?: eurosat: {root / 'test' / '0.tar'}: not a whole tar file" in out


def test_the_list_of_a_whole_study_says_briefly_what_can_be_fetched(tmp_path, capsys):
    paper = (ROOT / "config.yaml").read_text()
    config = tmp_path / "config.yaml"
    config.write_text(paper.replace("data_root: data", f"data_root: {tmp_path / 'data'}"))
    assert main(["data", "list", "--config", str(config)]) == 0
    fetched, by_hand, more = capsys.readouterr().out.splitlines()[-3:]
    assert fetched.startswith("missing, `vptcore data fetch` gets them: cifar100, ")
    assert fetched.count(",") == 18
    assert by_hand == (
        "missing, put them there yourself: sun397, cub200, nabirds, oxford_flowers, stanford_dogs, stanford_cars"
    )
    assert more == "`vptcore data list TASK` says what to put where"
    assert main(["data", "list", "sun397", "--config", str(config)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("missing: sun397: no train800.txt found in ")
