"""The jobs of the Fréchet distance: features of a task, statistics of the reference, and one row of distances.

In: job slices and files. Out: `features/task=…/features.safetensors`, `reference/statistics.safetensors`, and a row of
kind `fid`: the distance with its bootstrap interval, its limit for many images, and the kernel distance. Features are
made once; a changed reference or more resamples run on them without the network.

    snakemake results/demo/fid/task=digits/rows.parquet
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vptcore.analysis import frechet
from vptcore.analysis.reference import Found, read_reference
from vptcore.jobs.provenance import provenance
from vptcore.records import read_rows, replacing, write_rows


def features(job: Mapping, inputs: Mapping[str, str], outputs: Mapping[str, str], say=print) -> str:
    """The features of a task's train and val images."""
    from vptcore.analysis.features import batched, extractor_of
    from vptcore.jobs.device import device_name

    started = time.time()
    extractor = extractor_of(job)
    found = []
    images = _images(inputs, job.get("crop", 0))
    for batch_BD in extractor.features(batched(images)):
        found.append(batch_BD)
        say(f"features of {sum(map(len, found)):,} images")
    features_ND = np.concatenate(found)
    note = provenance(job, inputs, started=started, device=device_name(extractor.device))
    save_features(outputs["features"], features_ND, note | {"network": extractor.name, "resize": extractor.resize})
    rate = len(features_ND) / (time.time() - started)
    return f"{len(features_ND):,} images, {features_ND.shape[1]} {extractor.name} features each, {rate:,.0f} img/s"


def _images(inputs: Mapping[str, str], crop: int) -> Iterator[np.ndarray]:
    """The train and val images of the split, as every method is scored on them: `crop` is the side that it sees, 0 for
    all of it.
    """
    array = np.load(inputs["images"], mmap_mode="r")
    count, splits = len(read_rows(inputs["index"], "index")), read_rows(inputs["splits"], "splits")
    if count != len(array):
        raise ValueError(
            f"{inputs['images']}: {len(array)} images but {count} index rows in {inputs['index']}; make both again"
        )
    rows = np.concatenate([splits.loc[splits["part"] == part, "row"].to_numpy(int) for part in ("train", "val")])
    top, left = (round((side - crop) / 2) if crop else 0 for side in array.shape[1:3])
    return (np.asarray(array[row, top : top + crop or None, left : left + crop or None]) for row in rows)


def reference(job: Mapping, inputs: Mapping[str, str], outputs: Mapping[str, str], say=print) -> str:
    """Statistics of the images that the config names as the reference."""
    from vptcore.analysis.features import extractor_of
    from vptcore.analysis.reference import write_reference as write

    return write(
        extractor_of(job), Path(job["reference"]), Path(outputs["statistics"]), int(job["size"]), job["image_resize"]
    )


def run(job: Mapping, inputs: Mapping[str, str], outputs: Mapping[str, str], say=print) -> str:
    """One task's row, from its features and the reference's statistics."""
    started = time.time()
    features_ND, note = read_features(inputs["features"])
    network, resize = note["network"], note["resize"]
    where = inputs.get("reference", job["reference"])
    found = read_reference(where, network, features_ND.shape[1], resize, job["image_resize"])
    row = {"network": network, "resize": resize, "reference": job["reference"]}
    row |= distances(features_ND, found, job["bootstrap"])
    write_rows(outputs["rows"], "fid", [row], provenance(job, inputs, started=started, device="cpu"))
    spread = "" if math.isnan(row["fid_low"]) else f" [{row['fid_low']:.1f}, {row['fid_high']:.1f}]"
    return f"Fréchet distance {row['fid']:.1f}{spread} in {network} features, {len(features_ND):,} images"


def distances(features_ND: np.ndarray, found: Found, repeats: int) -> dict:
    """The numbers of a row of kind `fid` but for its names."""
    comparison = frechet.Comparison(features_ND, found.reference)
    low, high = frechet.bootstrap_interval(comparison, repeats)
    sample_MD = found.reference.sample_MD
    kernel = (None, None) if sample_MD is None else frechet.kernel_distance(features_ND, sample_MD)
    return {
        "reference_sha256": found.sha256, "reference_images": found.reference.count or None,
        "reference_spread": comparison.trace, "images": len(features_ND), "dimensions": features_ND.shape[1],
        "fid": comparison.distance(), "fid_low": low, "fid_high": high, "fid_infinity": frechet.limit(comparison),
        "kid": kernel[0], "kid_std": kernel[1],
    }  # fmt: skip


def save_features(path: Path | str, features_ND: np.ndarray, note: Mapping) -> None:
    """Write features with a note (network, resize, and what made them) in the file's metadata."""
    with replacing(path) as beside:
        save_file({"features": features_ND}, beside, metadata={"vptcore": json.dumps(note, sort_keys=True)})


def read_features(path: Path | str) -> tuple[np.ndarray, dict]:
    """Features (N, D) and the note; ValueError of one line for another file, or for NaN."""
    try:
        with safe_open(path, "numpy") as file:
            features_ND, note = file.get_tensor("features"), (file.metadata() or {}).get("vptcore")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path}: not a readable features file ({error}); delete it and run again") from None
    if note is None or features_ND.ndim != 2:
        raise ValueError(f"{path}: not a features file of this project; delete it and run again")
    if not np.isfinite(features_ND).all():
        bad = np.flatnonzero(~np.isfinite(features_ND).all(1))
        raise ValueError(f"{path}: the features of {len(bad)} images hold NaN or infinity; look at the weights")
    return features_ND, json.loads(note)
