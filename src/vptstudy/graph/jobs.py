"""Every job of a study, written once: the rules, the plan and the audit all read this list.

In: a `Study`. Out: `Job`s, each after those whose files it reads, and a `Graph` that finds them by rule, file or
target. Paths are as Snakemake has them. `PATTERNS` are the rules' outputs, with the wildcards that name a job.

    python -m pytest tests/vptstudy/graph/test_jobs.py
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from vptcore.analysis.examples import EXAMPLES
from vptcore.choices import ConfigError, choose_one
from vptcore.records import hive_parts
from vptstudy import slices
from vptstudy.graph import flow, targets
from vptstudy.graph.flow import ROWS
from vptstudy.study import Cell, Study

CELL = "backbone={backbone}/method={method}/task={task}/train={train}"
TABLE_FORMS = ("csv", "md", "tex", "html")
PATTERNS: dict[str, dict[str, str]] = {
    "prepare": {"images": "data/task={task}/images.npy", "index": f"index/task={{task}}/{ROWS}"},
    "split": {"rows": f"splits/task={{task}}/train={{train}}/{ROWS}"},
    "features": {"features": "features/task={task}/features.safetensors"},
    "reference": {"statistics": flow.STATISTICS},
    "fid": {"rows": f"fid/task={{task}}/{ROWS}"},
    "search": {"rows": f"search/{CELL}/{ROWS}"},
    "search_shard": {"rows": f"shards/search/{CELL}/shard={{shard}}/{ROWS}"},
    "final": {name: f"{folder}/{CELL}/{ROWS}" for name, folder in flow.FINAL_ROWS.items()},
    "final_shard": {n: f"shards/final/{CELL}/shard={{shard}}/{n}.parquet" for n in flow.FINAL_ROWS},
    "explain": {"rows": f"explain/backbone={{backbone}}/task={{task}}/train={{train}}/{ROWS}"},
    "examples": {"rows": f"examples/task={{task}}/{ROWS}"},
    "table": {form: f"tables/table_{{number}}.{form}" for form in TABLE_FORMS} | {"note": "tables/table_{number}.rst"},
    "figure": {
        name: f"figures/figure_{{name}}.{form}"
        for name, form in (("pdf", "pdf"), ("png", "png"), ("csv", "csv"), ("caption", "txt"), ("note", "rst"))
    },
    "report": {"folder": "report"},
}
PATTERNS |= {f"{stage}_merge": PATTERNS[stage] for stage in ("search", "final")}
# Tuned models are kept beside a job's rows and are no outputs of its rule: which are kept depends on the config, and a
# rule's outputs must not. Who reads a model waits for the rows beside it.
BESIDE = ("best", "models")
ON_GPU = frozenset({"search", "search_shard", "final", "final_shard", "features", "reference", "explain"})

# One path, or several, by the name that a stage's function gives them.
Files = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True)
class Job:
    """One job. `stage` is its rule; `of` are the rule's wildcards and their values, which name it.

    `inputs` and `outputs` are the paths that the stage's function takes; `slice` is what it reads of the config.
    """

    stage: str
    of: Mapping[str, str]
    make_slice: Callable[[], dict] = field(repr=False, compare=False)
    inputs: Files
    outputs: Files

    @cached_property
    def slice(self) -> dict:
        return self.make_slice()

    @property
    def gpu(self) -> bool:
        return self.stage in ON_GPU

    @property
    def kind(self) -> str:
        """'search' for search, search_shard and search_merge."""
        return self.stage.removesuffix("_shard").removesuffix("_merge")

    @property
    def key(self) -> tuple[str, ...]:
        return (self.stage, *self.of.values())

    @property
    def name(self) -> str:
        return " · ".join(self.of.values())

    @property
    def subject(self) -> Cell | str:
        """Its cell, VPT's for the maps that compare VPT with full; else its task, or the name of a table or figure."""
        if "backbone" in self.of:
            return Cell(**({"method": "vpt"} | {part: self.of[part] for part in self.of if part != "shard"}))
        return self.of.get("task", self.name)

    @property
    def share(self) -> float:
        """A shard's part of its cell's work."""
        return 1 / slices.shard_of(self.of["shard"])[1] if "shard" in self.of else 1.0

    @cached_property
    def files(self) -> tuple[str, ...]:
        return flat(self.outputs.values())

    @cached_property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(flat(self.inputs.values())))

    @property
    def rule_files(self) -> tuple[str, ...]:
        """The files that Snakemake knows as its rule's outputs."""
        return flat(paths for name, paths in self.outputs.items() if name not in BESIDE)


def flat(paths: Iterable[str | Sequence[str]]) -> tuple[str, ...]:
    return tuple(path for given in paths for path in ([given] if isinstance(given, str) else given))


def jobs(study: Study) -> list[Job]:
    """Every job behind the target `all`, each after those whose files it reads."""
    stages = (_data_jobs, _search_jobs, _final_jobs, _explain_jobs, _report_jobs)
    return _in_order([job for stage in stages for job in stage(study)])


