"""A slice means the same wherever the study lies, and another as soon as anything else in it changes."""

import copy
import pickle

import yaml
from hypothesis import given
from hypothesis import strategies as st

from vptcore.jobs.meaning import Slice, changed, meaning
from vptcore.records import digest
from vptstudy.config.resolve import load_study
from vptstudy.graph.jobs import Graph

JOB = {
    "workers": 8, "task": "leaves", "path": "/old/leaves", "signature": "12ab", "reference": "/old/ref.npz",
    "config": {
        "results": "/old/results", "data_root": "/old/data", "compile_cache": "/old/compiled", "seeds": [1, 2],
        "tasks": {"leaves": {"path": "/old/leaves", "source": "folder"}},
        "fid": {"reference": "/old/ref.npz", "weights": "/old/w.pth"},
        "backbones": {"mine": {"path": "/old/leaves"}},
    },
}  # fmt: skip


def moved(job: dict) -> dict:
    return yaml.safe_load(yaml.safe_dump(job).replace("/old/", "/new/place/"))


def test_a_moved_study_means_the_same_and_only_what_has_no_rule_of_its_own_does_not():
    before = JOB | {"config": {k: v for k, v in JOB["config"].items() if k != "backbones"}}
    assert meaning(moved(before)) == meaning(before)
    assert meaning(before | {"workers": 1}) == meaning(before)
    assert meaning(moved(JOB)) != meaning(JOB), "a path that nothing is known of counts"
    assert list(changed(JOB, moved(JOB))) == ["config"]


def leaves(value, at=()):
    if isinstance(value, dict):
        for key, part in value.items():
            yield from leaves(part, (*at, key))
    else:
        yield at


@given(st.sampled_from(sorted(leaves(JOB))))
def test_every_other_value_counts(place):
    job = copy.deepcopy(JOB)
    inner = job
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = "/old/another"
    places = {("workers",), ("config", "fid", "weights")}
    places |= {("config", name) for name in ("results", "data_root", "compile_cache")}
    assert (meaning(job) == meaning(JOB)) == (place in places)


def test_snakemake_sees_a_slices_meaning_and_its_job_the_slice():
    told = Slice(JOB)
    assert repr(told) == repr(Slice(moved(JOB) | {"config": JOB["config"], "signature": "other"}))
    assert repr(told) != repr(Slice(JOB | {"task": "trees"}))
    assert type(pickle.loads(pickle.dumps(told))) is dict
    assert pickle.loads(pickle.dumps(told)) == JOB


def test_no_slice_of_a_study_changes_its_meaning_with_where_it_is_written(clean_clone):
    config = yaml.safe_load((clean_clone / "profiles/demo/study.yaml").read_text())
    here, there = (Graph(load_study(config | {"results": path, "data_root": path})) for path in ("results", "/else"))
    assert [meaning(job.slice) for job in here.values()] == [meaning(job.slice) for job in there.values()]
    assert any(digest(here[key].slice) != digest(there[key].slice) for key in here)
