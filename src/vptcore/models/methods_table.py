"""The ways to tune a backbone, one row each. What a method is; how it is built is in `methods`.

In: a method's id. Out: its row, which the training, the plan, the rehearsal, the tables and the figures read.

    python -m pytest tests/vptcore/models/test_methods_table.py
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from vptcore.choices import ConfigError, choose_one
from vptcore.models.outline import Layer, Place
from vptcore.models.peft_types import TRAINS, refusal

Settings = Mapping[str, object]
# The linear layers of a block in timm's names, ViT and Swin alike.
LAYERS = ("qkv", "proj", "fc1", "fc2")


@dataclass(frozen=True)
class Added:
    """What a method adds at every layer for which `at` holds, as far as parameters and FLOPs are concerned.

    `numbers` are the trained ones at such a layer. With a `rank` there are two products, down to it and up again, over
    the layer's tokens. `once` are FLOPs a batch, whatever its size. `spot` says where the products are: beside the
    layer itself, or with `mlp` and `block` beside and behind the whole MLP branch.
    """

    at: Callable[[Layer], bool]
    numbers: Callable[[Layer], int]
    rank: int = 0
    once: Callable[[Layer], float] = lambda layer: 0.0
    spot: str = "layer"


def nothing(place: Place, settings: Settings) -> bool:
    return False


def everything(place: Place, settings: Settings) -> bool:
    return True


def biases(place: Place, settings: Settings) -> bool:
    """Every bias, and nothing else (Ben Zaken et al., ACL 2022): EVA's and BEiT's `q_bias` and `v_bias` too."""
    return place.name.endswith((".bias", "_bias"))


def norms(place: Place, settings: Settings) -> bool:
    """Scale and shift of every norm."""
    layer = place.name.rpartition(".")[0]
    return "norm" in layer.rpartition(".")[2]


def last_blocks(place: Place, settings: Settings) -> bool:
    """The last `blocks` blocks, and what follows them."""
    return place.block >= max(0, place.blocks - int(settings["blocks"]))


@dataclass(frozen=True, eq=False)
class Method:
    """`title` as the paper prints it, `colour` in every figure (Okabe-Ito: told apart by colour-blind eyes and in
    print).

    `trains`: which of the backbone's own parameters train. `adds`: what is added to it, counted; `branch`: what
    `methods.BRANCHES` builds for it. `prompts`: whether prompts are added. `head`: linear, or mlp. `probe`: the
    backbone only computes features, which are cached; `stacks`: all configurations of its grid train side by side.
    `needs`: the method whose tuned model it starts from.

    `optimizer`: sgd or adamw, or the protocol's switch that says which. `as_full`: warm-up, dropout, stochastic depth
    and fixed decay are those of full fine-tuning. `settings`: the method's own keys in the config, with their defaults;
    `check` raises a ConfigError for settings that cannot be right; its key starts with the one given. `batch` and
    `grid`: those of its makers, where a config gives none.

    `rehearsed`: points of accuracy beside VPT where a rehearsal makes a number up.
    """

    id: str
    title: str
    colour: str
    trains: Callable[[Place, Settings], bool] = nothing
    adds: Callable[[Settings], tuple[Added, ...]] = lambda settings: ()
    prompts: bool = False
    branch: str = ""
    head: str = "linear"
    probe: bool = False
    stacks: bool = False
    needs: str = ""
    optimizer: str = "sgd"
    as_full: bool = False
    settings: Settings = field(default_factory=dict)
    batch: int = 0
    grid: Mapping[str, list[float]] = field(default_factory=dict)
    check: Callable[[str, Settings], None] = lambda key, settings: None
    rehearsed: float = 0.0

    def optimizer_under(self, protocol: object) -> str:
        """sgd or adamw, under a protocol's switches."""
        return getattr(protocol, self.optimizer) if self.optimizer.endswith("_optimizer") else self.optimizer


def check_lora(key: str, settings: Settings) -> None:
    for target in settings["lora"]["targets"]:
        choose_one(f"{key}.lora.targets", target.rsplit(".", 1)[-1], LAYERS)


def lora_adds(settings: Settings) -> tuple[Added, ...]:
    lora = settings["lora"]
    rank, names = int(lora["rank"]), [str(target) for target in lora["targets"]]
    return (
        Added(
            at=lambda layer: is_target(layer.name, names),
            numbers=lambda layer: rank * (layer.narrow + layer.wide),
            rank=rank,
        ),
    )


