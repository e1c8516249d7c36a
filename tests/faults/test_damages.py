"""Every damage really damages, says where, keeps the file's time, comes again for the same seed, and can be undone."""

import random

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.numpy import save_file

from faults.compare import files_of
from faults.damages import DAMAGES, TASKS, inflict
from faults.small import Trial, small_config
from vptcore.records import KINDS, read_rows, write_rows

CELL = "backbone=vit_mini_cifar10/method=vpt/task={task}/train=40"


def made_up(kind: str, rows: int) -> list[dict]:
    """Rows of a kind with columns that differ from row to row."""
    return [{field.name: value_of(str(field.type), i) for field in KINDS[kind]} for i in range(rows)]


def value_of(name: str, i: int):
    if name.startswith("list"):
        return [i]
    return {"string": str(i), "bool": bool(i % 2)}.get(name, i)


@pytest.fixture
def trial(tmp_path):
    """A folder like a study's: two tasks, rows of every damaged kind, arrays, models, a table."""
    trial = Trial(tmp_path)
    root = trial.root
    (tmp_path / "results").mkdir()
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(small_config()))
    for number, task in enumerate(TASKS):
        for kind in ("search", "final", "curves", "predictions"):
            rows = made_up(kind, 4)
            for i, row in enumerate(rows):
                row["seed"] = 1 + i // 2
            write_rows(root / kind / CELL.format(task=task) / "rows.parquet", kind, rows, {"task": task})
        write_rows(root / f"splits/task={task}/train=40/rows.parquet", "splits", made_up("splits", 3 + number), {})
        (root / f"data/task={task}").mkdir(parents=True)
        np.save(root / f"data/task={task}/images.npy", np.full((3, 2, 2, 1), number, dtype=np.uint8))
        (root / "models" / CELL.format(task=task)).mkdir(parents=True)
        for seed in (1, 2):
            state = {"a": np.array([seed, number], dtype=np.float32)}
            save_file(state, root / "models" / CELL.format(task=task) / f"seed={seed}.safetensors")
    (root / "tables").mkdir()
    (root / "tables/table_01.csv").write_text("method,mean\nvpt,71.2\nfull,\n")
    (root / "tables/table_significance.csv").write_text("method,none,seeds\nvpt,,5\nfull,,\n")
    return trial


def contents(trial):
    held = {name: (trial.root / name).read_bytes() for name in files_of(trial.root)}
    return held | {"study.yaml": (trial.folder / "study.yaml").read_bytes()}


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("seed", range(4))
def test_a_damage_damages_the_files_it_names_and_can_be_undone(trial, kind, seed):
    before, times = contents(trial), {p: p.stat().st_mtime_ns for p in trial.root.rglob("*") if p.is_file()}
    damage = inflict(kind, trial.root, random.Random(seed))
    after = contents(trial)
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed == {name.removeprefix("../../") for name in damage.files}
    assert changed
    assert damage.what
    assert set(after) == set(before)
    assert times == {p: p.stat().st_mtime_ns for p in times}
    damage.undo()
    assert contents(trial) == before


@pytest.mark.parametrize("kind", DAMAGES)
def test_damages_come_again(trial, kind):
    first = inflict(kind, trial.root, random.Random(7))
    held = contents(trial)
    first.undo()
    again = inflict(kind, trial.root, random.Random(7))
    assert (again.what, again.files) == (first.what, first.files)
    assert contents(trial).keys() == held.keys()


def test_a_bit_is_one_bit(trial):
    before = contents(trial)
    damage = inflict("a bit flipped", trial.root, random.Random(1))
    ours, theirs = (np.frombuffer(held[damage.files[0]], np.uint8) for held in (before, contents(trial)))
    assert int(np.unpackbits(ours ^ theirs).sum()) == 1


def test_the_careful_editor_leaves_readable_rows(trial):
    for kind in ("a seed twice", "an accuracy edited"):
        for seed in range(6):
            damage = inflict(kind, trial.root, random.Random(seed))
            if damage.files[0].endswith(".parquet"):
                rows = read_rows(trial.root / damage.files[0], damage.files[0].split("/")[0])
                assert len(rows) == 4
                assert kind != "a seed twice" or rows["seed"].nunique() == 1
            damage.undo()


def test_numbers_of_every_table_are_edited(trial):
    edited = {}
    for seed in range(60):
        damage = inflict("an accuracy edited", trial.root, random.Random(seed))
        edited[damage.files[0]] = damage.what.split()[1]
        damage.undo()
    assert edited["tables/table_01.csv"] == "mean"
    assert edited["tables/table_significance.csv"] == "seeds"


def test_an_image_differs_in_one_pixel(trial):
    damage = inflict("an image changed", trial.root, random.Random(0))
    now = np.load(trial.root / damage.files[0])
    assert int((now != np.median(now)).sum()) == 1


def test_what_the_audit_says_is_read(trial, monkeypatch):
    """A damage counts as found only in its own file, and with exit code 1."""
    from faults import audits

    damage = inflict("truncated", trial.root, random.Random(3))
    name = damage.files[0]

    def said(status, state, file=name):
        findings = [{"check": "readable", "text": "t", "wrong": state == "wrong"}]
        return lambda *_: (status, {"files": [{"file": file, "state": state, "findings": findings}]})

    for answer, problems in (
        (said(1, "wrong"), []),
        (said(0, "wrong"), ["exit code 0"]),
        (said(1, "right"), [f"{name} passes"]),
        (said(1, "wrong", "tables/table_09.csv"), [f"{name} passes"]),
    ):
        monkeypatch.setattr(audits, "audit", answer)
        assert audits.not_found(damage, trial) == problems
    assert audits.alarms(trial) == ["tables/table_09.csv: t"]


def test_frames_survive_the_editor(trial):
    """The untouched columns of an edited file are what they were, to the bit."""
    damage = inflict("a seed twice", trial.root, random.Random(2))
    path = trial.root / damage.files[0]
    edited = read_rows(path, path.relative_to(trial.root).parts[0])
    damage.undo()
    original = read_rows(path, path.relative_to(trial.root).parts[0])
    pd.testing.assert_frame_equal(edited.iloc[:2], original.iloc[:2])
