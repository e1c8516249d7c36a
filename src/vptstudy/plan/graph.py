"""The jobs behind a target and what each waits for: Snakemake's graph, from the same functions that its rules call.

In: a study and targets (all, all_tables, all_figures, table_05, figure_13, report, or a file). Out: `Job` values by id.

    python -m pytest tests/vptstudy/plan/test_estimate.py
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from vptcore.choices import choose_one
from vptstudy.graph import flow
from vptstudy.graph import targets as report_inputs
from vptstudy.plan.limits import GPU_STAGES
from vptstudy.study import Cell, Study

STAGES = (
    "fetch", "prepare", "split", "features", "reference", "fid", "search", "final", "explain", "table", "figure",
    "report", "examples", "merge",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """`of` is a cell, a task, a (task, train) pair, or a table's or figure's name; `needs` are ids of other jobs.

    `share` is a shard's part of its cell's work; the job that puts shards together is of stage merge.
    """

    id: str
    stage: str
    of: Cell | str | tuple[str, str]
    outputs: tuple[str, ...]
    needs: tuple[str, ...]
    share: float = 1.0

    @property
    def on_gpu(self) -> bool:
        return self.stage in (*GPU_STAGES, "reference")

    @property
    def is_done(self) -> bool:
        return all(os.path.exists(path) for path in self.outputs)


class Graph:
    """All jobs of a study. `targets` maps each table's and figure's target to the job that makes it."""

    def __init__(self, study: Study):
        self.study, self._made, self._raw = study, {}, {}
        self.targets: dict[str, str] = {}
        self._data()
        self._cells()
        self._report()
        self.jobs = {
            id: Job(id, stage, of, outputs, self._needs(inputs), share)
            for id, (stage, of, outputs, inputs, share) in self._raw.items()
        }

    def behind(self, targets: Iterable[str]) -> dict[str, Job]:
        """The jobs that these targets need, themselves included, in an order in which they can run."""
        found: dict[str, Job] = {}
        wanted = [id for target in targets for id in self._ids(target)]
        stack = [(id, False) for id in reversed(wanted)]
        while stack:
            id, is_ready = stack.pop()
            if id in found:
                continue
            if is_ready:
                found[id] = self.jobs[id]
            else:
                stack += [(id, True), *((need, False) for need in self.jobs[id].needs if need not in found)]
        return found

    def _ids(self, target: str) -> list[str]:
        if target == "all":
            cells = [self._made[self.study.path("final", cell)] for cell in self.study.cells]
            return [*self.targets.values(), *cells]
        if target in ("all_tables", "all_figures"):
            prefix = target.removeprefix("all_").removesuffix("s")
            return [id for name, id in self.targets.items() if name.startswith(f"{prefix}_")]
        if target in self._made:
            return [self._made[target]]
        return [self.targets[str(choose_one("target", target, ["all", "all_tables", "all_figures", *self.targets]))]]

    def _needs(self, inputs: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._made[path] for path in inputs if path in self._made))

    def _add(
        self, stage: str, of, outputs: Iterable[str], inputs: Iterable[str | list[str]], share: float = 1.0
    ) -> str:
        outputs = tuple(outputs)
        files = [f for given in inputs for f in ([given] if isinstance(given, str) else given)]
        self._raw[outputs[0]] = (stage, of, outputs, files, share)
        self._made.update(dict.fromkeys(outputs, outputs[0]))
        return outputs[0]

    def _data(self) -> None:
        study = self.study
        for task in study.used("task"):
            fetched = flow.fetched_files(study, task)
            for mark in fetched:
                if mark.endswith(".fetched"):
                    self._add("fetch", task, [mark], [])
            files = flow.task_files(study, task, "")
            self._add("prepare", task, [files["images"], files["index"]], fetched)
            features = flow.features_files(study, task)
            reads = flow.fid_files(study, task)
            self._add("features", task, [reads["features"]], features.values())
            shown = report_inputs.rows_files(study, "examples", [task])
            self._add("examples", task, shown, [files["images"], files["index"]])
            self._add("fid", task, [*report_inputs.rows_files(study, "fid", [task])], reads.values())
        reference = flow.reference_file(study)
        if reference.startswith(f"{study.root}/reference/"):
            self._add("reference", "", [reference], [])

    def _cells(self) -> None:
        study = self.study
        bases, kept = flow.searched_models(study), flow.final_models(study)
        # A split of every size that a cell or a Fréchet distance reads.
        pairs = {(c.task, c.train): None for c in (*study.cells, *study.searches)}
        pairs |= {(task, study.base_fid_train(task)): None for task in study.used("task")}
        for task, train in pairs:
            files = flow.task_files(study, task, train)
            self._add("split", (task, train), [files["splits"]], [files["index"]])
        for cell in study.searches:
            best = [flow.best_of_search(study, cell)] if cell in bases else []
            self._cell("search", cell, [study.path("search", cell), *best])
        for cell in study.cells:
            rows = [study.path(kind, cell) for kind in ("final", "curves", "predictions")]
            models = [flow.model_file(study, cell, seed) for seed in flow.kept_seeds(study)] if cell in kept else []
            self._cell("final", cell, [*rows, *models])
        for backbone, task, train in study.explained:
            (rows,) = report_inputs.rows_files(study, "explain", [task])
            inputs = flow.explain_files(study, backbone, task, train).values()
            self._add("explain", Cell(backbone, "vpt", task, train), [rows], inputs)

    def _cell(self, kind: str, cell: Cell, outputs: list[str]) -> None:
        """A cell's job, or its shards and the job that puts them together."""
        files, count = flow.cell_files(self.study, kind, cell), self.study.shards(kind, cell)
        shards = files.pop("shards", [])
        for path in shards:
            self._add(kind, cell, [path], files.values(), share=1 / max(count, len(shards)))
        self._add("merge" if shards else kind, cell, outputs, [*files.values(), shards])

    def _report(self) -> None:
        study = self.study
        for kind, ids, files, folder, suffixes in (
            ("table", report_inputs.tables_of(study), report_inputs.table_files, "tables", ("csv", "md", "tex")),
            ("figure", report_inputs.figures_of(study), report_inputs.figure_files, "figures", ("pdf", "png", "txt")),
        ):
            for id in ids:
                name = f"{kind}_{report_inputs.padded(id)}"
                outputs = [f"{study.root}/{folder}/{name}.{suffix}" for suffix in suffixes]
                self.targets[name] = self._add(kind, name, outputs, files(study, id).values())
        drawn = list(self.targets.values())
        finals = [study.path("final", cell) for cell in study.cells]
        searches = [study.path("search", cell) for cell in study.searches]
        fid = report_inputs.rows_files(study, "fid", study.used("task"))
        maps = report_inputs.rows_files(study, "explain", [task for _, task, _ in study.explained])
        read = [finals, searches, fid, maps, drawn]
        self.targets["report"] = self._add("report", "report", [f"{study.root}/report"], read)
