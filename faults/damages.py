"""Ten ways to damage a finished study, each at a random place.

In: a study's result folder and a random generator. Out: a `Damage`: which files were changed, and how. A damage keeps
a file's time of change, as a failing disk does and an editor does not: the audit must not lean on it. `undo` puts
everything back.

    python -m pytest tests/faults/test_damages.py
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from vptcore.records import METADATA_KEY, replacing

RESULTS = (
    "index", "splits", "fid", "search", "final", "curves", "predictions", "explain",
    "data", "models", "features", "tables", "figures", "report",
)  # fmt: skip
# Of these kinds the small study has one file a task, and both could be read in each other's place.
OF_TWO_TASKS = ("index", "splits", "fid", "search", "final", "curves", "predictions", "data", "models", "features")
TASKS = ("digits", "shapes_count")


@dataclass
class Damage:
    """What was done to which files (names inside the study, or the config's); `before` is what they held."""

    kind: str
    what: str = ""
    files: list[str] = field(default_factory=list)
    before: dict[Path, tuple[bytes, os.stat_result]] = field(default_factory=dict)

    def touch(self, root: Path, name: str) -> Path:
        """Keep a file as it is now and count it among the damaged."""
        path = root / name
        self.files.append(name)
        self.before[path] = path.read_bytes(), path.stat()
        return path

    def keep_times(self) -> None:
        for path, (_, state) in self.before.items():
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))

    def undo(self) -> None:
        for path, (content, state) in self.before.items():
            path.write_bytes(content)
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def results(root: Path, suffixes: tuple[str, ...] = (), folders: tuple[str, ...] = RESULTS) -> list[str]:
    """Names of the files below the folders that hold results, in an order of their own."""
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return [n for n in names if n.split("/")[0] in folders and (not suffixes or n.endswith(suffixes))]


def any_result(root: Path, rng: random.Random) -> str:
    """A file of a folder drawn first: otherwise most damages would fall on the many pictures."""
    folders = sorted({name.split("/")[0] for name in results(root)})
    return rng.choice(results(root, folders=(rng.choice(folders),)))


def bit_flip(root: Path, rng: random.Random, damage: Damage) -> None:
    path = damage.touch(root, any_result(root, rng))
    content = bytearray(path.read_bytes())
    place, bit = rng.randrange(len(content)), rng.randrange(8)
    content[place] ^= 1 << bit
    path.write_bytes(content)
    damage.what = f"bit {bit} of byte {place}"


def truncation(root: Path, rng: random.Random, damage: Damage) -> None:
    path = damage.touch(root, any_result(root, rng))
    content = path.read_bytes()
    length = rng.randrange(1, len(content))
    path.write_bytes(content[:length])
    damage.what = f"the first {length} of {len(content)} bytes"


def empty_file(root: Path, rng: random.Random, damage: Damage) -> None:
    damage.touch(root, any_result(root, rng)).write_bytes(b"")
    damage.what = "emptied"


def foreign_schema(root: Path, rng: random.Random, damage: Damage) -> None:
    """Readable parquet with the right note, but a column renamed, left out, or of another type."""
    path = damage.touch(root, rng.choice(results(root, (".parquet",))))
    table = pq.read_table(path, partitioning=None)
    column = rng.randrange(table.num_columns)
    name = table.column_names[column]
    match rng.choice(("renamed", "left out", "as text")):
        case "renamed":
            changed = table.rename_columns([f"{c}_" if c == name else c for c in table.column_names])
        case "left out":
            changed = table.remove_column(column)
        case _:
            texts = pa.array([str(value) + " " for value in table[name].to_pylist()])
            changed = table.set_column(column, name, texts)
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)
    damage.what = f"column {name} changed"


def swapped_tasks(root: Path, rng: random.Random, damage: Damage) -> None:
    """A file of one task and its namesake of the other, each in the other's place."""
    pairs = [
        (name, other)
        for name in results(root, folders=OF_TWO_TASKS)
        if f"task={TASKS[0]}/" in name
        and (root / (other := name.replace(f"task={TASKS[0]}/", f"task={TASKS[1]}/"))).is_file()
    ]
    first, second = (damage.touch(root, name) for name in rng.choice(pairs))
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    damage.what = "in each other's place"


