"""What an image costs, in floating-point operations, and how much of a device's peak a job reaches (MFU).

In: the model part of a job slice (backbone row, method and its settings, prompt length, protocol). Out: FLOPs per image
of our own form, prompts as keys and values and the last block for the class token alone: matrix products only,
multiply-add as 2.
A product's backward pass costs as much again for each operand that needs a gradient, so a step is
sum(flops x (1 + operands with a gradient)); which operands those are is followed through the network.

    python -m pytest tests/vptcore/training/test_flops.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from vptcore.models.changes import HIDDEN, changes_of
from vptcore.models.methods_table import METHODS, Added
from vptcore.models.outline import Layer, Shape, layers, shape_of
from vptcore.training.cards import card_of


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
    """What of a job decides its products. `trained` names the backbone's trained parameters, `added` what is put beside
    its layers. `share` is how often an image pays for prompts that nothing has mixed yet: 1 where each has its own
    dropout mask, 1 / batch where a batch shares them; `batch` divides what is computed once for all of it."""

    trained: frozenset[str]
    added: tuple[tuple[Layer, Added], ...]
    prompts: int
    deep: bool
    share: float
    batch: int
    pool_tokens: bool
    pools_prompts: bool

    def weighs(self, layer: Layer) -> bool:
        """Whether the layer's own weight trains."""
        return f"{layer.name}.weight" in self.trained

    def touches(self, layer: Layer) -> bool:
        """Whether what leaves the layer depends on something trained there."""
        own = self.weighs(layer) or f"{layer.name}.bias" in self.trained
        return own or any(at == layer and added.spot == "layer" for at, added in self.added)

    def adapts(self, layer: Layer) -> bool:
        """Whether another module takes the layer's place, which is then computed whole."""
        return any(at == layer and added.spot == "layer" for at, added in self.added)

    def beside(self, layer: Layer, rows: float, x: bool, spot: str = "layer") -> Iterator[Product]:
        """The products added at a layer, over so many tokens; `x` says whether what they read needs a gradient."""
        for at, added in self.added:
            if at != layer or added.spot != spot:
                continue
            narrow = layer.wide if spot != "layer" else layer.narrow
            if added.rank:
                yield Product(2 * rows * narrow * added.rank, x + 1)
                yield Product(2 * rows * added.rank * layer.wide, 2)
            yield Product(added.once(layer) / self.batch)


