"""The reference of the Fréchet distance: statistics of the pretraining images, made once and read by every task.

In: a folder of images, one parquet file or a folder of them with a column `image`, tar files, or statistics that exist
(ours as .safetensors, pytorch-fid's as .npz with mu and sigma). Out: a `Reference`, and a .safetensors file with mean,
covariance, count, a sample of features for the kernel distance, and the hash of the images.

    vptcore fid-reference FOLDER data/fid_reference.safetensors
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from vptcore.analysis.frechet import Reference
from vptcore.data.decode import RESIZES, to_rgb
from vptcore.data.item import IMAGE_SUFFIXES
from vptcore.records import file_sha256, replacing
from vptcore.wording import plural

# Features kept for the kernel distance: enough for subsets of 1,000 that differ, and 16 MB in 2,048 dimensions.
SAMPLE = 2000


@dataclass(frozen=True)
class Found:
    """A reference as a row names it: its hash is that of the images where they are known, else of the file."""

    reference: Reference
    sha256: str


def read_reference(where: str | Path, network: str, width: int, resize: str, image_resize: str = "") -> Found:
    """The statistics in `where`; they must be those of this network, width and resize. ValueError of one line.

    `image_resize`: how the task's images reached the methods' input, which the reference's must have done too, where
    its file says.
    """
    path = _path(where)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file"
        raise ValueError(
            f"fid.reference: {path} is {found}; expected statistics made by `vptcore fid-reference IMAGES "
            f"OUT.safetensors`, pytorch-fid's .npz, or images"
        )
    stored, note = _read_npz(path) if path.suffix == ".npz" else _read_safetensors(path)
    for name, value in (("network", network), ("resize", resize)):
        if note.get(name, value) != value:
            raise ValueError(
                f"fid.reference: {path} was made with {name} {note[name]}, but fid.{name} asks for {value}"
            )
    if image_resize and note.get("image_resize", image_resize) != image_resize:
        raise ValueError(
            f"fid.reference: {path} was made from images resized by {note['image_resize']}, and the study's are by "
            f"{image_resize}; make it again with `vptcore fid-reference`, or say `resize: {note['image_resize']}`"
        )
    shapes = stored["mean"].shape, stored["covariance"].shape
    if shapes != ((width,), (width, width)):
        raise ValueError(
            f"fid.reference: {path} has a mean {shapes[0]} and a covariance {shapes[1]}; {network} features have "
            f"{width} dimensions"
        )
    if not all(np.isfinite(stored[name]).all() for name in ("mean", "covariance")):
        raise ValueError(f"fid.reference: {path} holds NaN or infinity; make it again")
    count = int(stored["count"]) if "count" in stored else 0
    reference = Reference(stored["mean"], stored["covariance"], count, stored.get("sample"))
    return Found(reference, note.get("images_sha256") or file_sha256(path))


def reference_hash(where: str | Path) -> str | None:
    """The hash that `read_reference` gives these statistics; None where there are none that can be read."""
    try:
        path = _path(where)
        note = {} if path.suffix == ".npz" else _read_safetensors(path)[1]
        return note.get("images_sha256") or file_sha256(path)
    except (OSError, ValueError):
        return None


def _path(where: str | Path) -> Path:
    """The file that `asset:NAME` or a path stands for."""
    asset = str(where).removeprefix("asset:")
    return Path(where) if asset == str(where) else Path(str(resources.files("vptcore") / "assets" / asset))


def _read_safetensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        with safe_open(path, "numpy") as file:
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            note = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"fid.reference: {path} is not a readable safetensors file ({error})") from None
    if missing := {"mean", "covariance", "count"} - set(stored):
        raise ValueError(
            f"fid.reference: {path} lacks {', '.join(sorted(missing))}; make it with `vptcore fid-reference`"
        )
    return stored, {name: value for name, value in note.items() if value}


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """pytorch-fid's statistics: its Inception, its resize, and no word on how many images."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if missing := {"mu", "sigma"} - set(stored):
                raise ValueError(f"lacks {', '.join(sorted(missing))}")
            found = {"mean": stored["mu"], "covariance": stored["sigma"]}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"fid.reference: {path} is not pytorch-fid's .npz of mu and sigma ({error})") from None
    return found, {"network": "inception"}


def write_reference(extractor, images: Path, out: Path, size: int, image_resize: str = "bilinear") -> str:
    """Statistics of all images in `images`, in the extractor's features, as one file. Returns one line.

    Images larger than `size`, the input of the methods, are first resized to it as a task's are, by the row
    `image_resize` of `decode.RESIZES`, so that both sides of the distance went the same way. Memory for one batch.
    ValueError of one line for no images or a broken one.
    """
    from vptcore.analysis.features import batched

    started, digest = time.time(), hashlib.sha256()
    pixels = _decoded(images, size, image_resize, digest)
    gaussian = gaussian_of(extractor.features(batched(pixels)))
    if gaussian.count < 2:
        raise ValueError(f"{images}: {plural(gaussian.count, 'image')} found; a covariance needs at least 2")
    statistics = {
        "mean": gaussian.mean_D,
        "covariance": gaussian.covariance_DD,
        "count": np.array(gaussian.count),
        "sample": gaussian.sample_MD.astype(np.float32),
    }
    note = {
        "network": extractor.name,
        "resize": extractor.resize,
        "image_resize": image_resize,
        "images": str(images),
        "images_sha256": digest.hexdigest(),
    }
    with replacing(out) as beside:
        save_file(statistics, beside, metadata=note)
    rate = gaussian.count / (time.time() - started)
    return (
        f"{out}: {gaussian.count:,} images in {extractor.name} features, {len(gaussian.mean_D)} dimensions, "
        f"{rate:,.0f} img/s"
    )