def check_peft(key: str, settings: Settings) -> None:
    peft = settings["peft"]
    if wrong := refusal(peft):
        raise ConfigError(f"{key}.peft.{wrong}")
    choose_one(f"{key}.peft.peft_type", peft.get("peft_type", ""), TRAINS)
    targets = peft.get("target_modules")
    if not (isinstance(targets, str | list) and targets):
        raise ConfigError(f"{key}.peft.target_modules: {targets!r} names no layers; give a list such as [qkv]")


def peft_adds(settings: Settings) -> tuple[Added, ...]:
    """What peft's LoRA and DoRA add; its other types are planned as a LoRA of the same rank, or of rank 8."""
    peft = settings["peft"]
    rank, targets, dora = int(peft.get("r", 8)), peft["target_modules"], bool(peft.get("use_dora"))

    def at(layer: Layer) -> bool:
        if targets == "all-linear":
            return layer.narrow > 0 and not layer.name.startswith("patch_embed")
        return bool(re.fullmatch(targets, layer.name)) if isinstance(targets, str) else is_target(layer.name, targets)

    def once(layer: Layer) -> float:
        # DoRA's norm of the updated weights: the update itself, from an identity matrix.
        return 2 * rank * layer.narrow * (layer.narrow + layer.wide) if dora else 0.0

    return (
        Added(
            at=at,
            numbers=lambda layer: rank * (max(layer.narrow, 1) + layer.wide) + (layer.wide if dora else 0),
            rank=rank,
            once=once,
        ),
    )


def bottleneck_adds(spot: str, scales: bool) -> Callable[[Settings], tuple[Added, ...]]:
    """An adapter of `bottleneck` at every block's MLP: two layers with biases, and where it `scales` one a channel."""

    def adds(settings: Settings) -> tuple[Added, ...]:
        rank = int(settings["bottleneck"])
        return (
            Added(
                at=lambda layer: layer.kind == "fc2",
                numbers=lambda layer: 2 * rank * layer.wide + rank + layer.wide * (2 if scales else 1),
                rank=rank,
                spot=spot,
            ),
        )

    return adds


def ssf_adds(settings: Settings) -> tuple[Added, ...]:
    return (Added(at=lambda layer: True, numbers=lambda layer: 2 * layer.wide),)


def is_target(layer: str, targets: Iterable[str]) -> bool:
    """Whether an adapter's `targets` name this layer: the end of its name; the patch embedding's only in full."""
    ends = any(layer == target or layer.endswith(f".{target}") for target in targets)
    return ends and ("patch_embed" not in layer or any("patch_embed" in target for target in targets))


class Methods(dict):
    """Rows by their ids. Any other name is one that a config made up for an adapter of peft: looked up it has a row,
    while `in` and loops know the rows of the table alone."""

    def __missing__(self, id: str) -> Method:
        return _of_peft(id)


@cache
def _of_peft(id: str) -> Method:
    """A row without settings: the config's `peft` says everything. Its colour follows from its name."""
    return Method(
        id, id.replace("_", " "), f"#{zlib.crc32(id.encode()) & 0x9F9F9F:06X}", adds=peft_adds, branch="peft",
        settings={"peft": {}}, check=check_peft, optimizer="adamw", batch=64,
        grid={"lr": [0.04, 0.02, 0.004, 0.002], "weight_decay": [0.01, 0.0001]},
    )  # fmt: skip


