"""The audit on a study that Snakemake made: nothing wrong with it as it is, and every damage found."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from tests.workflow.conftest import Study, tiny_config
from vptcore.records import KINDS, METADATA_KEY
from vptstudy.audit.asked import asked
from vptstudy.audit.examine import audit
from vptstudy.cli import main
from vptstudy.config.resolve import load_study
from vptstudy.config.schema import read_config

CELL = "backbone=vit_mini_cifar10/method={}/task={}/train={}"


def rows(kind: str, method="vpt", task="digits", train="40") -> str:
    return f"{kind}/{CELL.format(method, task, train)}/rows.parquet"


@pytest.fixture(scope="module")
def damaged(finished, tmp_path_factory) -> Study:
    """A copy of the tiny study for damages; each test puts back what it took."""
    folder = tmp_path_factory.mktemp("damaged") / "here"
    shutil.copytree(finished.folder, folder)
    return Study(folder, tiny_config())


def today(study: Study) -> dict:
    """The config as Snakemake reads it: the order of a file's experiments is the order of its cells."""
    return read_config(study.folder / "study.yaml")


class Damage:
    """Changes files of a study and puts them back, times included."""

    def __init__(self, study: Study):
        self.study, self.kept = study, {}

    def path(self, name: str) -> Path:
        path = self.study.root / name
        if path not in self.kept:
            self.kept[path] = (path.read_bytes(), path.stat()) if path.exists() else None
        return path

    def edit(self, name: str, change, metadata=None) -> None:
        """Change rows and metadata and write the file as if nothing had happened: same schema, same place."""
        path = self.path(name)
        table = pq.read_table(path, partitioning=None)
        note = json.loads(table.schema.metadata[METADATA_KEY])
        frame = change(table.to_pandas()) if change else table.to_pandas()
        note = metadata(note) if metadata else note
        from vptcore.records import write_rows

        write_rows(path, note.pop("kind"), frame, note)

    def restore(self) -> None:
        for path, kept in self.kept.items():
            if kept is None:
                path.unlink(missing_ok=True)
            else:
                path.write_bytes(kept[0])
                os.utime(path, ns=(kept[1].st_atime_ns, kept[1].st_mtime_ns))


@pytest.fixture
def damage(damaged):
    made = Damage(damaged)
    yield made
    made.restore()


def found(study: Study, *only: str, config=None, forget: bool = False, **how) -> set[tuple[str, str]]:
    """(file, check) of all that is wrong. `forget`: without the manifest, as on a study made before there was one."""
    manifest = study.root / "manifest"
    aside = manifest.with_name("manifest_aside")
    if forget:
        manifest.rename(aside)
    try:
        result = audit(load_study(config or today(study)), study.root, study.folder, "test", only=only, **how)
    finally:
        if forget:
            aside.rename(manifest)
    return {(report.file, finding.check) for report in result.reports for finding in report.wrong}


def test_a_clean_study_holds_and_every_file_is_looked_at(finished):
    result = audit(load_study(today(finished)), finished.root, finished.folder, "test", deep=True)
    assert [(r.file, r.findings) for r in result.reports if r.findings] == []
    assert result.holds
    assert not result.missing
    made = {
        n
        for f in ("data", "features", "models", "tables", "figures", "report", *KINDS)
        for n in finished.texts(f)
        if n[-10:] != "_timestamp"
    }
    assert {report.file for report in result.reports} == made


def test_a_clean_study_holds_without_its_manifest(damaged):
    assert found(damaged, forget=True) == set()


def test_every_job_has_a_record_of_what_it_made(finished):
    for job in asked(load_study(today(finished))):
        record = json.loads((finished.root / "manifest" / f"{job.files[0]}.json").read_text())
        assert set(record["outputs"]) == set(job.files)
        assert set(record["inputs"]) == set(job.reads)
        for name, entry in record["outputs"].items():
            assert entry["bytes"] == (finished.root / name).stat().st_size


