"""The paper's twenty tables, one row each, two of their form for your own tasks, and which cells each of them reads.

In: a table's number and a study. Out: its spec, its cells, its sizes; `[]` where the study has nothing for it. What
differs between studies (backbone, train sizes, tasks) comes from the study; nothing here names a task.

    python -m pytest tests/vptstudy/report/test_specs.py
"""

from __future__ import annotations

from dataclasses import dataclass

from vptcore.data.tasks import GROUPS, OWN
from vptstudy.study import ONE_SHOT, WHOLE_TRAIN, Cell, Study

ROLES = {"swin": "swin_b_sup21k", "mae": "vit_b16_mae", "moco": "vit_b16_mocov3"}
STRATEGIES = ("full", "vpt", "mixed", "ft_then_pt")
PAIR = ("full", "vpt")


@dataclass(frozen=True)
class TableSpec:
    """One table, by its number in the paper or a name.

    `role` names the backbone, `trains` the train sizes: base, one_shot, train, or sizes (all numbers).
    `others`: the study's further methods follow below a rule. `tuned`: a row with tuned / total parameters of VPT.
    `fid`: a row with Fréchet distances. `gap`: a row with the last method minus the first. `only`: the tasks and sizes
    that this method was run on. `common`: without the sizes that one task alone was run at.
    """

    number: int | str
    title: str
    groups: tuple[str, ...]
    methods: tuple[str, ...] = PAIR
    role: str = "main"
    trains: str = "base"
    metric: str = "accuracy"
    others: bool = False
    tuned: bool = False
    fid: bool = False
    gap: bool = False
    mean: bool = True
    only: str = ""
    common: bool = False


def _three(first: int, role: str) -> tuple[TableSpec, ...]:
    return tuple(
        TableSpec(first + i, f"Per-task results, {group.capitalize()}", (group,), role=role, tuned=True)
        for i, group in enumerate(GROUPS[:3])
    )


_EASY, _HARD = ("natural", "specialized"), ("structured",)
_LENGTHS = {"methods": ("vpt",), "metric": "prompt_length"}

TABLES: dict[int | str, TableSpec] = {
    spec.number: spec
    for spec in (
        TableSpec("own", "Training strategies, own tasks", (OWN,), others=True, tuned=True),
        TableSpec("own_sizes", "Accuracy by train size, own tasks", (OWN,), trains="sizes"),
        TableSpec(1, "Training strategies, Natural and Specialized", _EASY, STRATEGIES, others=True, tuned=True),
        TableSpec(2, "Training strategies, Structured", _HARD, STRATEGIES, others=True, tuned=True),
        TableSpec(3, "One-shot accuracy, Natural and Specialized", _EASY, trains=ONE_SHOT, tuned=True),
        TableSpec(4, "One-shot accuracy, Structured", _HARD, trains=ONE_SHOT, tuned=True),
        TableSpec(5, "Accuracy by train size, Natural and Specialized", _EASY, trains="sizes", common=True),
        TableSpec(6, "Accuracy by train size, Structured", _HARD, trains="sizes", common=True),
        *_three(7, "swin"),
        *_three(10, "mae"),
        *_three(13, "moco"),
        TableSpec(16, "Prompt length, Natural", ("natural",), **_LENGTHS),
        TableSpec(17, "Prompt length, Specialized", ("specialized",), **_LENGTHS),
        TableSpec(18, "Prompt length, Structured", _HARD, **_LENGTHS),
        TableSpec(19, "Per-task results, FGVC", ("fgvc",), trains=WHOLE_TRAIN, tuned=True, fid=True),
        TableSpec(
            20,
            "LoRA and full fine-tuning by train size",
            GROUPS,
            ("full", "lora"),
            trains="sizes",
            gap=True,
            mean=False,
            only="lora",
        ),
    )
}


def spec_of(number: int) -> TableSpec:
    if number not in TABLES:
        raise ValueError(f"table {number!r}: there is no such table; choose one of {', '.join(map(str, TABLES))}")
    return TABLES[number]


def backbone_of(spec: TableSpec, study: Study) -> str:
    return ROLES.get(spec.role) or study.main_backbone


def sizes(study: Study, **wanted: str | tuple[str, ...]) -> list[str]:
    """The numeric train sizes of the study's cells, small to large."""
    return sorted({cell.train for cell in study.select(**wanted) if cell.train.isdigit()}, key=int)


def methods_of(spec: TableSpec, study: Study) -> list[str]:
    """The spec's methods, and under `others` the study's further ones that were run as widely as full fine-tuning."""
    if not spec.others:
        return list(spec.methods)
    mine = {"backbone": backbone_of(spec, study), "train": trains_of(spec, study)}

    def tasks(method: str) -> set[str]:
        return {c.task for c in study.select(**mine, method=method) if study.tasks[c.task].group in spec.groups}

    further = [m for m in study.used("method") if m not in spec.methods and tasks(m) >= tasks(spec.methods[0])]
    return [*spec.methods, *further]


def trains_of(spec: TableSpec, study: Study) -> list[str]:
    if spec.trains == "base":
        return [study.base_train]
    if spec.trains != "sizes":
        return [spec.trains]
    mine = {"backbone": backbone_of(spec, study), "method": spec.methods}
    found = sizes(study, **mine)
    if spec.common and len({cell.task for cell in study.select(**mine)}) > 1:
        found = [size for size in found if len({cell.task for cell in study.select(**mine, train=size)}) > 1]
    return found if len(found) > 1 else []


def cells(number: int | str, study: Study) -> list[Cell]:
    """The cells whose `final` rows the table reads, in the study's order; [] if the study has none for it."""
    spec = spec_of(number)
    if not study.cells:
        return []
    tasks = [task.id for task in study.tasks.values() if task.group in spec.groups]
    found = study.select(
        backbone=backbone_of(spec, study), method=methods_of(spec, study), train=trains_of(spec, study), task=tasks
    )
    if spec.only:
        shared = {(cell.task, cell.train) for cell in found if cell.method == spec.only}
        found = [cell for cell in found if (cell.task, cell.train) in shared]
    return found


def tasks_of(spec: TableSpec, found: list[Cell], study: Study) -> dict[str, list[str]]:
    """Group -> the tasks of these cells, in the order of the study's tasks; groups without a task are left out."""
    present = {cell.task for cell in found}
    members = {g: [t.id for t in study.tasks.values() if t.group == g and t.id in present] for g in spec.groups}
    return {group: tasks for group, tasks in members.items() if tasks}