# A grid's learning rates are per 256 images (`scale_lr`): what makers call 1e-3 at a batch of 64 is 4e-3 here.
METHODS: dict[str, Method] = Methods(
    (method.id, method)
    for method in (
        Method(
            "full", "FT", "#D55E00", trains=everything, optimizer="full_optimizer", as_full=True, rehearsed=-6.0,
            settings={"layer_decay": 1.0},
        ),
        Method("vpt", "VPT", "#0072B2", prompts=True),
        Method(
            "mixed", "Mixed", "#009E73", trains=everything, prompts=True, optimizer="mixed_optimizer", rehearsed=-14.0
        ),
        Method("ft_then_pt", "FT-then-PT", "#CC79A7", prompts=True, needs="full", rehearsed=-6.0),
        Method("linear", "Linear", "#999999", probe=True, stacks=True, rehearsed=-10.0),
        Method("mlp", "MLP probe", "#56B4E9", probe=True, head="mlp", rehearsed=-12.0),
        Method(
            "lora", "LoRA", "#E69F00", adds=lora_adds, optimizer="lora_optimizer", rehearsed=1.0,
            settings={"lora": {"rank": 8, "alpha": 8, "targets": ["qkv"]}}, check=check_lora, branch="lora",
        ),
        Method(
            "bitfit", "BitFit", "#332288", trains=biases, optimizer="adamw", rehearsed=-1.0, batch=64,
            grid={"lr": [0.004, 0.01, 0.02, 0.04], "weight_decay": [0.001, 0.0001]},
        ),
        Method(
            "layernorm", "LayerNorm", "#44AA99", trains=norms, optimizer="adamw", rehearsed=-1.0, batch=64,
            grid={"lr": [0.004, 0.01, 0.02, 0.04], "weight_decay": [0.001, 0.0001]},
        ),
        # Depth-wise decay as BEiT and MAE fine-tune ViT-B (Bao et al., ICLR 2022; He et al., CVPR 2022).
        Method(
            "full_decayed", "FT, layer decay", "#882255", trains=everything, optimizer="full_optimizer", as_full=True,
            settings={"layer_decay": 0.75}, rehearsed=-3.0, batch=64,
            grid={"lr": [0.005, 0.001, 0.0005, 0.0001], "weight_decay": [0.05, 0.01]},
        ),
        # The last blocks and the last norm (Yosinski et al., NeurIPS 2014; KMnP/vpt src/models/vit_models.py:76-92).
        Method(
            "partial", "Partial", "#117733", trains=last_blocks, optimizer="full_optimizer", as_full=True,
            settings={"blocks": 1, "layer_decay": 1.0}, rehearsed=-7.0, batch=64,
            grid={"lr": [0.005, 0.001, 0.0005, 0.0001], "weight_decay": [0.01, 0.001, 0.0001, 0.0]},
        ),
        # Deep prompts that start from k-means prototypes of patch tokens (Wang et al., ICML 2024); searched like VPT's,
        # where the makers train with AdamW (docs/protocol.md).
        Method(
            "spt", "SPT", "#999933", prompts=True, settings={"prompt_init": "prototypes"}, rehearsed=1.0, batch=64,
            grid={"lr": [50, 25, 10, 5, 2.5, 1, 0.5, 0.25, 0.1, 0.05], "weight_decay": [0.01, 0.001, 0.0001, 0.0]},
        ),
        # From the head of a linear probe (Kumar et al., ICLR 2022).
        Method(
            "lp_ft", "LP-FT", "#AA4499", trains=everything, needs="linear", optimizer="full_optimizer", as_full=True,
            settings={"layer_decay": 1.0}, rehearsed=-4.0, batch=64,
            grid={"lr": [0.001, 0.0005, 0.0001, 0.00005], "weight_decay": [0.01, 0.0001]},
        ),
        # Liu et al., ICML 2024.
        Method(
            "dora", "DoRA", "#661100", adds=peft_adds, branch="peft", check=check_peft, optimizer="adamw",
            settings={"peft": {"peft_type": "LORA", "use_dora": True, "r": 8, "lora_alpha": 16,
                               "target_modules": ["qkv"]}},
            rehearsed=1.0, batch=64, grid={"lr": [0.02, 0.004, 0.002, 0.0004], "weight_decay": [0.01, 0.0001]},
        ),
        # Chen et al., NeurIPS 2022: 64 wide, scaled by 0.1 (main_image.py, scripts).
        Method(
            "adaptformer", "AdaptFormer", "#6699CC", adds=bottleneck_adds("mlp", False), branch="adaptformer",
            optimizer="adamw", settings={"bottleneck": 64, "scale": 0.1}, rehearsed=2.0, batch=64,
            grid={"lr": [0.02, 0.004, 0.002], "weight_decay": [0.01, 0.0001]},
        ),
        # Steitz and Roth, CVPR 2024: one setting for every task, AdamW at 1e-3 and a weight decay of 1e-4.
        Method(
            "adapter_plus", "Adapter+", "#DDAA33", adds=bottleneck_adds("block", True), branch="adapter_plus",
            optimizer="adamw", settings={"bottleneck": 8}, rehearsed=2.0, batch=64,
            grid={"lr": [0.004], "weight_decay": [0.0001]},
        ),
        # Lian et al., NeurIPS 2022 (train_scripts/vit/vtab: lr 5e-3 to 1e-2, weight decay 5e-5 to 5e-2).
        Method(
            "ssf", "SSF", "#000000", adds=ssf_adds, branch="ssf", optimizer="adamw", rehearsed=1.5, batch=64,
            grid={"lr": [0.04, 0.02, 0.004], "weight_decay": [0.05, 0.00005]},
        ),
    )
)  # fmt: skip


def in_order(names: Iterable[str]) -> list[str]:
    """Methods in the order of the table, then those that a config made up as they come."""
    named = list(dict.fromkeys(names))
    return [id for id in METHODS if id in named] + [id for id in named if id not in METHODS]


def settings_of(job: Mapping) -> dict:
    """A method's own settings in a job: the row's defaults under what the config says."""
    return {**METHODS[job["method"]].settings, **(job.get("settings") or {})}
