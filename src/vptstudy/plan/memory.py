"""What a job needs of memory: on the host, for `mem_mb`, and on the GPU.

In: a job slice, the images of its parts, and the parts that it loads. Out: bytes. Weights, gradients, optimizer states,
what autograd saves of a batch, scoring batches, and the task's arrays.

    python -m pytest tests/vptstudy/plan/test_memory.py
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vptcore.models.changes import changes_of
from vptcore.models.methods_table import METHODS
from vptcore.models.outline import layers, places, shape_of
from vptstudy.plan.images import Counts
from vptstudy.plan.workload import SCORE_BATCH, tuned_bytes

# Resident memory of an idle job: Python, torch and timm; on a GPU also the driver's and CUDA's libraries.
IDLE_CPU, IDLE_GPU = 900e6, 4e9
CONTEXT_GPU = 0.6e9  # CUDA context and the kernels' code
BF16 = 2.5  # bytes a number on a GPU: most are bf16, what is summed up and normalised is fp32
# What autograd saves of a block, in numbers a token and width. Trained: inputs of every projection too.
SAVED_TRAINED, SAVED_FROZEN = 22.0, 15.0
SAVED_LAST = 5.0  # of the last block, where one token is read: its keys and values alone are of all tokens


@dataclass(frozen=True)
class Need:
    host: float
    gpu: float = 0.0


def saved_numbers(job: Mapping, batch: int) -> float:
    """Numbers that autograd keeps of one training batch."""
    shape, method = shape_of(job["backbone"]), METHODS[job["method"]]
    if method.probe:
        return 4.0 * batch * (shape.width + job["classes"])
    prompts, added = job["prompt_length"] if method.prompts else 0, _added_numbers(job)
    stages = [stage for stage in shape.stages for _ in range(stage.blocks)]
    blocks = (
        s.tokens * (saved * s.width + added.get(block, 0)) + 8.0 * prompts * s.width * s.tokens / s.window
        for block, (s, saved) in enumerate(zip(stages, _saved_of_blocks(job, bool(prompts)), strict=True))
    )
    return batch * sum(blocks)


def _saved_of_blocks(job: Mapping, prompted: bool) -> list[float]:
    """What autograd saves of each block: nothing before the first that is tuned, more where its weights train."""
    shape, (trained, added) = shape_of(job["backbone"]), changes_of(job)
    weights = {layer.block for layer in layers(shape) if layer.narrow and f"{layer.name}.weight" in trained}
    touched = {place.block for place, _ in places(shape) if place.name in trained}
    first = 0 if prompted else min(touched | {layer.block for layer, _ in added}, default=shape.depth)
    saved = [SAVED_TRAINED if block in weights else SAVED_FROZEN for block in range(shape.depth)]
    if job["backbone"]["pool"] == "token":
        saved[-1] = SAVED_LAST
    return [numbers if block >= first else 0.0 for block, numbers in enumerate(saved)]


def _added_numbers(job: Mapping) -> dict[int, float]:
    """Block -> numbers a token that autograd saves for what a method adds: what enters, and what is in the middle."""
    found: dict[int, float] = {}
    for layer, added in changes_of(job)[1]:
        entering = layer.wide if added.rank == 0 or added.spot != "layer" else layer.narrow
        both = 2 * layer.wide if added.once(layer) else 0  # two results are scaled by what is computed once
        found[layer.block] = found.get(layer.block, 0.0) + entering + both + 3 * added.rank
    return found


def model_bytes(job: Mapping) -> float:
    """fp32 weights; where tuned, their gradients and optimizer states too (AdamW two, SGD one)."""
    states = 3 if job["recipe"]["optimizer"] == "adamw" else 2
    return 4.0 * shape_of(job["backbone"]).parameters + states * tuned_bytes(job)


def training_bytes(job: Mapping, number_bytes: float) -> float:
    """What a training batch holds."""
    return saved_numbers(job, job["recipe"]["batch"]) * number_bytes


def scoring_bytes(job: Mapping, number_bytes: float) -> float:
    """What a scoring batch holds: its images twice, and the widest block."""
    shape, size = shape_of(job["backbone"]), job["backbone"]["size"]
    widest = max(stage.tokens * stage.width for stage in shape.stages)
    return SCORE_BATCH * (3 * size**2 * 4 * 2 + 12 * widest * number_bytes)


def need_of(kind: str, job: Mapping, counts: Counts) -> Need:
    """Of a search or a final. Reading a part copies it twice before it is on the device.

    On a CPU training and scoring take turns in the same memory; a captured step keeps its own, beside what scores.
    """
    parts = ("train", "val") if kind == "search" else ("train", "val", "test")
    arrays = counts.bytes_of(*parts)
    largest = max(counts.bytes_of(part) for part in parts)
    # Fresh weights beside those of the last run; and a final holds every seed's tuned state when it writes.
    copies = model_bytes(job) + tuned_bytes(job) * (len(job["seeds"]) if kind == "final" else 1)
    if job["device"] == "cpu":
        working = max(training_bytes(job, 4), scoring_bytes(job, 4))
        return Need(IDLE_CPU + arrays + largest + copies + model_bytes(job) + working)
    # Beside the model what it was built with, which every run starts from.
    models = model_bytes(job) + tuned_bytes(job)
    gpu = CONTEXT_GPU + arrays + models + training_bytes(job, BF16) + scoring_bytes(job, BF16)
    return Need(IDLE_GPU + arrays + 2 * largest + copies, gpu)


def features_need(job: Mapping, counts: Counts) -> Need:
    """Images a batch at a time, their features in float64, and the network."""
    idle = IDLE_CPU if job["device"] == "cpu" else IDLE_GPU
    return Need(idle + 1e9 + 3 * (counts.train + counts.val) * 2048 * 8, CONTEXT_GPU + 6e9)


def fid_need(counts: Counts) -> Need:
    """Features in float64, a product and a copy of the same size, and a few covariances."""
    return Need(IDLE_CPU + 4 * (counts.train + counts.val) * 2048 * 8 + 6 * 2048**2 * 8)


def explain_need(job: Mapping, counts: Counts) -> Need:
    """In fp32, four times the images of a pick at once (`analysis.explain`)."""
    slice_ = job["models"]["full"]
    idle = IDLE_CPU if slice_["device"] == "cpu" else IDLE_GPU
    working = model_bytes(slice_) + 4 * saved_numbers(slice_, 4 * 2 * job["images"])
    return Need(idle + 4 * model_bytes(slice_), CONTEXT_GPU + working)
