"""Images that one rung has decoded, in another rung's study: what its own job would have left, decoded once."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vptcore.data import signature
from vptcore.data.arrays import prepare
from vptcore.data.whereabouts import seen
from vptcore.jobs import manifest
from vptcore.records import read_provenance, read_rows
from vptstudy import slices
from vptstudy.advise import again, rungs
from vptstudy.advise.look import look
from vptstudy.advise.rungs import Budget, Setting
from vptstudy.config.resolve import load_study
from vptstudy.graph import flow, stale
from vptstudy.graph.jobs import Graph
from vptstudy.study import Study

FOLDS = 3


@pytest.fixture
def setting(tmp_path, monkeypatch) -> Setting:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pets" / name / f"{number}.png")
    return Setting(look(tmp_path / "pets"), "results", "vit_mini_cifar10")


def prepared(study: Study, task: str) -> None:
    """As the job of a run leaves it."""
    job = slices.prepare(study, task, study.input_size(task))
    files = flow.task_files(study, task, "")
    record = manifest.Record(job, [], [files["images"], files["index"]])
    source = seen(job)
    prepare(job, files["images"], files["index"])
    record.finish(source)


def folded(setting: Setting, results: str = "results") -> Study:
    files = tuple(f"{k}.csv" for k in range(1, FOLDS + 1))
    return load_study(rungs.probe(replace(setting, results=results, splits=files), Budget(4, 8, "train")))


def prepare_jobs(study: Study) -> list:
    return [job for job in Graph(study).values() if job.stage == "prepare"]


def test_folds_share_one_array_and_are_as_prepared_each(setting):
    images, study, own = load_study(rungs.images(setting)), folded(setting), folded(setting, "own")
    prepared(images, "pets")
    again.share(images, study)
    there = flow.task_files(images, "pets", "")["images"]
    for task in study.used("task"):
        prepared(own, task)
        files, expected = (flow.task_files(one, task, "") for one in (study, own))
        assert os.path.samefile(files["images"], there)
        assert Path(files["images"]).read_bytes() == Path(expected["images"]).read_bytes()
        assert read_rows(files["index"], "index").equals(read_rows(expected["index"], "index"))
        mine, theirs = (read_provenance(one["index"]) for one in (files, expected))
        timed = ("started", "seconds")
        assert {k: v for k, v in mine.items() if k not in timed} == {k: v for k, v in theirs.items() if k not in timed}
    jobs = prepare_jobs(study)
    assert len(jobs) == FOLDS
    assert [stale.why_stale(job) for job in jobs] == [""] * FOLDS
    assert all(manifest.is_made(job.slice, [], job.files) for job in jobs)


def test_another_photograph_reaches_every_fold_and_every_rung(setting):
    images, study = load_study(rungs.images(setting)), folded(setting)
    later = load_study(rungs.schedules(replace(setting, splits=("1.csv", "2.csv")), Budget(8, 8, "train"), {}))
    prepared(images, "pets")
    again.share(images, study)
    again.share(study, later)
    before = [np.load(flow.task_files(later, task, "")["images"]) for task in later.used("task")]
    Image.new("RGB", (40, 50), (255, 0, 0)).save(Path("pets/cat/3.png"))
    for looked in (signature._signature, signature._content, stale._note):  # as another process sees it
        looked.cache_clear()
    images, study = load_study(rungs.images(setting)), folded(setting)
    prepared(images, "pets")
    again.share(images, study)
    again.share(study, later)
    for task, then in zip(later.used("task"), before, strict=True):
        now = np.load(flow.task_files(later, task, "")["images"])
        assert (now != then).any(axis=(1, 2, 3)).sum() == 1
    assert [stale.why_stale(job) for job in prepare_jobs(study)] == [""] * FOLDS


def test_images_of_another_size_are_not_taken(setting):
    images = load_study(rungs.images(setting))
    prepared(images, "pets")
    files = ("1.csv", "2.csv")
    other = replace(setting, backbone="vit_b16_sup21k", splits=files)
    study = load_study(rungs.probe(other, Budget(4, 8, "train")))
    again.share(images, study)
    assert not any(Path(flow.task_files(study, task, "")["images"]).exists() for task in study.used("task"))
