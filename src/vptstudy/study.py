"""A study: its cells, where their files lie, and what each job reads of the config.

In: a checked config and the tables of tasks, backbones and methods (`resolve.load_study` brings them together). Out: a
frozen `Study`. A job slice holds the plain values that one job reads and nothing else, so that a job runs again when
its meaning changes and only then.

    vptcore check config.yaml
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property

from vptcore.data.signature import signature
from vptcore.data.tasks import Task
from vptcore.models.backbones import Backbone
from vptcore.models.methods_table import METHODS, in_order
from vptcore.training.protocol import AUTHORS_BATCH, Protocol
from vptcore.training.recipe import Recipe, final_parts

# Bumped when a stage's meaning changes: it is part of every job's slice, so that the stage's files are made again.
VERSIONS = {
    "prepare": 4,
    "split": 3,
    "features": 1,
    "fid": 2,
    "search": 2,
    "final": 2,
    "explain": 2,
    "examples": 1,
    "tables": 8,
    "figures": 9,
    "report": 3,
}
ONE_SHOT, WHOLE_TRAIN = "one_shot", "train"
MAX_POOL = 25_000  # train images that are kept of a task: the largest size, 20,000, with its val


@dataclass(frozen=True, order=True)
class Cell:
    """One square of the study: a backbone tuned by a method on a task with a train size."""

    backbone: str
    method: str
    task: str
    train: str

    @property
    def folder(self) -> str:
        return f"backbone={self.backbone}/method={self.method}/task={self.task}/train={self.train}"


@dataclass(frozen=True)
class Study:
    """A checked config. `cells` are in the config's order; `train` sizes are ids: '800', 'one_shot', 'train'.

    `left_out` lists (task, train) pairs that were asked for but whose task has too few images (paper, Tables 5-6).
    """

    name: str
    config: dict
    protocol: Protocol
    backbones: dict[str, Backbone]
    tasks: dict[str, Task]
    seeds: tuple[int, ...]
    cells: tuple[Cell, ...]
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def root(self) -> str:
        return f"{self.config['results']}/{self.name}"

    @property
    def base_train(self) -> str:
        """The train size of the main tables; other sizes may reuse its recipes."""
        return str(self.config["base_train"])

    @cached_property
    def cell_set(self) -> frozenset[Cell]:
        return frozenset(self.cells)

    def used(self, field: str) -> list[str]:
        """The backbones, methods, tasks or train sizes that occur in the cells, in the order of the tables."""
        seen = {getattr(cell, field): None for cell in self.cells}
        if field == "method":
            return in_order(seen)
        order = {"backbone": self.backbones, "task": self.tasks}.get(field)
        return list(seen) if order is None else [name for name in order if name in seen]

    def select(self, **wanted: str | Iterable[str]) -> list[Cell]:
        """The study's cells whose fields equal, or lie in, what is wanted."""
        tests = {k: {v} if isinstance(v, str) else set(v) for k, v in wanted.items()}
        return [c for c in self.cells if all(getattr(c, k) in v for k, v in tests.items())]

    def path(self, kind: str, cell: Cell, name: str = "rows.parquet") -> str:
        return f"{self.root}/{kind}/{cell.folder}/{name}"

    def searched_by(self, cell: Cell) -> Cell:
        """The cell whose search gives this one its recipe: itself, or the base size's where none is regridded."""
        is_size = cell.train.isdigit() and cell.train != self.base_train
        if self.config["regrid"] or self.protocol.search_every_size or not is_size:
            return cell
        return Cell(cell.backbone, cell.method, cell.task, self.base_train)

    @cached_property
    def searches(self) -> tuple[Cell, ...]:
        return tuple(dict.fromkeys(self.searched_by(cell) for cell in self.cells))

    def tuned_from(self, cell: Cell) -> Cell | None:
        """The cell whose tuned model this one starts from (ft_then_pt starts from full)."""
        needs = METHODS[cell.method].needs
        return Cell(cell.backbone, needs, cell.task, cell.train) if needs else None

    @cached_property
    def tuned_from_cells(self) -> frozenset[Cell]:
        """The cells whose tuned models another cell starts from."""
        return frozenset(base for cell in self.cells if (base := self.tuned_from(cell)))

    @property
    def explained(self) -> list[tuple[str, str, str]]:
        """(backbone, task, train) of every pair of Grad-CAM maps."""
        explain = self.config["explain"]
        backbone = self.main_backbone
        pairs = [(backbone, task, self.base_train) for task in explain["tasks"]]
        return [p for p in pairs if {Cell(p[0], m, *p[1:]) for m in ("full", "vpt")} <= self.cell_set]

    @property
    def main_backbone(self) -> str:
        return self.config["report"].get("main_backbone") or self.used("backbone")[0]

    def prompt_length(self, cell: Cell) -> int:
        """Prompts a layer, from the config's set of lengths or the set's default; 0 without prompts."""
        if not METHODS[cell.method].prompts:
            return 0
        prompts = self.config["prompts"]
        lengths = prompts["sets"][prompts["lengths"]]
        return int(lengths.get(cell.backbone, {}).get(cell.task, lengths["default"]))

    def shards(self, kind: str, cell: Cell) -> int:
        """How many jobs share a cell's grid (kind search) or seeds (final). A probe's are seconds, and one job."""
        wanted = self.config.get("shards") or {}
        methods, trains = wanted.get("methods", [cell.method]), map(str, wanted.get("train", [cell.train]))
        if METHODS[cell.method].probe or cell.method not in methods or cell.train not in trains:
            return 1
        return wanted.get(kind, 1)

    # The slices: one per kind of job.

    def prepare_slice(self, task: str, size: int) -> dict:
        row = self.tasks[task]
        return {
            "version": VERSIONS["prepare"], "task": task, "source": row.source, "path": self.source_path(task),
            "classes": row.classes, "size": size, "max_pool": MAX_POOL, "seed": 0, "resize": self.resize_of(task),
            "signature": self.signature(task),
        } | ({"on_bad_image": "skip"} if self.skips_bad_images(task) else {})  # fmt: skip

    def skips_bad_images(self, task: str) -> bool:
        return self.config["tasks"].get(task, {}).get("on_bad_image") == "skip"

    def resize_of(self, task: str) -> str:
        """The task's own resize, else the config's, else that of the task's benchmark: VTAB's is the protocol's."""
        own = self.config["tasks"].get(task, {}).get("resize")
        resize = own or self.config.get("resize") or self.tasks[task].resize
        return self.protocol.vtab_resize if resize == "vtab" else resize

    def signature(self, task: str) -> str:
        """A hash of what lies in a person's folder, so that a change of it prepares the task again.

        Empty for what ships, for what is downloaded (it is not there yet when the graph is built) and for a single
        file, which is an input of the rule.
        """
        row, path = self.tasks[task], self.source_path(task)
        return signature(path) if path and not row.fetched and os.path.isdir(path) else ""

    def fetch_slice(self, task: str) -> dict:
        return {"row": asdict(self.tasks[task]), "root": self.config["data_root"]}

    def source_path(self, task: str) -> str | None:
        """Where a task's images are looked for; None for those that a package or this one ships."""
        if self.tasks[task].shipped:
            return None
        given = self.config["tasks"].get(task, {}).get("path")
        return given or f"{self.config['data_root']}/{task}"

    def input_size(self, task: str) -> int:
        """The largest input in pixels among the backbones that see this task."""
        return self._input_sizes[task]

    @cached_property
    def _input_sizes(self) -> dict[str, int]:
        pairs = {(cell.task, self.backbones[cell.backbone].size): None for cell in self.cells}
        return {task: max(size for t, size in pairs if t == task) for task, _ in pairs}

    def split_slice(self, task: str, train: str) -> dict:
        return {
            "version": VERSIONS["split"],
            "task": task,
            "train": train,
            "seed": self.config["split_seed"],
            "classes": self.tasks[task].classes,
        } | (self._one_shot_slice() if train == ONE_SHOT else {})

    def _one_shot_slice(self) -> dict:
        protocol = self.protocol
        return {
            "selection": self.one_shot_selection, "pool": protocol.one_shot_pool, "final": protocol.one_shot_final,
        }  # fmt: skip

    @property
    def one_shot_selection(self) -> str:
        """How the one image per class is chosen (paper Appendix G.4), a key of `splits.SELECTIONS`."""
        return self.config.get("one_shot", {}).get("selection", "random")

    def _network_slice(self) -> dict:
        """The network that the Fréchet distance takes its features from, and what stands before it."""
        fid = self.config["fid"]
        return {
            "version": VERSIONS["features"], "network": fid["network"], "weights": fid.get("weights", ""),
            "resize": fid.get("resize", "pytorch-fid"), "backbone": asdict(self.backbones[self.main_backbone]),
            "protocol": asdict(self.protocol), "device": self.config["device"], **self._sameness(),
        }  # fmt: skip

    @property
    def fid_tasks(self) -> list[str]:
        """The tasks whose distance to the reference is measured: all, or none under `fid: off`."""
        return [] if self.config["fid"]["network"] == "off" else self.used("task")

    def features_slice(self, task: str) -> dict:
        of_task = {"task": task, "train": self.base_fid_train(task)}
        # Squares to crop from are stored: the network sees the middle that the methods are scored on.
        crop = {"crop": self.input_size(task)} if self.resize_of(task) == "256_crop" else {}
        return self._network_slice() | of_task | crop

    def reference_slice(self) -> dict:
        size = self.backbones[self.main_backbone].size
        return self._network_slice() | {"reference": self.config["fid"]["reference"], "size": size}

    def fid_slice(self, task: str) -> dict:
        fid = self.config["fid"]
        return {
            "version": VERSIONS["fid"], "task": task, "reference": fid["reference"], "bootstrap": fid["bootstrap"],
        }  # fmt: skip

    def base_fid_train(self, task: str) -> str:
        """The split whose train and val images stand for the task: the base size, or the task's own."""
        trains = [cell.train for cell in self.cells if cell.task == task]
        return self.base_train if self.base_train in trains else trains[0]

    @cached_property
    def _rows(self) -> dict[str, dict]:
        """Backbones and protocol as plain values: hundreds of slices share them."""
        return {name: asdict(row) for name, row in self.backbones.items()} | {"protocol": asdict(self.protocol)}

    def _model_slice(self, cell: Cell) -> dict:
        base = {
            "backbone": self._rows[cell.backbone],
            "method": cell.method,
            "task": cell.task,
            "train": cell.train,
        }
        return base | {
            "classes": self.tasks[cell.task].classes, "prompt_length": self.prompt_length(cell),
            "deep": self.config["prompts"]["placement"] == "deep", "protocol": self._rows["protocol"],
            "resize": self.resize_of(cell.task),
            "recipe": asdict(self._recipe(cell)), "settings": self.settings(cell.method),
            "device": self.config["device"], "compile": self.config["compile"],
            "checkpoint_seconds": self.config["checkpoint_seconds"], **self._sameness(),
        }  # fmt: skip

    def _sameness(self) -> dict:
        """What last bits depend on (training.determinism), where the config says other than one thread and no."""
        said = {"threads": self.threads, "deterministic": self.config.get("deterministic", False)}
        return {key: value for key, value in said.items() if value != {"threads": 1, "deterministic": False}[key]}

    @property
    def threads(self) -> int:
        """CPU threads of a job that computes with a network."""
        return int(self.config.get("threads", 1))

    def settings(self, method: str) -> dict:
        """The method's own settings: its row's defaults under what the config says."""
        given = {k: v for k, v in self.config["methods"][method].items() if k not in ("batch", "grid")}
        return {**METHODS[method].settings, **given}

    def batch(self, cell: Cell) -> tuple[int, str]:
        """Images a step, and the key that says so: the method's, or a switch that puts the authors' in its place."""
        row, is_swin = METHODS[cell.method], self.backbones[cell.backbone].is_swin
        for switch, applies in (("probe_batch", row.probe), ("swin_batch", row.prompts and is_swin)):
            if applies and getattr(self.protocol, switch) == "authors":
                return AUTHORS_BATCH[switch], f"switches.{switch}"
        return self.config["methods"][cell.method]["batch"], f"methods.{cell.method}.batch"

    def _recipe(self, cell: Cell) -> Recipe:
        """The recipe of a cell but for learning rate and weight decay, which the grid fills in."""
        protocol, epochs, row = self.protocol, self.config["epochs"], METHODS[cell.method]
        share = protocol.warmup_full if row.as_full else protocol.warmup
        return Recipe(
            optimizer=row.optimizer_under(protocol), lr=0.0, weight_decay=0.0,
            batch=self.batch(cell)[0], epochs=epochs, warmup=round(share * epochs),
            scale_lr=protocol.scale_lr, zero_first_epoch=protocol.lr_zero_epoch, decay_norms=protocol.decay_norms,
            adamw=protocol.adamw, layer_decay=float(self.settings(cell.method).get("layer_decay", 1.0)),
        )  # fmt: skip

    def search_slice(self, cell: Cell) -> dict:
        grid = self.config["methods"][cell.method]["grid"]
        return self._model_slice(cell) | {
            "version": VERSIONS["search"], "seed": self.config["search_seed"], "grid": grid,
            "fixed_decay": METHODS[cell.method].as_full and self.protocol.full_decay == "fixed",
        }  # fmt: skip

    def final_slice(self, cell: Cell) -> dict:
        return self._model_slice(cell) | {
            "version": VERSIONS["final"],
            "parts": list(final_parts(self.protocol, self.tasks[cell.task].group, cell.train)),
            "seeds": list(self.seeds),
            "curve_seeds": self.config["curves"]["seeds"],
        }

    def search_shard_slice(self, cell: Cell, shard: str) -> dict:
        """The slice of shard '2of4', which tries every fourth configuration from the second on."""
        number, count = shard_of(shard)
        return self.search_slice(cell) | {"shard": [number, count]}

    def final_shard_slice(self, cell: Cell, shard: str) -> dict:
        """The slice of shard '2of5', which runs every fifth seed from the second on."""
        number, count = shard_of(shard)
        curves = len(range(number - 1, min(self.config["curves"]["seeds"], len(self.seeds)), count))
        return self.final_slice(cell) | {"seeds": list(self.seeds[number - 1 :: count]), "curve_seeds": curves}

    def explain_slice(self, backbone: str, task: str, train: str) -> dict:
        cells = {method: Cell(backbone, method, task, train) for method in ("full", "vpt")}
        slices = {method: self._model_slice(cell) for method, cell in cells.items()}
        return {
            "version": VERSIONS["explain"],
            "seed": self.seeds[0],
            "images": self.config["explain"]["images"],
            "models": slices,
            **self._sameness(),
        }


def shard_of(name: str) -> tuple[int, int]:
    """(2, 4) from '2of4'."""
    number, count = name.split("of")
    return int(number), int(count)