def _tuning(job: Mapping, batch: int, training: bool) -> _Tuning:
    method, protocol = METHODS[job["method"]], job["protocol"]
    own = training and job["deep"] and protocol["prompt_dropout"] > 0
    trained, added = changes_of(job)
    return _Tuning(
        trained=trained,
        added=added,
        prompts=int(job["prompt_length"]) if method.prompts else 0,
        deep=bool(job["deep"]),
        share=1.0 if own else 1 / batch,
        batch=batch,
        pool_tokens=job["backbone"]["pool"] != "token",
        pools_prompts=bool(protocol["prompts_in_pool"]),
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


@dataclass(frozen=True)
class _Block:
    """The layers of one block, in order."""

    norm1: Layer
    qkv: Layer
    proj: Layer
    norm2: Layer
    fc1: Layer
    fc2: Layer

    @property
    def positions(self) -> str:
        """The trained bias of a Swin's windows, which scores depend on."""
        return self.qkv.name.removesuffix("qkv") + "relative_position_bias_table"


def _block(block: _Block, reach: _Reach, x: bool, t: _Tuning, read_parts: int) -> tuple[list[Product], bool]:
    """The products of one block, and whether its output needs a gradient; `x` says whether its input does.

    A product's two operands are what enters and what multiplies it. Each is asked for a gradient where something
    trained lies before it: that is all a backward pass follows.
    """
    products, d, n, q = [], block.qkv.narrow, reach.tokens, reach.queries
    normed, adapted, weighs = x or t.touches(block.norm1), t.adapts(block.qkv), t.weighs(block.qkv)
    own = (n if adapted else q) * 2 * d * d  # a replaced projection is not cut into query, key and value
    products.append(Product(own + 4 * n * d * d, normed + weighs))
    products += t.beside(block.qkv, n, normed)
    # Prompts that are only read need keys and values; Swin's projection is called whole and makes their queries too.
    products.append(Product(2 * read_parts * reach.read * d * d * t.share + 6 * reach.carried * d * d, 1 + weighs))
    queries = normed or t.touches(block.qkv)
    keys = queries or reach.read > 0 or reach.carried > 0
    queries = queries or reach.carried > 0
    # Each window has its own copy of the carried prompts, and its queries and keys grow by them.
    windows = n / reach.keys
    q_all, k_all = q + windows * reach.carried, reach.keys + reach.read + reach.carried
    mixing = queries or keys or block.positions in t.trained
    products.append(Product(2 * q_all * k_all * d, queries + keys))
    products.append(Product(2 * q_all * k_all * d, mixing + keys))
    middle = x or mixing
    middle, after = _linear(products, block.proj, q_all, mixing, t) or x, q + reach.carried
    hidden = _linear(products, block.fc1, after, middle or t.touches(block.norm2), t)
    out = _linear(products, block.fc2, after, hidden, t) or middle
    for spot, before in (("mlp", middle), ("block", out)):
        added = list(t.beside(block.fc2, after, before, spot))
        products, out = products + added, out or bool(added)
    return products, out


def _linear(products: list[Product], layer: Layer, rows: float, x: bool, t: _Tuning) -> bool:
    """Append a layer's products; returns whether its output needs a gradient."""
    products.append(Product(2 * rows * layer.narrow * layer.wide, x + t.weighs(layer)))
    products += t.beside(layer, rows, x)
    return x or t.touches(layer)


def _blocks(shape: Shape) -> list[_Block]:
    inside = [layer for layer in layers(shape) if "blocks." in layer.name]
    return [_Block(*inside[start : start + 6]) for start in range(0, len(inside), 6)]


def _embedded(shape: Shape, t: _Tuning) -> bool:
    """Whether the blocks' input needs a gradient."""
    first = layers(shape)[: 2 if shape.is_swin else 1]
    return any(t.touches(layer) for layer in first) or bool({"cls_token", "pos_embed"} & t.trained)


def _vit(shape: Shape, t: _Tuning) -> tuple[list[Product], bool]:
    (stage,), patches = shape.stages, layers(shape)[0]
    n = stage.tokens
    products, x = [Product(2 * (n - 1) * patches.narrow * patches.wide, int(t.weighs(patches)))], _embedded(shape, t)
    if t.prompts and not t.deep:
        n, x = n + t.prompts, True
    for index, block in enumerate(_blocks(shape)):
        is_last, read = index == stage.blocks - 1, t.prompts if t.deep else 0
        # The mean over tokens asks for the prompts' own output, so in the last block they are tokens, not only read.
        if is_last and read and t.pool_tokens and t.pools_prompts:
            n, read, x = n + read, 0, True
        queries = 1 if is_last and not t.pool_tokens else n
        found, x = _block(block, _Reach(n, queries, n, read), x, t, read_parts=2)
        products += found
    return products, x or t.touches(layers(shape)[-1])


def _swin(shape: Shape, t: _Tuning) -> tuple[list[Product], bool]:
    first, patches = shape.stages[0], layers(shape)[0]
    products = [Product(2 * first.tokens * patches.narrow * patches.wide, int(t.weighs(patches)))]
    x, index, carried = _embedded(shape, t), 0, 0 if t.deep else t.prompts
    blocks = iter(_blocks(shape))
    for number, stage in enumerate(shape.stages):
        if number:
            norm, reduce = (at for at in layers(shape) if at.name.startswith(f"layers.{number}.downsample."))
            x = _linear(products, reduce, stage.tokens + carried, x or carried > 0 or t.touches(norm), t)
        for _ in range(stage.blocks):
            index += 1
            is_pooled = index == shape.depth and t.pools_prompts
            tokens_now = carried or (t.prompts if is_pooled else 0)
            reach = _Reach(stage.tokens, stage.tokens, stage.window, 0 if tokens_now else t.prompts, tokens_now)
            # Swin's masks are an image's own in the first block alone.
            shared = t if index == 1 else replace(t, share=1 / t.batch)
            found, x = _block(next(blocks), reach, x, shared, read_parts=3)
            products += found
    return products, x or t.touches(layers(shape)[-1])


@lru_cache(maxsize=1024)
def _encoder(shape: Shape, tuning: _Tuning) -> tuple[float, float, bool]:
    """Forward alone, a whole step, and whether the head's input needs a gradient."""
    products, x = (_swin if shape.is_swin else _vit)(shape, tuning)
    return sum(product.flops for product in products), sum(product.step for product in products), x


def _head(job: Mapping, feature_grad: bool) -> Iterator[Product]:
    d, hidden = int(job["backbone"]["width"]), HIDDEN[METHODS[job["method"]].head]
    for layer in range(hidden):
        yield Product(2 * d * d, 1 + (feature_grad or layer > 0))
    yield Product(2 * d * int(job["classes"]), 1 + (feature_grad or hidden > 0))


def forward_flops(job: Mapping, batch: int = 512) -> float:
    """Scoring one image of a batch, which shares its prompts' keys and values; the head is counted."""
    encoder, _, _ = _encoder(shape_of(job["backbone"]), _tuning(job, batch, training=False))
    return encoder + sum(product.flops for product in _head(job, False))


def step_flops(job: Mapping, batch: int | None = None) -> float:
    """Forward and backward of one training image; of a probe, which trains on cached features, the head alone."""
    if METHODS[job["method"]].probe:
        return sum(product.step for product in _head(job, False))
    tuning = _tuning(job, batch or int(job["recipe"]["batch"]), training=True)
    _, encoder, x = _encoder(shape_of(job["backbone"]), tuning)
    return encoder + sum(product.step for product in _head(job, x))


def mfu(flops_per_image: float, images_per_second: float, device: str) -> float | None:
    """Share of the device's peak in [0, 1], or None for a device that is not in the table."""
    peak = peak_of(device)
    return None if peak is None else flops_per_image * images_per_second / peak


def peak_of(device: str) -> float | None:
    """FLOP/s of a device by its full name. A MIG slice has its sevenths of the card ("… MIG 2g.20gb": two)."""
    card = card_of(device)
    return None if card is None else card.peak