FILES = [
    "data/task=digits/images.npy", "index/task=digits/rows.parquet", "splits/task=digits/train=40/rows.parquet",
    rows("search"), rows("final"), rows("curves"), rows("predictions"), "fid/task=digits/rows.parquet",
    "explain/backbone=vit_mini_cifar10/task=digits/train=40/rows.parquet", "report/index.html",
    "report/tables/table_01.csv", "examples/task=digits/rows.parquet",
    f"models/{CELL.format('full', 'digits', '40')}/seed=1.safetensors", "tables/table_01.csv", "tables/table_01.tex",
    f"models/{CELL.format('full', 'digits', '40')}/search.safetensors", "figures/figure_05.pdf",
    "figures/figure_05.png", "figures/figure_05.txt",
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_a_cut_and_an_empty_file_are_found_in_every_kind_of_file(damaged, damage, name):
    path = damage.path(name)
    whole = path.read_bytes()
    for place in (len(whole) // 3, len(whole) - 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert (name, "manifest") in found(damaged, name)
    for cut in (b"", whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(cut)
        assert (name, "manifest") in found(damaged, name)
        assert found(damaged, name, forget=True) or name.endswith(".txt") or len(cut) == len(whole) - 1


def column(name, place, value):
    def change(frame):
        frame.loc[frame.index[place], name] = value
        return frame

    return change


def drop_last(frame):
    return frame.iloc[:-1]


def repeat_first(frame):
    return pd.concat([frame.iloc[:1], frame.iloc[:-1]], ignore_index=True)


def surer_of_a_hit(frame):
    hit = frame.index[frame["label"] == frame["prediction"]][0]
    frame.loc[hit, "confidence"] = frame.loc[hit, "confidence"] * 0.9 + 0.1
    return frame


def other_answers(frame):
    frame["val_logits"] = [np.roll(logits, 1) for logits in frame["val_logits"]]
    return frame


EDITS = {
    "an edited accuracy": (rows("final"), column("test_accuracy", 0, 0.99), "plausible"),
    "an accuracy above 1": (rows("final"), column("test_accuracy", 0, 1.5), "plausible"),
    "an edited loss": (rows("final"), column("test_loss", 0, 0.5), "plausible"),
    "a loss that is not finite": (rows("final"), column("train_loss", 1, np.nan), "plausible"),
    "a train accuracy that is not its curve's": (rows("final"), column("train_accuracy", 1, 0.123), "plausible"),
    "a seed twice": (rows("final"), repeat_first, "complete"),
    "a seed too few": (rows("final"), drop_last, "complete"),
    "another configuration than the best": (rows("final"), column("config", 0, 1), "plausible"),
    "another learning rate than the best": (rows("final"), column("lr", 0, 7.0), "plausible"),
    "test images that the index does not have": (rows("final"), column("test_images", 0, 499), "plausible"),
    "more tuned than there are": (rows("final"), column("tuned_parameters", 0, 10**9), "plausible"),
    "an edited val accuracy": (rows("search"), column("val_accuracy", 0, 1.0), "plausible"),
    "val logits of other answers": (rows("search"), other_answers, "plausible"),
    "a configuration twice": (rows("search"), repeat_first, "complete"),
    "a configuration too few": (rows("search"), drop_last, "complete"),
    "a configuration of no grid": (rows("search"), column("lr", 0, 3.0), "plausible"),
    "val images that the split does not have": (rows("search"), column("val_images", 0, 11), "plausible"),
    "an epoch twice": (rows("curves"), repeat_first, "complete"),
    "an epoch too few": (rows("curves"), drop_last, "complete"),
    "a test curve that ends elsewhere": (rows("curves"), column("test_loss", 1, 9.0), "plausible"),
    "another schedule": (rows("curves"), column("lr", 1, 0.5), "plausible"),
    "a prediction too few": (rows("predictions"), drop_last, "complete"),
    "a prediction twice": (rows("predictions"), repeat_first, "complete"),
    "a label that is not the index's": (rows("predictions"), column("label", 0, 9), "plausible"),
    "a prediction of no class": (rows("predictions"), column("prediction", 3, 10), "plausible"),
    "a confidence that its loss does not have": (rows("predictions"), surer_of_a_hit, "plausible"),
    "a test image in train": ("splits/task=digits/train=40/rows.parquet", column("row", 0, 1500), "plausible"),
    "an image twice in a split": ("splits/task=digits/train=40/rows.parquet", repeat_first, "complete"),
    "a label of no class": ("index/task=digits/rows.parquet", column("label", 0, 10), "plausible"),
    "an image out of order": ("index/task=digits/rows.parquet", column("row", 0, 5), "complete"),
    "an image in another split": ("index/task=digits/rows.parquet", column("split", 0, "test"), "plausible"),
    "a negative distance": ("fid/task=digits/rows.parquet", column("fid", 0, -4.0), "plausible"),
    "a distance of other images": ("fid/task=digits/rows.parquet", column("images", 0, 7), "plausible"),
    "another reference": ("fid/task=digits/rows.parquet", column("reference_sha256", 0, "0" * 64), "inputs"),
    "an explanation of another class": (
        "explain/backbone=vit_mini_cifar10/task=digits/train=40/rows.parquet", column("prediction", 0, 9), "plausible",
    ),
    "an image that is none": (
        "explain/backbone=vit_mini_cifar10/task=digits/train=40/rows.parquet",
        column("image_png", 0, b"no"),
        "readable",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", EDITS)
def test_an_edit_that_keeps_every_form_is_found_without_the_manifest(damaged, damage, what):
    name, change, check = EDITS[what]
    damage.edit(name, change)
    assert (name, check) in found(damaged, name, forget=True)
    assert (name, "manifest") in found(damaged, name)


def test_two_seeds_that_are_one_run_are_found(damaged, damage):
    def twice(values):
        def change(frame):
            first, second = frame["seed"] == 1, frame["seed"] == 2
            for key in values:
                frame.loc[second, key] = frame.loc[first, key].to_numpy()
            return frame

        return change

    damage.edit(rows("curves"), twice(["train_loss", "train_accuracy"]))
    damage.edit(rows("final"), twice(["train_loss", "train_accuracy", "test_accuracy", "test_loss"]))
    damage.edit(rows("predictions"), twice(["prediction", "confidence", "loss"]))
    assert (rows("final"), "plausible") in found(damaged, rows("final"), forget=True)


def test_files_of_two_tasks_that_changed_places_are_found(damaged, damage):
    for kind in ("search", "final", "curves", "predictions"):
        names = [rows(kind, task=task) for task in ("digits", "shapes_count")]
        a, b = (damage.path(name) for name in names)
        first, second = a.read_bytes(), b.read_bytes()
        a.write_bytes(second)
        b.write_bytes(first)
        assert {(name, "schema") for name in names} <= found(damaged, *names, forget=True)
        damage.restore()


def test_a_foreign_schema_is_found(damaged, damage):
    damage.path(rows("final")).write_bytes((damaged.root / rows("curves")).read_bytes())
    assert (rows("final"), "schema") in found(damaged, rows("final"), forget=True)
    pd.DataFrame({"seed": [1]}).to_parquet(damage.path(rows("final")))
    assert (rows("final"), "schema") in found(damaged, rows("final"), forget=True)


def test_rows_of_another_config_are_found(damaged):
    config = tiny_config() | {"epochs": 3}
    wrong = found(damaged, rows("search"), rows("final"), "tables/table_01.csv", config=config)
    assert {(rows("search"), "config"), (rows("final"), "config"), ("tables/table_01.csv", "config")} <= wrong
    assert (rows("search", "linear"), "config") not in found(
        damaged, rows("search", "linear"), config=tiny_config() | {"curves": {"seeds": 2}}
    )


def test_metadata_that_was_edited_too_is_found(damaged, damage):
    damage.edit(rows("final"), None, lambda note: note | {"job": note["job"] | {"prompt_length": 5}})
    assert (rows("final"), "config") in found(damaged, rows("final"), forget=True)
    damage.edit(rows("final"), None, lambda note: note | {"packages": {"vptcore": "99.0"}})
    assert (rows("final"), "code") in found(damaged, rows("final"), forget=True)


def test_a_changed_image_is_found_by_its_hash_and_by_what_was_made_from_it(damaged, damage):
    name = "data/task=digits/images.npy"
    path = damage.path(name)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    assert found(damaged, name, forget=True) == {(name, "plausible")}
    assert found(damaged, name) == {(name, "plausible"), (name, "manifest")}
    assert found(damaged, rows("search"), forget=True) == {(rows("search"), "inputs")}
    # With a record of what the array was, it is plain that the search was made from the right one.
    assert found(damaged, rows("search")) == set()


def test_a_wrong_model_under_a_right_name_is_found(damaged, damage):
    one, two = (f"models/{CELL.format('full', 'digits', '40')}/seed={seed}.safetensors" for seed in (1, 2))
    damage.path(one).write_bytes((damaged.root / two).read_bytes())
    assert (one, "manifest") in found(damaged, one)
    after = rows("final", "ft_then_pt")
    assert found(damaged, after, forget=True) == {(after, "inputs")}
    small = f"models/{CELL.format('vpt', 'digits', '40')}/seed=1.safetensors"
    damage.path(one).write_bytes((damaged.root / small).read_bytes())
    assert (one, "schema") in found(damaged, one, forget=True)


def test_a_model_with_nan_is_found(damaged, damage):
    name = f"models/{CELL.format('full', 'digits', '40')}/seed=1.safetensors"
    path = damage.path(name)
    path.write_bytes(path.read_bytes()[:-4] + np.array([np.nan], "<f4").tobytes())
    assert (name, "plausible") in found(damaged, name, forget=True)


def test_a_table_that_is_not_what_its_rows_give_is_found(damaged, damage):
    for end in ("csv", "md", "tex", "html"):
        name = f"tables/table_01.{end}"
        path = damage.path(name)
        text = path.read_text()
        place = next(i for i, c in enumerate(text) if c.isdigit() and text[i - 1] == ".")
        path.write_text(text[:place] + str((int(text[place]) + 1) % 10) + text[place + 1 :])
        assert (name, "plausible") in found(damaged, name, forget=True)


def test_a_search_made_again_leaves_its_finals_stale_if_it_found_other_rows(damaged, damage):
    damage.edit(rows("search"), None, lambda note: note | {"started": "later"})
    (damage.path(f"manifest/{rows('search')}.json")).unlink()
    assert (rows("final"), "inputs") not in found(damaged, rows("final"))
    damage.edit(rows("search"), column("val_loss", 0, 0.125))
    assert (rows("final"), "inputs") in found(damaged, rows("final"))


def test_a_second_file_of_rows_in_a_cell_is_found(damaged, damage):
    name = rows("final").replace("rows.parquet", "more.parquet")
    damage.path(name).write_bytes((damaged.root / rows("final")).read_bytes())
    assert found(damaged) == {(name, "complete")}


def test_a_damaged_record_is_not_taken_for_a_damaged_file(damaged, damage):
    path = damage.path(f"manifest/{rows('final')}.json")
    path.write_text(path.read_text().replace('"bytes": ', '"bytes": 1', 1))
    assert found(damaged, rows("final")) == {(rows("final"), "manifest")}


def test_what_is_not_yet_made_is_said_and_is_not_wrong(damaged, damage, capsys):
    names = [rows(kind, "linear") for kind in ("final", "curves", "predictions")]
    for name in names:
        damage.path(name).unlink()
    result = audit(load_study(today(damaged)), damaged.root, damaged.folder, "test")
    assert result.holds
    assert {report.file for report in result.missing} == set(names)
    assert all(report.state == "not yet made" for report in result.missing)


def test_the_command_says_what_and_ends_with_1(damaged, damage, capsys):
    config = str(damaged.folder / "study.yaml")
    assert main.main(["audit", str(damaged.root), "--configfile", config]) == 0
    assert "files are right (" in " ".join(capsys.readouterr().out.split())
    damage.edit(rows("final"), column("test_accuracy", 0, 0.99))
    assert main.main(["audit", str(damaged.root)]) == 1
    out = capsys.readouterr().out
    assert f"wrong    {rows('final')}: plausible: seed 1: test_accuracy 0.9900, but its predictions give" in out
    assert "files is wrong: plausible 1, manifest 1" in out
    assert main.main(["audit", str(damaged.root / rows("final")), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [file["file"] for file in found["files"]] == [rows("final")]
    assert not found["holds"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no/such/place"], "no such file or folder; expected a study's folder"),
        (["{folder}"], "no config.json in it and no config here of study"),
        (["{folder}/study.yaml"], "is not a file of a study"),
        (["{root}", "--configfile", "profiles/demo/study.yaml"], "is the config of study 'demo', not of 'tiny'"),
    ],
)
def test_a_wrong_call_ends_in_one_line_and_2(damaged, capsys, arguments, message):
    filled = [argument.format(folder=damaged.folder, root=damaged.root) for argument in arguments]
    assert main.main(["audit", *filled]) == 2
    line = capsys.readouterr().err
    assert message in line
    assert line.count("\n") == 1


def test_snakemake_audit_always_runs_and_fails_where_a_file_does_not_hold(damaged, damage):
    assert damaged.run("audit").returncode == 0
    damage.path(rows("final")).write_bytes(b"")
    result = damaged.run("audit")
    assert result.returncode == 1
    assert f"wrong    {rows('final')}: readable: the file is empty" in result.stderr
    assert "Traceback" not in result.stderr


def test_fix_removes_what_is_broken_and_what_was_made_from_it_and_the_next_run_makes_it_again(
    finished, tmp_path, capsys
):
    shutil.copytree(finished.folder, tmp_path / "copy")
    study = Study(tmp_path / "copy", tiny_config())
    broken, model = rows("predictions", "linear", "shapes_count"), f"models/{CELL.format('full', 'digits', '40')}/"
    (study.root / broken).write_bytes(b"")
    (study.root / model / "seed=1.safetensors").write_bytes(b"no")
    before = {p.relative_to(study.root).as_posix() for p in study.root.rglob("*") if p.is_file()}
    config = str(study.folder / "study.yaml")
    assert main.main(["audit", str(study.root), "--configfile", config, "--fix"]) == 1
    assert "nothing removed; --yes removes them without a question" in capsys.readouterr().out
    assert before == {p.relative_to(study.root).as_posix() for p in study.root.rglob("*") if p.is_file()}
    assert main.main(["audit", str(study.root), "--configfile", config, "--fix", "--yes"]) == 1
    said = {line.split()[1].rstrip(":") for line in capsys.readouterr().out.splitlines() if line.startswith("remove")}
    gone = before - {p.relative_to(study.root).as_posix() for p in study.root.rglob("*") if p.is_file()}
    assert {name for name in gone if not name.startswith("manifest/") and name[-10:] != "_timestamp"} == said
    assert {broken, rows("final", "linear", "shapes_count"), rows("final", "ft_then_pt"), "tables/table_01.csv"} <= said
    kept = {rows("search"), rows("search", "ft_then_pt"), rows("final"), "index/task=digits/rows.parquet"}
    assert not kept & said
    plan = study.run("--dry-run")
    assert "3 final" in plan.stderr
    assert "search" not in plan.stderr.splitlines()[-1]
    assert main.main(["audit", str(study.root), "--configfile", config]) == 0


def test_fix_leaves_rows_that_are_only_of_another_config(damaged, damage, capsys):
    other = damaged.folder / "other.yaml"
    other.write_text(yaml.safe_dump(tiny_config() | {"epochs": 3}))
    before = sorted(p for p in damaged.root.rglob("*"))
    assert main.main(["audit", str(damaged.root), "--configfile", str(other), "--fix", "--yes"]) == 1
    out = capsys.readouterr().out
    left = "\n".join(line for line in out.splitlines() if line.startswith("leave"))
    assert "made from another config: recipe.epochs 2, now 3; the next run makes it again by itself" in left
    assert "remove   " not in out
    assert sorted(p for p in damaged.root.rglob("*")) == before


def test_a_cause_has_one_line_with_how_much_depends_on_it(damaged, damage, capsys):
    """Other epochs: every search, final and table is of another config. Then one index row that is another."""
    other = damaged.folder / "other.yaml"
    other.write_text(yaml.safe_dump(tiny_config() | {"epochs": 3}))
    assert main.main(["audit", str(damaged.root), "--configfile", str(other)]) == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrong")]
    assert main.main(["audit", str(damaged.root), "--configfile", str(other), "--json"]) == 1
    each = [file["findings"] for file in json.loads(capsys.readouterr().out)["files"] if file["state"] == "wrong"]
    faults = Counter((f["check"], f["text"]) for findings in each for f in findings if f["wrong"])
    said = [re.sub(r" \[\d+ files? depends? on (it|them)\]$", "", line) for line in wrong]
    for (check, text), count in faults.items():
        mine = [line for line in said if line.endswith(f": {check}: {text}")]
        assert len(mine) == (1 if count > 3 else count), text
        assert count <= 3 or mine[0].startswith(f"wrong    {count} files of ")
    assert sum(faults.values()) > 100
    assert len(wrong) < 20
    index = "index/task=digits/rows.parquet"
    damage.edit(index, column("key", 0, "another"))
    assert main.main(["audit", str(damaged.root), "--configfile", str(damaged.folder / "study.yaml")]) == 1
    wrong = [line for line in capsys.readouterr().out.splitlines() if line.startswith("wrong")]
    assert wrong[0].startswith(f"wrong    {index}: manifest: ")
    behind = {index}
    for job in asked(load_study(today(damaged))):  # each after those whose files it reads
        behind |= set(job.files) if behind & set(job.reads) else set()
    assert wrong[0].endswith(f"[{len(behind) - 1} files depend on it]")
    assert len(wrong) < 8, "not a line for each of them"


def test_why_draws_the_chain_from_a_table_to_the_images(damaged, damage, capsys):
    config = ["--configfile", str(damaged.folder / "study.yaml")]
    assert main.main(["audit", str(damaged.root), *config, "--why", "tables/table_01.csv"]) == 0
    text = capsys.readouterr().out
    lines = [line.strip("│├└─ ") for line in text.splitlines()]
    order = [
        "✓ tables/table_01.csv", f"✓ {rows('final', 'full')}", f"✓ {rows('search', 'full')}",
        "✓ splits/task=digits/train=40/rows.parquet", "✓ index/task=digits/rows.parquet", "source  sklearn_digits",
    ]  # fmt: skip
    places = [next(i for i, line in enumerate(lines) if line.startswith(start)) for start in order]
    assert places == sorted(places)
    assert "1,797 images, 10 classes" in text
    damage.path(rows("search")).write_bytes(b"")
    assert main.main(["audit", str(damaged.root), *config, "--why", str(damaged.root / rows("final"))]) == 1
    assert "✗ search" in capsys.readouterr().out
    assert main.main(["audit", str(damaged.root), *config, "--why", "tables/table_99.csv"]) == 2
    assert "is no file of study tiny; did you mean tables/" in capsys.readouterr().err


def test_why_finds_the_study_from_the_file_alone(damaged, capsys, monkeypatch):
    monkeypatch.chdir(damaged.folder)
    config = ["--configfile", str(damaged.folder / "study.yaml")]
    assert main.main(["audit", *config, "--why", str(damaged.root / "tables/table_01.csv")]) == 0
    assert "✓ tables/table_01.csv" in capsys.readouterr().out
    for line in (["--why", "nowhere.csv"], []):
        assert main.main(["audit", *config, *line]) == 2
        assert "such as results/demo" in capsys.readouterr().err


def test_compare_tells_identical_cells_from_those_within_and_beyond_the_spread(
    finished, damaged, damage, tmp_path, capsys
):
    pair = [str(finished.root), str(damaged.root)]
    assert main.main(["compare", *pair]) == 0
    assert capsys.readouterr().out.split() == ["10", *["the", "same", "in", "every", "number", "of", "every", "seed"]]
    moved = shutil.copytree(damaged.root / "final", tmp_path / "run=3/lr=0.1/tiny/final").parent
    assert main.main(["compare", pair[0], str(moved), "--exact"]) == 0
    damage.edit(rows("final"), lambda f: f.assign(seconds=1e3, images_per_second=1.0))
    assert main.main(["compare", *pair, "--exact"]) == 0
    damage.edit(rows("final"), lambda f: f.assign(test_accuracy=f["test_accuracy"] + [0.01, -0.005]))
    damage.edit(rows("final", "full"), lambda f: f.assign(test_accuracy=[0.91, 0.911]))
    damage.path(rows("final", "linear")).unlink()
    capsys.readouterr()
    assert main.main(["compare", *pair, "--json"]) == 1
    cells = {(c["method"], c["task"], c["train"]): c for c in json.loads(capsys.readouterr().out)["cells"]}
    states = {key: cell["state"] for key, cell in cells.items()}
    assert states.pop(("vpt", "digits", "40")) == "within"
    assert states.pop(("full", "digits", "40")) == "beyond"
    assert states.pop(("linear", "digits", "40")) == "only_a"
    assert set(states.values()) == {"identical"}
    # Welch's interval by scipy, the other way round.
    import scipy.stats

    from vptcore.records import read_rows

    sides = [read_rows(Path(p) / rows("final", "full"), "final")["test_accuracy"] for p in pair]
    interval = scipy.stats.ttest_ind(sides[1], sides[0], equal_var=False).confidence_interval(0.95)
    beyond = cells["full", "digits", "40"]
    assert (beyond["low"], beyond["high"]) == pytest.approx((interval.low, interval.high), rel=1e-6)
    assert main.main(["compare", *pair]) == 1
    assert "only in the first" in capsys.readouterr().out
    assert main.main(["compare", str(damaged.folder), str(damaged.root)]) == 2
    assert "no rows of finals in it; expected a study's folder" in capsys.readouterr().err