def _in_order(found: list[Job]) -> list[Job]:
    """Each after those whose files it reads, else in the order given."""
    made_by = {path: job for job in found for path in job.files}
    placed: dict[tuple[str, ...], Job] = {}

    def place(job: Job) -> None:
        if job.key not in placed:
            for path in job.reads:
                if path in made_by:
                    place(made_by[path])
            placed[job.key] = job

    for job in found:
        place(job)
    return list(placed.values())


class Graph(Mapping[tuple[str, ...], Job]):
    """A study's jobs by key: the rule's name and the values of its wildcards."""

    def __init__(self, study: Study):
        self.study = study
        self._jobs = {job.key: job for job in jobs(study)}
        self.made_by = {path: job for job in self._jobs.values() for path in job.files}

    def __getitem__(self, key: tuple[str, ...]) -> Job:
        if key not in self._jobs:
            raise ValueError(f"study {self.study.name} has no {key[0]} of {' · '.join(key[1:])}")
        return self._jobs[key]

    def __contains__(self, key: object) -> bool:
        return key in self._jobs

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return iter(self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)

    @cached_property
    def targets(self) -> dict[str, Job]:
        """The targets that are one job: table_01, figure_forest, report."""
        named = {f"{job.stage}_{job.name}": job for job in self._jobs.values() if job.stage in ("table", "figure")}
        return named | {"report": self["report",]}

    def needs(self, job: Job) -> tuple[Job, ...]:
        """The jobs whose files it reads."""
        makers = (self.made_by[path] for path in job.reads if path in self.made_by)
        return tuple({maker.key: maker for maker in makers}.values())

    def watched(self, job: Job) -> dict[str, str | list[str]]:
        """A rule's inputs: for a tuned model, which no rule makes, the rows that it was written with."""
        return {name: _each(self._watched, paths) for name, paths in job.inputs.items()}

    def _watched(self, path: str) -> str:
        maker = self.made_by.get(path)
        return maker.rule_files[0] if maker and path not in maker.rule_files else path

    def beside(self, job: Job) -> dict[str, dict]:
        """The tuned models that a job `reads` and `keeps`, by name."""
        read = {name: job.inputs[name] for name, paths in self.watched(job).items() if paths != job.inputs[name]}
        return {"reads": read, "keeps": {name: job.outputs[name] for name in BESIDE if name in job.outputs}}

    def asked(self, target: str) -> list[Job]:
        """The jobs that a target or a file stands for. Raises ConfigError for one that the study does not have."""
        if target.endswith((".yaml", ".yml")):
            raise ConfigError(f"{target}: is a config, not a target; write --configfile {target}")
        if target == "all":
            finals = [job for job in self._jobs.values() if "curves" in job.outputs and "shard" not in job.of]
            return [*self.targets.values(), *finals]
        if target in ("all_tables", "all_figures"):
            stage = target.removeprefix("all_").removesuffix("s")
            return [job for job in self._jobs.values() if job.stage == stage]
        if target in self.made_by:
            return [self.made_by[target]]
        if "/" in target:
            near = "".join(f"; near: {path}" for path in difflib.get_close_matches(target, self.made_by, n=1))
            raise ConfigError(f"{target}: no job of study {self.study.name} makes it{near}")
        return [self.targets[str(choose_one("target", target, ["all", "all_tables", "all_figures", *self.targets]))]]

    def behind(self, wanted: Iterable[str]) -> list[Job]:
        """The jobs that these targets need, themselves included, in an order in which they can run."""
        found: set[tuple[str, ...]] = set()
        stack = [job for target in wanted for job in self.asked(target)]
        while stack:
            job = stack.pop()
            if job.key not in found:
                found.add(job.key)
                stack += self.needs(job)
        return [job for key, job in self._jobs.items() if key in found]


def _job(
    study: Study, stage: str, of: Mapping[str, str], make_slice: Callable[[], dict], inputs: Files, **beside
) -> Job:
    """A job whose outputs are its rule's, and `beside` them what no rule knows."""
    made = {name: f"{study.root}/{pattern.format(**of)}" for name, pattern in PATTERNS[stage].items()}
    return Job(stage, of, make_slice, inputs, made | beside)


def _each(change: Callable[[str], str], paths: str | Sequence[str]) -> str | list[str]:
    return change(paths) if isinstance(paths, str) else [change(path) for path in paths]


def _parts(cell: Cell, **more: str) -> dict[str, str]:
    return {"backbone": cell.backbone, "method": cell.method, "task": cell.task, "train": cell.train, **more}


