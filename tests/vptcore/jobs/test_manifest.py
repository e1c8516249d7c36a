"""What a job writes down of its files, and by what an input is known: by what it holds, whatever its time says."""

import hashlib
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from vptcore.jobs import manifest
from vptcore.records import file_sha256, read_provenance, rows_hash, write_rows

CURVE = {"seed": 1, "epoch": 1, "lr": 0.5, "train_loss": 1.0, "train_accuracy": 0.5}
CURVE |= {"test_loss": None, "test_accuracy": None}


@pytest.fixture
def counted(monkeypatch):
    """The bytes that are read of each file, by name, in whole or in blocks."""
    read: dict[str, int] = {}
    whole, blocks = manifest.file_sha256, manifest.blocks_hash

    def count(path, function, most):
        read[os.path.basename(path)] = read.get(os.path.basename(path), 0) + min(os.stat(path).st_size, most)
        return function(path)

    monkeypatch.setattr(manifest, "file_sha256", lambda path: count(path, whole, 2**60))
    monkeypatch.setattr(manifest, "blocks_hash", lambda path: count(path, blocks, 64 * 65536))
    manifest._identity.cache_clear()
    return read


def prepared(root, seed: int = 0, size: int = 20_000_000):
    """A task's array and index, with the record of the job that made them."""
    array, index = root / "data/task=t/images.npy", root / "index/task=t/rows.parquet"
    array.parent.mkdir(parents=True, exist_ok=True)
    record = manifest.Record({"task": "t"}, [], [str(array), str(index)])
    array.write_bytes(np.random.default_rng(seed).bytes(size))
    write_rows(index.parent / "rows.parquet", "splits", [{"part": "train", "row": seed}], {})
    record.finish()
    return array, index


def test_an_array_is_hashed_once_and_then_known_by_its_record(tmp_path, counted):
    array, _ = prepared(tmp_path)
    assert counted["images.npy"] == 20_000_000 + 64 * 65536
    os.utime(array)  # as Snakemake does after every job
    counted.clear()
    assert manifest.identity(array) == hashlib.sha256(array.read_bytes()).hexdigest()
    assert manifest.identity(array)
    assert counted == {"images.npy": 64 * 65536}, "a sample, once in a process"


def test_another_array_of_the_same_size_is_seen(tmp_path):
    array, _ = prepared(tmp_path)
    first, state = manifest.identity(array), os.stat(array)
    array.write_bytes(np.random.default_rng(1).bytes(20_000_000))
    os.utime(array, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    assert manifest.identity(array) == file_sha256(array) != first


def test_rows_are_known_by_their_values(tmp_path):
    paths = [tmp_path / f"task={name}/rows.parquet" for name in "abc"]
    write_rows(paths[0], "curves", [CURVE], {"host": "one", "seconds": 3})
    write_rows(paths[1], "curves", [CURVE], {"host": "two", "seconds": 4})
    write_rows(paths[2], "curves", [CURVE | {"lr": 0.25}], {"host": "one", "seconds": 3})
    same, again, other = (manifest.identity(path) for path in paths)
    assert same == again != other
    assert file_sha256(paths[0]) != file_sha256(paths[1])
    write_rows(paths[1], "curves", [CURVE], {"substitutes": ["not the benchmark's split"]})
    assert manifest.identity(paths[1]) != same


TABLE = {
    "i": pa.array([1, None, 3], pa.int32()),
    "f": pa.array([0.5, float("nan"), None]),
    "s": pa.array(["a", "", None]),
    "l": pa.array([[1.0], [], [2.0, 3.0]], pa.list_(pa.float32())),
    "b": pa.array([True, None, False]),
    "x": pa.array([b"1", b"", b"23"]),
}


def test_every_value_counts_and_the_way_it_is_stored_does_not():
    table = pa.table(TABLE)
    whole = rows_hash(table)
    chunks = pa.concat_tables([table.slice(0, 1), table.slice(1)])
    assert rows_hash(chunks) == whole
    changed = [
        TABLE | {"i": pa.array([1, 0, 3], pa.int32())},
        TABLE | {"f": pa.array([0.5, 0.0, None])},
        TABLE | {"s": pa.array(["", "a", None])},
        TABLE | {"l": pa.array([[1.0], [2.0], [3.0]], pa.list_(pa.float32()))},
        TABLE | {"b": pa.array([True, False, False])},
        TABLE | {"x": pa.array([b"12", b"", b"3"])},
    ]
    assert len({whole, *(rows_hash(pa.table(columns)) for columns in changed)}) == 1 + len(changed)


def test_the_hash_is_that_of_the_rows_read_again(tmp_path):
    path = tmp_path / "rows.parquet"
    frame = pd.DataFrame([CURVE, CURVE | {"epoch": 2, "test_loss": 1.5}])
    write_rows(path, "curves", frame, {})
    import pyarrow.parquet as pq

    assert rows_hash(pq.read_table(path)) == read_provenance(path)["rows"]


def test_a_job_whose_files_are_there_has_nothing_to_do(tmp_path):
    array, index = prepared(tmp_path)
    out = tmp_path / "splits/task=t/train=1/rows.parquet"

    def record(job=None):
        return manifest.Record(job or {"seed": 1}, [str(index), str(array)], [str(out)])

    first = record()
    assert not first.is_made()
    write_rows(out, "splits", [{"part": "train", "row": 1}], {})
    first.finish()
    for path in (array, index, out):
        os.utime(path)
    assert record().is_made()
    assert not record({"seed": 2}).is_made()
    prepared(tmp_path, seed=1)
    assert not record().is_made()
    prepared(tmp_path)
    assert record().is_made(), "the same images again"
    write_rows(out, "splits", [{"part": "test", "row": 1}], {})
    assert not record().is_made()
    out.unlink()
    assert not record().is_made()
