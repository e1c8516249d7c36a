"""What a job computes: how many images go through which network, and how often.

In: a job slice of a study (or one found in the metadata of a finished file) and the images of its parts. Out:
`Workload`: phases in the order of the job, each with images, FLOPs an image and steps. Follows `training.search`,
`training.final`, `analysis.fid` and `analysis.explain` line by line.

    python -m pytest tests/vptstudy/plan/test_estimate.py
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace

from vptcore.analysis.frechet import LINE_SIZES
from vptcore.analysis.reference import SAMPLE
from vptcore.models.changes import changes_of, count_tuned
from vptcore.models.methods_table import METHODS
from vptcore.models.outline import shape_of
from vptcore.records import MOST_LOGITS
from vptcore.training.batches import FEW_IMAGES, SCORE_BATCH, batch_sizes
from vptcore.training.flops import forward_flops, step_flops
from vptcore.training.recipe import recipes_of
from vptstudy.plan.images import Counts

INCEPTION_FLOPS = 11.5e9  # Inception-v3 at 299 px
FLOAT64_RATE = 15e9  # linear algebra on one core: 3.9 s for all numbers of 1,000 images in 2,048 dimensions (bench.fid)


@dataclass(frozen=True)
class Phase:
    """`regime`: train (a compiled step), score (forward only) or head (small eager steps on cached features)."""

    name: str
    regime: str
    images: float
    flops_each: float
    steps: float
    is_swin: bool = False

    @property
    def flops(self) -> float:
        return self.images * self.flops_each

    def times(self, factor: float) -> Phase:
        return replace(self, images=self.images * factor, steps=self.steps * factor)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A job's phases, and what is no network's arithmetic.

    `builds` counts models of `parameters` weights that are made; `copies` those that are only given other weights.
    `steps` and `scorings` name what is compiled, by what decides a compiled form; `captures` counts captured steps.
    `extra` is CPU seconds. `read` is bytes of images, `written` of tuned models and rows.
    """

    phases: tuple[Phase, ...] = ()
    builds: float = 0
    copies: float = 0
    parameters: float = 0
    steps: frozenset[Hashable] = frozenset()
    scorings: frozenset[Hashable] = frozenset()
    captures: int = 0
    extra: float = 0.0
    read: float = 0.0
    written: float = 0.0

    @property
    def flops(self) -> float:
        return sum(phase.flops for phase in self.phases)

    def share(self, share: float) -> Workload:
        """A shard's part: less of all but what every shard reads, makes ready and computes for itself."""
        phases = tuple(p if p.name == "features" else p.times(share) for p in self.phases)
        return replace(self, phases=phases, copies=self.copies * share, written=self.written * share)


@dataclass(frozen=True)
class _Model:
    """A slice's costs an image."""

    job: Mapping
    step: float = field(init=False)
    score: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", step_flops(self.job))
        object.__setattr__(self, "score", forward_flops(self.job, SCORE_BATCH))

    @property
    def is_swin(self) -> bool:
        return self.job["backbone"]["timm"].startswith("swin_")

    def train(self, images: int, runs: float = 1, heads: int = 1) -> Phase:
        """`runs` runs of a whole schedule one after the other, of `heads` stacked heads each."""
        recipe = self.job["recipe"]
        passes = recipe["epochs"] * runs
        steps = passes * math.ceil(images / recipe["batch"])
        regime = "head" if METHODS[self.job["method"]].probe else "train"
        return Phase("train", regime, passes * images, self.step * heads, steps, self.is_swin)

    def scoring(self, name: str, images: int, times: float = 1) -> Phase:
        """`images` scored so often: with the last batch filled up, and by the head alone where features are cached."""
        filled = SCORE_BATCH * math.ceil(images / SCORE_BATCH) if images > SCORE_BATCH else images
        steps = times * math.ceil(images / SCORE_BATCH)
        if METHODS[self.job["method"]].probe and name != "features":
            return Phase(name, "head", times * filled, self.step / 2, steps, False)
        return Phase(name, "score", times * filled, self.score, steps, self.is_swin)