def _decoded(images: Path, size: int, image_resize: str, digest) -> Iterator[np.ndarray]:
    """uint8 (H, W, 3), decoded side by side, in the order of the files; `digest` takes every image's bytes."""

    def decode(named: tuple[str, bytes]) -> np.ndarray:
        name, encoded = named
        try:
            pixels_HW3 = to_rgb(encoded)
        except ValueError as error:
            raise ValueError(f"{name}: cannot be decoded ({error}); replace it or take it out") from None
        return RESIZES[image_resize](pixels_HW3, size) if max(pixels_HW3.shape[:2]) > size else pixels_HW3

    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting: list[tuple[str, bytes]] = []
        for name, encoded in pictures(images):
            digest.update(hashlib.sha256(encoded).digest())
            waiting.append((name, encoded))
            if len(waiting) == 16 * workers:
                yield from pool.map(decode, waiting)
                waiting = []
        yield from pool.map(decode, waiting)


def pictures(where: Path) -> Iterator[tuple[str, bytes]]:
    """(name, encoded bytes) of every image in a folder, a parquet file, a tar file, or a folder of the last two."""
    if where.is_dir():
        paths = sorted(path for path in where.rglob("*") if path.is_file())
    elif where.is_file():
        paths = [where]
    else:
        raise ValueError(f"{where}: no such file or folder; expected images in a folder, parquet or tar files")
    for path in paths:
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            yield str(path), path.read_bytes()
        elif suffix == ".parquet":
            yield from _in_parquet(path)
        elif suffix == ".tar":
            yield from _in_tar(path)


def _in_parquet(path: Path) -> Iterator[tuple[str, bytes]]:
    """The column `image`: bytes, or the Hugging Face hub's struct with bytes in it."""
    try:
        file = pq.ParquetFile(path)
        if "image" not in file.schema_arrow.names:
            raise ValueError(f"{path}: has the columns {', '.join(file.schema_arrow.names)}; expected image")
        row = 0
        for batch in file.iter_batches(batch_size=256, columns=["image"]):
            for cell in batch.column(0).to_pylist():
                encoded = cell.get("bytes") if isinstance(cell, Mapping) else cell
                if not isinstance(encoded, bytes):
                    raise ValueError(f"{path}: row {row} of column image holds no bytes")
                yield f"{path} row {row}", encoded
                row += 1
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(f"{path}: not a readable parquet file ({str(error).splitlines()[0]})") from None


def _in_tar(path: Path) -> Iterator[tuple[str, bytes]]:
    """Image members, read in place; nothing is unpacked, so a member's path cannot lead anywhere."""
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.isfile() and Path(member.name).suffix.lower() in IMAGE_SUFFIXES:
                    yield f"{path}:{member.name}", tar.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not a whole tar file ({error})") from None


@dataclass(frozen=True)
class Gaussian:
    """Mean (D,), covariance (D, D), count, and the features (M, D) of a random sample of the images."""

    mean_D: np.ndarray
    covariance_DD: np.ndarray
    count: int
    sample_MD: np.ndarray


def gaussian_of(batches: Iterable[np.ndarray], sample: int = SAMPLE, seed: int = 0) -> Gaussian:
    """Moments and a sample of features that come in batches (B, D); with fewer than two rows the covariance is NaN.

    The sample is the `sample` images with the smallest of one random number each: the same for any batch size.
    """
    rng, count = np.random.default_rng(seed), 0
    shift_D, sum_D, products_DD = np.zeros(0), np.zeros(0), np.zeros((0, 0))
    kept_MD, keys_M = None, np.zeros(0)
    for features_BD in batches:
        features_BD = np.asarray(features_BD, dtype=np.float64)
        if kept_MD is None:
            # About the first image: without a shift the products of large features would cancel.
            shift_D, sum_D = features_BD[0].copy(), np.zeros(features_BD.shape[1])
            products_DD, kept_MD = np.zeros((len(shift_D), len(shift_D))), features_BD[:0]
        centred_BD = features_BD - shift_D
        sum_D += centred_BD.sum(0)
        products_DD += centred_BD.T @ centred_BD
        count += len(features_BD)
        kept_MD, keys_M = np.concatenate([kept_MD, features_BD]), np.concatenate([keys_M, rng.random(len(features_BD))])
        chosen = np.sort(np.argsort(keys_M, kind="stable")[:sample])
        kept_MD, keys_M = kept_MD[chosen], keys_M[chosen]
    if count < 2:
        return Gaussian(shift_D, np.full_like(products_DD, np.nan), count, shift_D[None])
    offset_D = sum_D / count
    covariance_DD = (products_DD - count * np.outer(offset_D, offset_D)) / (count - 1)
    return Gaussian(shift_D + offset_D, covariance_DD, count, kept_MD)
