"""The Fréchet distance between a task's images and a reference, in the features of one network.

In: a job slice, the task's arrays, index and split. Out: one row of kind `fid`. The network is pytorch-fid's Inception,
or the main backbone, whose name then stands in the row and under every number made from it. `write_reference` makes the
reference's statistics from a folder of images.

The distance is |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2). With A1 = centred features / sqrt(n - 1), S1 = A1' A1,
and S2 = R R', the last trace is the sum of the singular values of A1 R: exact, never complex, and without `sqrtm`.

Shapes: N images, D dimensions of the feature.

    python -m pytest tests/analysis/test_fid.py
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import nn

from vptcore.data.decode import resize_bilinear, to_rgb
from vptcore.data.sources import IMAGE_SUFFIXES
from vptcore.data.tensors import ImageSet, Normalise
from vptcore.models.backbones import HALF
from vptcore.models.methods import build_encoder, spec_of
from vptcore.records import file_sha256, provenance, replacing, write_rows
from vptcore.study import Study
from vptcore.training import jobs
from vptcore.training.fit import predict

BATCH = 128


@dataclass(frozen=True)
class Reference:
    """Mean (D,), a root R (D, D) of the covariance S = R R', and the number of images behind them."""

    mean_D: np.ndarray
    root_DD: np.ndarray
    trace: float
    count: int


def reference_of(mean_D: np.ndarray, covariance_DD: np.ndarray, count: int) -> Reference:
    values, vectors = np.linalg.eigh(np.asarray(covariance_DD, dtype=np.float64))
    root = vectors * np.sqrt(np.clip(values, 0, None))
    return Reference(np.asarray(mean_D, dtype=np.float64), root, float(np.trace(covariance_DD)), int(count))


def frechet_distance(features_ND: np.ndarray, reference: Reference) -> float:
    """Distance between the Gaussian of the features (N, D), N >= 2, and the reference."""
    mean_D = features_ND.mean(0)
    factor_ND = (features_ND - mean_D) / np.sqrt(len(features_ND) - 1)
    cross = np.linalg.svd(factor_ND @ reference.root_DD, compute_uv=False).sum()
    gap = mean_D - reference.mean_D
    return float(gap @ gap + np.square(factor_ND).sum() + reference.trace - 2 * cross)


def bootstrap_interval(
    features_ND: np.ndarray, reference: Reference, repeats: int, seed: int = 0
) -> tuple[float, float]:
    """95 % normal interval from the spread of resampled distances; (nan, nan) without repeats.

    The spread only: a resample has fewer distinct images, which shifts its distance upwards.
    """
    if repeats < 2:
        return float("nan"), float("nan")
    rng, N = np.random.default_rng(seed), len(features_ND)
    rooted_ND, squares_N = features_ND @ reference.root_DD, np.square(features_ND).sum(1)
    draws = []
    for _ in range(repeats):
        # An image drawn k times counts as one row times the root of k: fewer rows, the same singular values.
        count_N = np.bincount(rng.integers(0, N, N), minlength=N)
        mean_D, drawn = count_N @ features_ND / N, count_N > 0
        factor = np.sqrt(count_N[drawn] / (N - 1))[:, None] * (rooted_ND[drawn] - mean_D @ reference.root_DD)
        trace, gap = (count_N @ squares_N - N * mean_D @ mean_D) / (N - 1), mean_D - reference.mean_D
        draws.append(gap @ gap + trace + reference.trace - 2 * np.linalg.svd(factor, compute_uv=False).sum())
    half = 1.96 * float(np.std(draws, ddof=1))
    centre = frechet_distance(features_ND, reference)
    return centre - half, centre + half


def run(job: Mapping, inputs: Mapping[str, str], outputs: Mapping[str, str], say=print) -> str:
    """Compute one task's distance and write its row."""
    started = time.time()
    device = jobs.open_device(job["device"])
    reference, path = _reference(job)
    network = _network(job, device)
    parts = jobs.Parts(job, inputs["images"], inputs["index"], inputs["splits"], device)
    parts.normalise = _normalise(job)
    features_ND = _features(network, parts.take("train", "val"))
    low, high = bootstrap_interval(features_ND, reference, job["bootstrap"])
    distance = frechet_distance(features_ND, reference)
    row = {
        "network": _name(job),
        "reference": job["reference"], "reference_sha256": file_sha256(path), "reference_images": reference.count,
        "images": len(features_ND), "dimensions": features_ND.shape[1],
        "fid": distance, "fid_low": low, "fid_high": high,
    }  # fmt: skip
    note = provenance(job, inputs, started=started, device=jobs.device_name(device))
    write_rows(outputs["rows"], "fid", [row], note)
    return (
        f"Fréchet distance {distance:.1f} in {row['network']} features, {len(features_ND):,} images, "
        f"{len(features_ND) / (time.time() - started):,.0f} img/s"
    )


def _name(job: Mapping) -> str:
    return job["backbone"]["id"] if job["network"] == "backbone" else "inception"


def _normalise(job: Mapping) -> Normalise:
    """How the network wants its images."""
    if job["network"] == "inception":
        return Normalise(299, HALF, HALF)  # pytorch-fid: bilinear to 299 without antialias, then [-1, 1]
    return jobs.normalise_of(job)