@dataclass(frozen=True)
class Trainings:
    """How many trainings a search is: on the `short` schedule of a race, and on the `full` one."""

    short: int
    full: int

    def epochs(self, job: Mapping) -> int:
        return self.short * job.get("racing", {}).get("epochs", 0) + self.full * job["recipe"]["epochs"]


def trainings_of(job: Mapping) -> Trainings:
    """As planned: nothing diverges, and nothing is bought beyond an edge."""
    configs = len(recipes_of(job))
    return Trainings(configs, job["racing"]["keep"]) if "racing" in job else Trainings(0, configs)


def search_work(job: Mapping, counts: Counts, trainings: Trainings | None = None) -> Workload:
    """Every configuration trained on train and scored on val; by so many trainings where they are known."""
    trainings = trainings or trainings_of(job)
    model, configs = _Model(job), trainings.short + trainings.full
    often = configs + (trainings.epochs(job) if job["protocol"]["val_every_epoch"] else 0)
    phases: list[Phase] = []
    is_stacked = METHODS[job["method"]].stacks
    if METHODS[job["method"]].probe:
        phases.append(model.scoring("features", counts.train + counts.val))
    whole = trainings.epochs(job) / job["recipe"]["epochs"]
    stacked = {"runs": 1, "heads": configs} if is_stacked else {"runs": whole}
    phases += [model.train(counts.train, **stacked), model.scoring("val", counts.val, often)]
    decays = 1 if is_stacked else len({(r.optimizer, r.weight_decay) for r in recipes_of(job)})
    work = _work(job, phases, counts.train, decays)
    passes = often / configs
    return replace(work, scorings=_scorings(job, (counts.val, passes)), read=counts.bytes_of("train", "val"))


def beyond(job: Mapping) -> float:
    """What one more rate costs of a search under `edges: extend`, as a share of its grid; 0 where none is bought. In a
    race as if each of its configurations went on."""
    if not job.get("extend"):
        return 0.0
    each = 1 + job.get("racing", {}).get("epochs", 0) / job["recipe"]["epochs"]
    configs = len(recipes_of(job)) / len(set(job["grid"]["lr"]))
    return configs * each * job["recipe"]["epochs"] / trainings_of(job).epochs(job)


def final_work(job: Mapping, counts: Counts) -> Workload:
    """The recipe under every seed, scored on test; after every epoch too for the seeds with a curve."""
    model, seeds = _Model(job), len(job["seeds"])
    images = sum(map(counts.images, job["parts"]))
    curves, watched = job["curve_seeds"] * job["recipe"]["epochs"], min(counts.test, job["curve_images"])
    phases: list[Phase] = []
    if METHODS[job["method"]].probe:
        phases += [model.scoring("features", images), model.scoring("features", counts.test)]
    phases += [model.train(images, seeds), model.scoring("test curve", watched, curves)]
    work = _work(job, [*phases, model.scoring("test", counts.test, seeds)], images, 1)
    predictions = seeds * counts.test * 14  # a row of kind `predictions`, compressed
    is_probe, watched_often = METHODS[job["method"]].probe, (watched, job["recipe"]["epochs"] if curves else 0)
    return replace(
        work, copies=0 if is_probe else seeds, scorings=_scorings(job, (counts.test, 1), watched_often),
        read=counts.bytes_of(*job["parts"], "test"), written=seeds * tuned_bytes(job) + predictions,
    )  # fmt: skip


def _work(job: Mapping, phases: list[Phase], images: int, decays: int) -> Workload:
    """Of a search or a final: its model is made once, its step captured for each size of batch and weight decay."""
    sizes = batch_sizes(images, job["recipe"]["batch"])
    steps = frozenset(("step", _form(job), size) for size in sizes) if _compiles(job) else frozenset()
    kept = tuple(phase for phase in phases if phase.images)
    captures = len(sizes) * decays if job["device"] != "cpu" else 0
    return Workload(
        phases=kept, builds=1, parameters=shape_of(job["backbone"]).parameters, steps=steps, captures=captures
    )


