"""The Fréchet distance between a task's images and a reference, in the features of one network.

In: a job slice, the task's arrays, index and split. Out: one row of kind `fid`. The network is pytorch-fid's Inception,
or the main backbone, whose name then stands in the row and under every number made from it.

The distance is |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2). With A1 = centred features / sqrt(n - 1), S1 = A1' A1,
and S2 = R R', the last trace is the sum of the singular values of A1 R: exact, never complex, and without `sqrtm`.

Shapes: N images, D dimensions of the feature.

    python -m pytest tests/analysis/test_fid.py
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from vptcore.models.backbones import HALF
from vptcore.records import file_sha256, provenance, write_rows


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
    rng = np.random.default_rng(seed)
    draws = [
        frechet_distance(features_ND[rng.integers(0, len(features_ND), len(features_ND))], reference)
        for _ in range(repeats)
    ]
    half = 1.96 * float(np.std(draws, ddof=1))
    centre = frechet_distance(features_ND, reference)
    return centre - half, centre + half


def run(job: Mapping, inputs: Mapping[str, str], outputs: Mapping[str, str], say=print) -> str:
    """Compute one task's distance and write its row."""
    from vptcore.data.tensors import Normalise
    from vptcore.training import jobs

    started = time.time()
    device = jobs.open_device(job["device"])
    network = _network(job, device)
    parts = jobs.Parts(job, inputs["images"], inputs["index"], inputs["splits"], device)
    if job["network"] == "inception":
        parts.normalise = Normalise(299, HALF, HALF)  # pytorch-fid: bilinear to 299 without antialias, then [-1, 1]
    features_ND = _features(network, parts.take("train", "val"))
    reference, path = _reference(job, network)
    low, high = bootstrap_interval(features_ND, reference, job["bootstrap"])
    distance = frechet_distance(features_ND, reference)
    row = {
        "network": job["backbone"]["id"] if job["network"] == "backbone" else "inception",
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


def _network(job: Mapping, device):
    """A module from normalised images to features (B, D)."""
    from vptcore.models.methods import build_encoder, spec_of

    if job["network"] == "backbone":
        model_job = {**job, "method": "linear", "classes": 2, "prompt_length": 0, "deep": True}
        return build_encoder(spec_of(model_job), seed=0).to(device).eval()
    from vptcore.analysis.inception import load_inception

    return load_inception().to(device).eval()


def _features(network, images) -> np.ndarray:
    from vptcore.training.fit import predict

    return predict(network, images, batch=128).double().cpu().numpy()


def _reference(job: Mapping, network) -> tuple[Reference, Path]:
    """Statistics from a .safetensors file with mean, covariance and count."""
    from safetensors.numpy import load_file

    where = job["reference"]
    path = (
        Path(str(resources.files("vptcore") / "assets" / where.removeprefix("asset:")))
        if where.startswith("asset:")
        else Path(where)
    )
    if path.is_dir():
        raise ValueError(
            f"fid.reference: {path} is a folder; make statistics of it once with `vptcore fid-reference {path} "
            f"OUT.safetensors`"
        )
    if not path.is_file():
        raise ValueError(
            f"fid.reference: no file {path}; expected statistics made by `vptcore fid-reference FOLDER OUT.safetensors`"
        )
    stored = load_file(path)
    missing = {"mean", "covariance", "count"} - set(stored)
    if missing:
        raise ValueError(
            f"fid.reference: {path} lacks {', '.join(sorted(missing))}; make it with `vptcore fid-reference`"
        )
    return reference_of(stored["mean"], stored["covariance"], int(stored["count"])), path