def stale_config(root: Path, rng: random.Random, damage: Damage) -> None:
    """The config has moved on since the files were made."""
    path = damage.touch(root, os.path.relpath(root.parents[1] / "study.yaml", root))
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    changes: dict[str, Callable[[], object]] = {
        "epochs": lambda: config.update(epochs=rng.randint(3, 50)),
        "seeds": lambda: config.update(seeds=[1, rng.randint(3, 99)]),
        "learning rate": lambda: config["methods"]["vpt"]["grid"].update(lr=[rng.uniform(1e-4, 0.9)]),
        "batch": lambda: config["methods"]["full"].update(batch=rng.randint(4, 19)),
        "split seed": lambda: config.update(split_seed=rng.randint(1, 99)),
        "prompt length": lambda: config["prompts"]["sets"]["demo"].update(default=rng.randint(3, 9)),
        "protocol": lambda: config.update(protocol="sound"),
        "bootstrap": lambda: config["fid"].update(bootstrap=rng.randint(11, 99)),
    }
    name = rng.choice(sorted(changes))
    changes[name]()
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    damage.what = f"another {name}"


def changed_image(root: Path, rng: random.Random, damage: Damage) -> None:
    """One pixel of one image that the study trains or scores on."""
    name = rng.choice(results(root, (".npy",), ("data",)))
    path = damage.touch(root, name)
    images = np.load(path)
    place = tuple(rng.randrange(size) for size in images.shape)
    images[place] ^= 1
    with open(path, "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": images.shape})
        file.write(images.tobytes())
    damage.what = f"image {place[0]}, one pixel by one step"


def duplicated_seed(root: Path, rng: random.Random, damage: Damage) -> None:
    """The first seed's rows once more in the place of the second's, under the old note."""
    path = damage.touch(root, rng.choice(results(root, (".parquet",), ("final", "curves", "predictions"))))

    def change(rows: pd.DataFrame) -> pd.DataFrame:
        first = rows[rows["seed"] == rows["seed"].iloc[0]]
        return pd.concat([first] * rows["seed"].nunique(), ignore_index=True)

    rewritten(path, change)
    damage.what = "the first seed twice"


def edited_accuracy(root: Path, rng: random.Random, damage: Damage) -> None:
    """A better number in rows, under the old note, or in a printed table."""
    name = rng.choice(results(root, (".parquet",), ("search", "final")) + results(root, (".csv",), ("tables",)))
    path, step = damage.touch(root, name), rng.choice((0.0001, 0.01, 0.2))
    if path.suffix == ".csv":
        frame = pd.read_csv(path)
        numbers = frame.select_dtypes("number").dropna(axis="columns", how="all")
        column = next(key for key in ("mean", "accuracy", *numbers) if key in numbers)
        frame = frame.astype({column: float})
        row = rng.choice(frame.index[frame[column].notna()].tolist())
        frame.loc[row, column] = frame.loc[row, column] + 100 * step
        frame.to_csv(path, index=False)
    else:
        column = "val_accuracy" if name.startswith("search") else "test_accuracy"

        def change(rows: pd.DataFrame) -> pd.DataFrame:
            return rows.assign(**{column: rows[column] + step * (rows.index == rng.randrange(len(rows)))})

        rewritten(path, change)
    damage.what = f"one {column} raised by {step}"


def wrong_checkpoint(root: Path, rng: random.Random, damage: Damage) -> None:
    """Another seed's, method's or task's tuned model under a right name."""
    models = results(root, (".safetensors",), ("models",))
    target = rng.choice(models)
    other = rng.choice([m for m in models if (root / m).read_bytes() != (root / target).read_bytes()])
    shutil.copyfile(root / other, damage.touch(root, target))
    damage.what = f"now a copy of {other}"


DAMAGES: dict[str, Callable[[Path, random.Random, Damage], None]] = {
    "a bit flipped": bit_flip,
    "truncated": truncation,
    "an empty file": empty_file,
    "foreign schema": foreign_schema,
    "files of two tasks swapped": swapped_tasks,
    "stale config": stale_config,
    "an image changed": changed_image,
    "a seed twice": duplicated_seed,
    "an accuracy edited": edited_accuracy,
    "a wrong checkpoint": wrong_checkpoint,
}


def inflict(kind: str, root: Path, rng: random.Random) -> Damage:
    """Damage the study in this way and return what was done."""
    damage = Damage(kind)
    DAMAGES[kind](root, rng, damage)
    if kind != "stale config":
        damage.keep_times()
    return damage


def rewritten(path: Path, change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Change the rows of a parquet file and keep its schema and note: what a careful editor would leave."""
    table = pq.read_table(path, partitioning=None)
    rows = change(table.replace_schema_metadata(None).to_pandas())
    changed = pa.Table.from_pandas(rows, schema=table.schema.remove_metadata(), preserve_index=False)
    note = {METADATA_KEY: table.schema.metadata[METADATA_KEY]}
    with replacing(path) as beside:
        pq.write_table(changed.replace_schema_metadata(note), beside, compression="zstd")