def _network(job: Mapping, device: torch.device) -> nn.Module:
    """A module from normalised images to features (B, D)."""
    if job["network"] == "backbone":
        model_job = {**job, "method": "linear", "classes": 2, "prompt_length": 0, "deep": True}
        return build_encoder(spec_of(model_job), seed=0).to(device).eval()
    from vptcore.analysis.inception import load_inception

    return load_inception().to(device).eval()


def _features(network, images: ImageSet) -> np.ndarray:
    return predict(network, images, batch=BATCH).double().cpu().numpy()


def _reference(job: Mapping) -> tuple[Reference, Path]:
    """Statistics from a .safetensors file with mean, covariance and count; they must be those of the job's network."""
    where = job["reference"]
    assets = resources.files("vptcore") / "assets"
    path = Path(str(assets / where.removeprefix("asset:"))) if where.startswith("asset:") else Path(where)
    if path.is_dir():
        raise ValueError(
            f"fid.reference: {path} is a folder; make statistics of it once with `vptcore fid-reference {path} "
            f"OUT.safetensors`"
        )
    if not path.is_file():
        raise ValueError(
            f"fid.reference: no file {path}; expected statistics made by `vptcore fid-reference FOLDER OUT.safetensors`"
        )
    stored, made_in = _read_statistics(path)
    missing = {"mean", "covariance", "count"} - set(stored)
    if missing:
        raise ValueError(
            f"fid.reference: {path} lacks {', '.join(sorted(missing))}; make it with `vptcore fid-reference`"
        )
    if made_in not in ("", _name(job)):
        raise ValueError(f"fid.reference: {path} was made in {made_in} features, but fid.network asks for {_name(job)}")
    width = 2048 if job["network"] == "inception" else int(job["backbone"]["width"])
    found = stored["mean"].shape, stored["covariance"].shape
    if found != ((width,), (width, width)):
        raise ValueError(
            f"fid.reference: {path} has a mean {found[0]} and a covariance {found[1]}; {_name(job)} features have "
            f"{width} dimensions"
        )
    return reference_of(stored["mean"], stored["covariance"], int(stored["count"])), path


def _read_statistics(path: Path) -> tuple[dict[str, np.ndarray], str]:
    """The arrays of a safetensors file, and the network that its metadata names, if any."""
    try:
        with safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, (file.metadata() or {}).get("network", "")  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"fid.reference: {path} is not a readable safetensors file ({error})") from None


def write_reference(study: Study, images: Path, out: Path) -> str:
    """Make the reference statistics of all images below a folder, in the network of the study's `fid`, and write them.

    Images are resized straight to the network's input, once, as a task's are. Needs two images at least, and memory
    for one batch. Returns one line; raises ValueError of one line for a folder without images or a broken one.
    """
    started = time.time()
    if not images.is_dir():
        raise ValueError(f"{images}: no such folder; expected a folder of images")
    paths = sorted(p for p in images.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if len(paths) < 2:
        raise ValueError(f"{images}: {len(paths)} images found; a covariance needs at least 2")
    job = study.fid_slice(study.used("task")[0])
    device = jobs.open_device(job["device"])
    network, normalise = _network(job, device), _normalise(job)
    batches = (
        _features(network, ImageSet.of(pixels_BHWC, np.zeros(len(pixels_BHWC)), normalise, device))
        for pixels_BHWC in _decoded(paths, normalise.size)
    )
    mean_D, covariance_DD, count = gaussian_of(batches)
    statistics = {"mean": mean_D, "covariance": covariance_DD, "count": np.array(count)}
    with replacing(out) as beside:
        save_file(statistics, beside, metadata={"network": _name(job), "images": str(images)})
    rate = count / (time.time() - started)
    return f"{out}: {count:,} images in {_name(job)} features, {len(mean_D)} dimensions, {rate:,.0f} img/s"


def _decoded(paths: list[Path], size: int) -> Iterator[np.ndarray]:
    """Batches (B, size, size, 3) in uint8, decoded side by side."""

    def decode(path: Path) -> np.ndarray:
        try:
            return resize_bilinear(to_rgb(path.read_bytes()), size)
        except ValueError as error:
            raise ValueError(f"{path}: cannot be decoded ({error}); replace it or take it out") from None

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), BATCH):
            yield np.stack(list(pool.map(decode, paths[start : start + BATCH])))


def gaussian_of(batches: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean (D,), covariance (D, D) and count of features that come in batches (B, D), two rows at least in all."""
    shift_D, sum_D, products_DD, count = None, 0.0, 0.0, 0
    for features_BD in batches:
        # About the first batch's mean: without a shift the products of large features would cancel.
        shift_D = features_BD.mean(0) if shift_D is None else shift_D
        centred_BD = features_BD - shift_D
        sum_D, products_DD = sum_D + centred_BD.sum(0), products_DD + centred_BD.T @ centred_BD
        count += len(features_BD)
    offset_D = sum_D / count
    return shift_D + offset_D, (products_DD - count * np.outer(offset_D, offset_D)) / (count - 1), count