def _compiles(job: Mapping) -> bool:
    return job["compile"] != "never" and job["device"] != "cpu" and not METHODS[job["method"]].probe


def _form(job: Mapping) -> Hashable:
    """What decides a block's compiled form, but for the batch: not where a method starts from."""
    method = METHODS[job["method"]]
    prompts = (job["prompt_length"], job["deep"]) if method.prompts else ()
    return shape_of(job["backbone"]), job["backbone"]["pool"], changes_of(job), method.as_full, prompts


def _scorings(job: Mapping, *sets: tuple[int, float]) -> frozenset[Hashable]:
    """What scoring compiles: sets of so many images, scored so often. Few images go through plain blocks."""
    sizes = {min(SCORE_BATCH, images) for images, passes in sets if passes and images * passes >= FEW_IMAGES}
    return frozenset(("scoring", _form(job), size) for size in sizes) if _compiles(job) else frozenset()


def logits_bytes(job: Mapping, val: int) -> int:
    """The val logits of a search, in half precision."""
    each = val * job["classes"]
    trainings = trainings_of(job)
    return 2 * each * (trainings.short + trainings.full) if each <= MOST_LOGITS else 0


def tuned_bytes(job: Mapping) -> int:
    """A tuned state on disk, in fp32: what training changed."""
    return 4 * count_tuned(job)[0]


def features_work(job: Mapping, counts: Counts) -> Workload:
    """Train and val through the network of the Fréchet distance."""
    images = counts.train + counts.val
    inception = job["network"] == "inception"
    probe = {**job, "method": "linear", "classes": 2, "prompt_length": 0, "deep": True}
    each = INCEPTION_FLOPS if inception else forward_flops(probe)
    phase = Phase("features", "score", images, each, math.ceil(images / SCORE_BATCH))
    parameters = 24e6 if inception else shape_of(job["backbone"]).parameters
    return Workload(phases=(phase,), builds=1, parameters=parameters, written=8 * images * dimensions_of(job))


def dimensions_of(job: Mapping) -> int:
    return 2048 if job["network"] == "inception" else int(job["backbone"]["width"])


def fid_work(job: Mapping, dimensions: int, counts: Counts) -> Workload:
    """Inner products once; eigenvalues of their smaller side for every resample and subset (`analysis.frechet`)."""
    images = counts.train + counts.val
    wide = 2 * dimensions > images
    side = images if wide else dimensions
    products = 2 * images * dimensions * (dimensions + side)
    kernels = 2 * images * dimensions * (images + SAMPLE)
    # Symmetric eigenvalues of m x m take 4/3 m^3. A resample of n images holds 0.63 n of them, a subset 0.78 n in the
    # mean of cubes; the whole is taken twice.
    shares = (0.632, 0.78) if wide else (1, 1)
    solved = job["bootstrap"] * shares[0] ** 3 + LINE_SIZES * shares[1] ** 3 + 2
    again = 0 if wide else (job["bootstrap"] + LINE_SIZES) * 2 * images * dimensions**2
    return Workload(extra=(products + kernels + 4 / 3 * solved * side**3 + again) / FLOAT64_RATE)


def explain_work(job: Mapping, counts: Counts) -> Workload:
    """Two models, each one step on at most 2 x images; six where the maps are the authors'."""
    images = 2 * job["images"]
    times = 6 if job["cam"] == "authors" else 1
    phases = [
        Phase("maps", "train", times * images, step_flops(slice_ | {"recipe": {"batch": images}}), times)
        for slice_ in job["models"].values()
    ]
    parameters = max(shape_of(slice_["backbone"]).parameters for slice_ in job["models"].values())
    return Workload(phases=tuple(phases), builds=2, parameters=parameters)


def prepare_work(images: int, bytes_each: int) -> Workload:
    """Decoding on one core: small images at thousands a second, photographs at a hundred."""
    rate = 3000 if bytes_each <= 96 * 96 * 3 else 100
    return Workload(extra=images / rate, written=images * bytes_each)
