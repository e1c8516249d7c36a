"""A study: its cells, where their files are, and what the config says of each.

In: a checked config and the tables of tasks, backbones and methods (`resolve.load_study` brings them together). Out: a
frozen `Study`. What each job reads of it is in `vptstudy.slices`.

    vptcore check config.yaml
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from vptcore.data.item import Request
from vptcore.data.one_shot import DRAWN
from vptcore.data.tasks import Task
from vptcore.data.whereabouts import place_of
from vptcore.models.backbones import Backbone
from vptcore.models.methods_table import METHODS, in_order
from vptcore.training.protocol import AUTHORS_BATCH, Protocol

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

    @property
    def curve_seeds(self) -> int:
        """How many of the seeds, the first ones, get a test loss after every epoch."""
        wanted = self.config["curves"]["seeds"]
        return len(self.seeds) if wanted == "all" else min(wanted, len(self.seeds))

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

    @property
    def racing(self) -> dict | None:
        """What `search: racing` says, {short, keep}: shares of the epochs and of a grid. None where grids are whole."""
        found = self.config.get("search", {})
        return found if found.get("kind") == "racing" else None

    def skips_bad_images(self, task: str) -> bool:
        return self.config["tasks"].get(task, {}).get("on_bad_image") == "skip"

    def told_splits(self, task: str) -> str:
        """The file that says each image's split; empty where the source does."""
        return self.config["tasks"].get(task, {}).get("splits", "")

    def grid(self, cell: Cell) -> dict[str, list[float]]:
        """What a search of the cell tries: its method's grid, but for what its task has of its own."""
        own = self.config["tasks"].get(cell.task, {}).get("grids", {})
        return self.config["methods"][cell.method]["grid"] | own.get(cell.method, {})

    def resize_of(self, task: str) -> str:
        """The task's own resize, else the config's, else that of the task's benchmark: VTAB's is the protocol's."""
        own = self.config["tasks"].get(task, {}).get("resize")
        resize = own or self.config.get("resize") or self.tasks[task].resize
        return self.protocol.vtab_resize if resize == "vtab" else resize

    def source_path(self, task: str) -> str | None:
        """Where a task's images are looked for; None for those that a package or this one ships."""
        if self.tasks[task].shipped:
            return None
        given = self.config["tasks"].get(task, {}).get("path")
        return given or f"{self.config['data_root']}/{task}"

    def source_place(self, task: str) -> tuple[str, tuple[str, ...]]:
        """The folder or file that a task's images are read from (its path, or that with its source's suffix), and the
        images elsewhere that a file there names; ("", ()) where nothing is."""
        row, path = self.tasks[task], self.source_path(task)
        return place_of(row.source, Request(row.id, row.classes, Path(path) if path else None))

    def is_downloaded(self, task: str) -> bool:
        """Whether the workflow brings a task's images. To a path of the person's own it never does."""
        default = f"{self.config['data_root']}/{task}"
        return self.tasks[task].fetched and self.source_path(task) == default

    def input_size(self, task: str) -> int:
        """The largest input in pixels among the backbones that see this task."""
        return self._input_sizes[task]

    @cached_property
    def _input_sizes(self) -> dict[str, int]:
        pairs = {(cell.task, self.backbones[cell.backbone].size): None for cell in self.cells}
        return {task: max(size for t, size in pairs if t == task) for task, _ in pairs}

    @property
    def one_shot_selection(self) -> str:
        """How the one image per class is chosen (paper Appendix G.4), a key of `splits.SELECTIONS`."""
        return self.config.get("one_shot", {}).get("selection", "random")

    @property
    def one_shot_picks(self) -> int:
        """How many picks of one image per class the finals train on: one a seed where the protocol says so.

        A rule that draws nothing knows one pick.
        """
        is_drawn = self.one_shot_selection in DRAWN
        return len(self.seeds) if self.protocol.one_shot_picks == "per_seed" and is_drawn else 1

    @property
    def reference_images(self) -> str:
        """The images that the Fréchet reference is made of; '' where the config names statistics that exist."""
        where = self.config["fid"]["reference"]
        return "" if where.startswith("asset:") or where.endswith((".safetensors", ".npz")) else where

    @property
    def fid_tasks(self) -> list[str]:
        """The tasks whose distance to the reference is measured: all, or none under `fid: off`."""
        return [] if self.config["fid"]["network"] == "off" else self.used("task")

    def base_fid_train(self, task: str) -> str:
        """The split whose train and val images stand for the task: the base size, or the task's own."""
        trains = [cell.train for cell in self.cells if cell.task == task]
        return self.base_train if self.base_train in trains else trains[0]

    @cached_property
    def plain_rows(self) -> dict[str, dict]:
        """Backbones and protocol as plain values: hundreds of slices share them."""
        return {name: asdict(row) for name, row in self.backbones.items()} | {"protocol": asdict(self.protocol)}

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
