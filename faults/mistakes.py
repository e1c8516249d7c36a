"""Mistakes that people make in a config and that fit its schema: names that are not there, values that do not go
together, numbers that no run can use.

In: nothing. Out: `MISTAKES`: a kind, the key that the error must start with, how the mistake is made, and with what.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    kind: str
    key: str
    make: Callable[[dict, object], object]
    values: tuple


def _put(*path: str) -> Callable[[dict, object], None]:
    """A function that puts a value at a path of the config."""

    def put(config: dict, value: object) -> None:
        for step in path[:-1]:
            config = config[step]
        config[path[-1]] = value

    return put


def _switch(config: dict, pair: tuple) -> None:
    config["switches"][pair[0]] = pair[1]


def _own_task(config: dict, row: dict) -> None:
    config["tasks"]["mine"] = row


NAN, INF = float("nan"), float("inf")
NAMES = ("", "digit", "Digits", "digits ", "vit", "full\n", "../x", "<script>", "$(touch x)", "ñ", "0", "None", "vpt;")
_OWN = {"source": "folder", "path": "x", "group": "natural", "classes": 3}

MISTAKES = (
    Mistake("unknown task", "experiments", lambda c, v: c["experiments"]["whole"].update(tasks=[v]), NAMES),
    Mistake("unknown method", "experiments", lambda c, v: c["experiments"]["whole"].update(methods=[v]), NAMES),
    Mistake("unknown backbone", "experiments", lambda c, v: c["experiments"]["whole"].update(backbones=[v]), NAMES),
    Mistake(
        "a method nobody knows",
        "methods",
        lambda c, v: (c["methods"].update({v: c["methods"]["vpt"]}), c)[1],
        ("vtp", "prompt", "", "FULL"),
    ),
    Mistake(
        "nothing to start from",
        "experiments",
        lambda c, v: c["experiments"].update(
            more={"tasks": [v], "methods": ["ft_then_pt"], "train": [40], "backbones": ["vit_mini_cifar10"]}
        ),
        ("fashion_mnist", "shapes_location", "shapes_orientation"),
    ),
    Mistake("no recipe to reuse", "experiments", lambda c, v: c.update(base_train=v), (8, 20, 80, 400)),
    Mistake(
        "no image left",
        "experiments",
        lambda c, v: [e.update(train=[v]) for e in c["experiments"].values()],
        (5000, 100000, 2**31 - 1),
    ),
    Mistake(
        "a batch larger than the train set",
        "methods",
        lambda c, v: c["methods"][v[0]].update(batch=v[1]),
        (("full", 41), ("vpt", 64), ("linear", 2**30), ("ft_then_pt", 60)),
    ),
    Mistake("unknown set of lengths", "prompts", _put("prompts", "lengths"), NAMES),
    Mistake(
        "lengths without a default",
        "prompts",
        lambda c, v: c["prompts"]["sets"].update(bad=v),
        ({}, {"vit_mini_cifar10": {"digits": 1}}),
    ),
    Mistake(
        "lengths of an unknown backbone", "prompts", lambda c, v: c["prompts"]["sets"]["other"].update({v: {}}), NAMES
    ),
    Mistake(
        "lengths of an unknown task",
        "prompts",
        lambda c, v: c["prompts"]["sets"]["other"].update(vit_mini_cifar10={v: 2}),
        NAMES,
    ),
    Mistake("unknown task to explain", "explain", lambda c, v: c["explain"].update(tasks=[v]), NAMES),
    Mistake("unknown main backbone", "report", _put("report", "main_backbone"), NAMES),
    Mistake(
        "a main backbone that is not run",
        "report",
        _put("report", "main_backbone"),
        ("vit_b16_mae", "swin_b_sup21k", "my_vit"),
    ),
    Mistake(
        "unknown switch",
        "switches",
        _switch,
        (("head_biass", 0), ("", 1), ("name", "x"), ("Mixed_optimizer", "sgd"), ("<b>", 0)),
    ),
    Mistake(
        "a switch's value",
        "switches",
        _switch,
        (
            ("head_bias", NAN),
            ("head_bias", INF),
            ("head_bias", "0"),
            ("head_bias", None),
            ("head_bias", True),
            ("prompt_dropout", 1),
            ("prompt_dropout", -0.1),
            ("prompt_dropout", NAN),
            ("warmup", 1.0),
            ("warmup", [0.1]),
            ("lr_zero_epoch", 1),
            ("lr_zero_epoch", "yes"),
            ("decay_norms", None),
            ("normalisation", "imagnet"),
            ("mixed_optimizer", "adam"),
            ("prompt_init", {}),
            ("val_every_epoch", 0),
        ),
    ),
    Mistake(
        "a task of one's own lacks",
        "tasks",
        _own_task,
        ({}, {"group": "natural"}, {"source": "hf"}, {"group": "natural", "classes": 3}),
    ),
    Mistake(
        "a task of one's own from what ships",
        "tasks",
        _own_task,
        tuple(_OWN | {"source": source} for source in ("sklearn_digits", "embedded_parquet", "shapes")),
    ),
    Mistake("a task named as a set", "tasks", lambda c, v: c["tasks"].update({v: _OWN}), ("vtab", "fgvc", "embedded")),
    Mistake(
        "a backbone of one's own lacks timm",
        "backbones",
        lambda c, v: c["backbones"].update(mine=v),
        ({}, {"width": 3}, {"checkpoint": "x.safetensors"}),
    ),
    Mistake(
        "a checkpoint that does not ship",
        "backbones",
        lambda c, v: c["backbones"]["my_vit"].update(checkpoint=v),
        ("asset:no.safetensors", "asset:../../../etc/passwd", "asset:", "hub:", "hub:../x", "hub:a b"),
    ),
    Mistake(
        "a reference that does not ship",
        "fid",
        _put("fid", "reference"),
        ("asset:no.safetensors", "asset:../study.py", "asset:", ""),
    ),
    Mistake(
        "a spread of zero",
        "backbones",
        lambda c, v: c["backbones"]["my_vit"].update(std=v),
        ([0, 1, 1], [1, -1, 1], [NAN, 1, 1], [INF, 1, 1]),
    ),
    Mistake(
        "an unknown layer for LoRA",
        "methods",
        lambda c, v: c["methods"]["lora"]["lora"].update(targets=[v]),
        ("qvk", "head", "", "(.*)"),
    ),
    Mistake(
        "a title that is no text of one line",
        "tasks",
        lambda c, v: c["tasks"]["leaves"].update(title=v),
        ("", "a\nb", "a\x1b[31mred", "\x00", "a\tb", "\u2028"),
    ),
    Mistake(
        "a title that is no text of one line",
        "backbones",
        lambda c, v: c["backbones"]["my_vit"].update(title=v),
        ("", "a\nb", "\x7f", "a\rb"),
    ),
    Mistake(
        "a path that is none", "tasks", lambda c, v: c["tasks"]["leaves"].update(path=v), ("", "a\nb", "\x00", "a\x1bb")
    ),
    Mistake("something else than a mapping", "config", lambda c, v: c.clear(), (None,)),
)