def _data_jobs(study: Study) -> Iterator[Job]:
    if study.fid_tasks and study.reference_images:
        yield _job(study, "reference", {}, lambda: slices.reference(study), {})
    sizes = {(c.task, c.train): None for c in (*study.cells, *study.searches)}
    for task in study.used("task"):
        of, source = {"task": task}, flow.fetched_files(study, task)
        for mark in source:
            if mark.endswith(flow.FETCHED):
                yield Job("fetch", of, lambda task=task: slices.fetch(study, task), {}, {"mark": mark})
        make = lambda task=task: slices.prepare(study, task, study.input_size(task))  # noqa: E731
        yield _job(study, "prepare", of, make, {"source": source})
        for train in [train for name, train in sizes if name == task]:
            make = lambda task=task, train=train: slices.split(study, task, train)  # noqa: E731
            yield _job(study, "split", of | {"train": train}, make, flow.split_files(study, task, train))
        if task not in study.fid_tasks:
            continue
        reads, make = flow.features_files(study, task), lambda task=task: slices.features(study, task)
        yield _job(study, "features", of, make, reads)
        yield _job(study, "fid", of, lambda task=task: slices.fid(study, task), flow.fid_files(study, task))


def _search_jobs(study: Study) -> Iterator[Job]:
    kept = flow.searched_models(study)
    for cell in study.searches:
        best = {"best": flow.best_of_search(study, cell)} if cell in kept else {}
        yield from _cell_jobs(study, "search", cell, flow.search_files(study, cell), best)


def _final_jobs(study: Study) -> Iterator[Job]:
    kept = flow.final_models(study)
    for cell in study.cells:
        models = [flow.model_file(study, cell, seed) for seed in kept.get(cell, ())]
        files = flow.final_files(study, cell)
        yield from _cell_jobs(study, "final", cell, files, {"models": models} if models else {})


def _cell_jobs(study: Study, kind: str, cell: Cell, files: Files, beside: Files) -> Iterator[Job]:
    """A cell's job, or its shards and the job that puts them together."""
    whole = slices.search if kind == "search" else slices.final
    part = slices.search_shard if kind == "search" else slices.final_shard
    shards = flow.shards(study, kind, cell, lambda: whole(study, cell), files)
    is_split = study.shards(kind, cell) > 1
    for shard in shards:
        make = lambda shard=shard: part(study, cell, shard)  # noqa: E731
        mine = flow.shard_models(study, kind, cell, shard, beside)
        reads = flow.final_shard_files(files, shard) if kind == "final" else files
        yield _job(study, f"{kind}_shard", _parts(cell, shard=shard), make, reads, **mine)
    rows = {"shards": [flow.shard_file(study, kind, cell, shard) for shard in shards]} if shards else {}
    stage = f"{kind}_merge" if is_split else kind
    yield _job(study, stage, _parts(cell), lambda: whole(study, cell), {**files, **rows}, **beside)


def _explain_jobs(study: Study) -> Iterator[Job]:
    for backbone, task, train in study.explained:
        make = lambda of=(backbone, task, train): slices.explain(study, *of)  # noqa: E731
        of = {"backbone": backbone, "task": task, "train": train}
        yield _job(study, "explain", of, make, flow.explain_files(study, backbone, task, train))


def _report_jobs(study: Study) -> Iterator[Job]:
    drawn = {name: targets.figure_files(study, name) for name in targets.figures_of(study)}
    for path in dict.fromkeys(path for files in drawn.values() for path in files.get("examples", ())):
        task = hive_parts(path)["task"]
        files = {key: flow.task_files(study, task, "")[key] for key in ("images", "index")}
        make = lambda: {"images": EXAMPLES, "version": slices.VERSIONS["examples"]}  # noqa: E731
        yield _job(study, "examples", {"task": task}, make, files)
    for number in targets.tables_of(study):
        make = _page_part(study, "tables", number)
        of = {"number": targets.padded(number)}
        yield _job(study, "table", of, make, targets.table_files(study, number))
    for name, files in drawn.items():
        yield _job(study, "figure", {"name": targets.padded(name)}, _page_part(study, "figures", name), files)
    make = lambda: targets.page_slice(study) | {"version": slices.VERSIONS["report"]}  # noqa: E731
    yield _job(study, "report", {}, make, _report_files(study, drawn))


def _page_part(study: Study, stage: str, number: int | str) -> Callable[[], dict]:
    return lambda: {"config": study.config, "number": number, "version": slices.VERSIONS[stage]}


def _report_files(study: Study, drawn: Iterable[str]) -> dict[str, list[str]]:
    tables = [f"{study.root}/tables/table_{targets.padded(n)}" for n in targets.tables_of(study)]
    figures = [f"{study.root}/figures/figure_{targets.padded(name)}" for name in drawn]
    return {
        "final": [study.path("final", cell) for cell in study.cells],
        "predictions": [study.path("predictions", cell) for cell in study.cells],
        "search": [study.path("search", cell) for cell in study.searches],
        "fid": targets.rows_files(study, "fid", study.fid_tasks),
        "explain": targets.rows_files(study, "explain", [task for _, task, _ in study.explained]),
        "tables": [f"{path}.html" for path in tables],
        "captions": [f"{path}.txt" for path in figures],
        "pictures": [f"{path}.png" for path in figures],
    }
