"""What an image costs, in floating-point operations, and how much of a device's peak a job reaches (MFU).

In: the model part of a job slice (backbone row, method, prompt length, protocol, LoRA). Out: FLOPs per image of our own
form, prompts as keys and values and the last block for the class token alone: matrix products only, multiply-add as 2.
A product's backward pass costs as much again for each operand that needs a gradient, so a step is
sum(flops x (1 + operands with a gradient)); which operands those are is followed through the network.

    python -m pytest tests/vptcore/training/test_flops.py
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from vptcore.models.methods_table import METHODS

# Dense bf16 peak with sums in fp32, in FLOP/s, by a word of the device's name (vendors' data sheets); the first that
# occurs counts. A V100 has no bf16 units: its fp16 peak.
PEAKS = {
    "B200": 2250e12,
    "GH200": 990e12,
    "H200 NVL": 835e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "A40": 149.7e12,
    "A10": 125e12,
    "RTX A6000": 154.8e12,
    "RTX 6000 Ada": 364e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "RTX 5090": 209.5e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "V100": 125e12,
}

# timm's names: blocks of a plain ViT, blocks of a Swin's stages.
_VIT_DEPTHS = {"tiny": 12, "small": 12, "base": 12, "large": 24, "huge": 32}
_SWIN_DEPTHS = {"tiny": (2, 2, 6, 2), "small": (2, 2, 18, 2), "base": (2, 2, 18, 2), "large": (2, 2, 18, 2)}


@dataclass(frozen=True)
class Stage:
    """Blocks of one width over so many tokens, which attend in windows of `window` tokens (a ViT's window is all)."""

    blocks: int
    tokens: int
    width: int
    window: int


@dataclass(frozen=True)
class Shape:
    """A backbone's numbers. `patch_numbers` are those of one patch (3 x patch^2); a ViT has one stage."""

    stages: tuple[Stage, ...]
    patch_numbers: int
    is_swin: bool = False
    mlp_ratio: float = 4.0

    @property
    def width(self) -> int:
        return self.stages[-1].width

    @property
    def depth(self) -> int:
        return sum(stage.blocks for stage in self.stages)

    @property
    def parameters(self) -> int:
        """Weights of the blocks and the patch embedding; norms, biases and positions are below one per cent of them."""
        blocks = sum(s.blocks * (4 + 2 * self.mlp_ratio) * s.width**2 for s in self.stages)
        merges = sum(8 * s.width**2 for s in self.stages[:-1])
        return round(blocks + merges + self.patch_numbers * self.stages[0].width)


def shape_of(backbone: Mapping) -> Shape:
    """The numbers of a backbone row: its options where they are set, timm's name where they are not."""
    options, name, width = backbone["options"], backbone["timm"], backbone["width"]
    sizes = re.match(r"(?:vit|swin)_([a-z]+)\w*?_patch(\d+)(?:_window(\d+))?", name)
    size, patch, window = sizes.groups() if sizes else ("base", 16, 7)
    patch = int(options.get("patch_size", patch))
    grid, ratio = int(backbone["size"]) // patch, float(options.get("mlp_ratio", 4))
    if not name.startswith("swin_"):
        depth = int(options.get("depth", _VIT_DEPTHS.get(size, backbone["depth"])))
        tokens = grid**2 + 1
        return Shape((Stage(depth, tokens, width, tokens),), 3 * patch**2, mlp_ratio=ratio)
    depths = tuple(options.get("depths", _SWIN_DEPTHS.get(size, (2, 2, 18, 2))))
    side = int(options.get("window_size", window or 7))
    stages = []
    for index, blocks in enumerate(depths):
        edge = grid // 2**index
        window_edge = min(side, edge)
        padded = -(-edge // window_edge) * window_edge
        stage_width = width // 2 ** (len(depths) - 1 - index)
        stages.append(Stage(blocks, padded**2, stage_width, window_edge**2))
    return Shape(tuple(stages), 3 * patch**2, is_swin=True, mlp_ratio=ratio)


@dataclass(frozen=True)
class Product:
    """A matrix product per image: its FLOPs, and how many of its two operands need a gradient."""

    flops: float
    grads: int = 0

    @property
    def step(self) -> float:
        return self.flops * (1 + self.grads)


@dataclass(frozen=True)
class _Tuning:
    """What of a job decides its products. `share` is how often an image pays for prompts that nothing has mixed yet:
    1 where each has its own dropout mask, 1 / batch where a batch shares them."""

    trains: bool
    prompts: int
    deep: bool
    share: float
    pool_tokens: bool
    pools_prompts: bool
    rank: int
    targets: frozenset[str]


def _tuning(job: Mapping, batch: int, training: bool) -> _Tuning:
    method, protocol = METHODS[job["method"]], job["protocol"]
    own = training and job["deep"] and protocol["prompt_dropout"] > 0 and not job["backbone"]["timm"].startswith("swin")
    lora = (job.get("lora") or {}) if job["method"] == "lora" else {}
    return _Tuning(
        trains=method.trains_backbone,
        prompts=int(job["prompt_length"]) if method.prompts else 0,
        deep=bool(job["deep"]),
        share=1.0 if own else 1 / batch,
        pool_tokens=job["backbone"]["pool"] != "token",
        pools_prompts=bool(protocol["prompts_in_pool"]),
        rank=int(lora.get("rank", 0)),
        targets=frozenset(name.split(".")[-1] for name in lora.get("targets", ())),
    )


@dataclass(frozen=True)
class _Reach:
    """How one block is computed: `tokens` enter, `queries` of them are computed, each sees `keys`.

    `read` prompts are keys and values alone; `carried` ones are tokens of every window, averaged after attention.
    """

    tokens: float
    queries: float
    keys: float
    read: int = 0
    carried: int = 0


def _block(d: int, hidden: float, reach: _Reach, x: bool, tuning: _Tuning, read_parts: int) -> Iterator[Product]:
    """The products of one block; `x` says whether its input needs a gradient."""
    w, adapted = tuning.trains, tuning.rank > 0 and "qkv" in tuning.targets
    n, q = reach.tokens, reach.queries
    own = (n if adapted else q) * 2 * d * d  # an adapted projection is not cut into query, key and value
    yield Product(own + 4 * n * d * d, x + w)
    yield from _adapter(tuning, "qkv", n, d, 3 * d, x)
    yield Product(2 * read_parts * reach.read * d * d * tuning.share + 6 * reach.carried * d * d, 1 + w)
    queries_grad = x or w or adapted
    keys_grad = queries_grad or reach.read > 0 or reach.carried > 0
    queries_grad = queries_grad or reach.carried > 0
    windows = n / reach.keys
    q_all, k_all = q + windows * reach.carried, reach.keys + reach.read + reach.carried
    yield Product(2 * q_all * k_all * d, queries_grad + keys_grad)
    yield Product(2 * q_all * k_all * d, (queries_grad or keys_grad) + keys_grad)
    out, after = keys_grad, q + reach.carried
    for name, rows, narrow, wide in (("proj", q_all, d, d), ("fc1", after, d, hidden), ("fc2", after, hidden, d)):
        yield Product(2 * rows * narrow * wide, out + w)
        yield from _adapter(tuning, name, rows, narrow, wide, out)
        out = out or (tuning.rank > 0 and name in tuning.targets)


def _adapter(tuning: _Tuning, name: str, rows: float, narrow: float, wide: float, x: bool) -> Iterator[Product]:
    """A low-rank update beside a projection: down to the rank, and up."""
    if name in tuning.targets and tuning.rank:
        yield Product(2 * rows * narrow * tuning.rank, x + 1)
        yield Product(2 * rows * tuning.rank * wide, 2)


def _vit(shape: Shape, t: _Tuning) -> Iterator[Product]:
    (stage,) = shape.stages
    n, d = stage.tokens, stage.width
    yield Product(2 * (n - 1) * shape.patch_numbers * d, int(t.trains))
    x = t.trains
    if t.prompts and not t.deep:
        n, x = n + t.prompts, True
    for index in range(stage.blocks):
        is_last, read = index == stage.blocks - 1, t.prompts if t.deep else 0
        if is_last and read and t.pool_tokens and t.pools_prompts:
            n, read, x = n + read, 0, True
        queries = 1 if is_last and not t.pool_tokens else n
        yield from _block(d, shape.mlp_ratio * d, _Reach(n, queries, n, read), x, t, read_parts=2)
        x = x or read > 0 or t.rank > 0


def _swin(shape: Shape, t: _Tuning) -> Iterator[Product]:
    first = shape.stages[0]
    yield Product(2 * first.tokens * shape.patch_numbers * first.width, int(t.trains))
    x, index = t.trains, 0
    carried = 0 if t.deep else t.prompts
    for number, stage in enumerate(shape.stages):
        if number:
            before = stage.width // 2
            merged = stage.tokens + carried
            yield Product(2 * merged * 4 * before * 2 * before, x + t.trains)
        for _ in range(stage.blocks):
            index += 1
            is_pooled = index == shape.depth and t.pools_prompts
            tokens_now = carried or (t.prompts if is_pooled else 0)
            reach = _Reach(stage.tokens, stage.tokens, stage.window, 0 if tokens_now else t.prompts, tokens_now)
            yield from _block(stage.width, shape.mlp_ratio * stage.width, reach, x, t, read_parts=3)
            x = x or t.prompts > 0 or t.rank > 0


@lru_cache(maxsize=1024)
def _encoder(shape: Shape, tuning: _Tuning) -> tuple[float, float]:
    """Forward alone, and a whole step."""
    products = list((_swin if shape.is_swin else _vit)(shape, tuning))
    return sum(product.flops for product in products), sum(product.step for product in products)


def _head(job: Mapping, feature_grad: bool) -> Iterator[Product]:
    d = int(job["backbone"]["width"])
    for layer in range(2 if job["method"] == "mlp" else 0):
        yield Product(2 * d * d, 1 + (feature_grad or layer > 0))
    yield Product(2 * d * int(job["classes"]), 1 + (feature_grad or job["method"] == "mlp"))


def forward_flops(job: Mapping, batch: int = 512) -> float:
    """Scoring one image of a batch, which shares its prompts' keys and values; the head is counted."""
    encoder, _ = _encoder(shape_of(job["backbone"]), _tuning(job, batch, training=False))
    return encoder + sum(product.flops for product in _head(job, False))


def step_flops(job: Mapping, batch: int | None = None) -> float:
    """Forward and backward of one training image; of a probe, which trains on cached features, the head alone."""
    if METHODS[job["method"]].probe:
        return sum(product.step for product in _head(job, False))
    tuning = _tuning(job, batch or int(job["recipe"]["batch"]), training=True)
    _, encoder = _encoder(shape_of(job["backbone"]), tuning)
    return encoder + sum(product.step for product in _head(job, True))


def mfu(flops_per_image: float, images_per_second: float, device: str) -> float | None:
    """Share of the device's peak in [0, 1], or None for a device that is not in the table."""
    peak = peak_of(device)
    return None if peak is None else flops_per_image * images_per_second / peak


def peak_of(device: str) -> float | None:
    """FLOP/s of a device by its full name. A MIG slice has its sevenths of the card ("… MIG 2g.20gb": two)."""
    peak = next((value for name, value in PEAKS.items() if re.search(rf"\b{name}\b", device)), None)
    slices = re.search(r"\bMIG (?:(\d)c\.)?(\d)g\b", device)
    if peak is None or slices is None:
        return peak
    return peak * int(slices[1] or slices[2]) / 7
