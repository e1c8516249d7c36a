"""Data sets that come as arrays of pixels: SVHN (.mat), dSprites (.npz), SmallNORB (its own .mat) and PCam (.h5).

In: the found files. Out: TFDS's splits, keyed by row number as TFDS keys them. Only SVHN is held in memory; the others
are memory-mapped, or their wanted rows copied in order to a file first. No array is read with pickle.

    python -m pytest tests/vptcore/data/test_archives_pixels.py
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from vptcore import records
from vptcore.data import vtab
from vptcore.data.item import Request, numbered
from vptcore.data.readers import matlab
from vptcore.data.readers.archives.files import AGAIN, beside, extracted, plain
from vptcore.data.readers.archives.order import Original, Part
from vptcore.data.readers.archives.table import DSPRITES, NORB_TEST, NORB_TRAIN
from vptcore.data.readers.labels import dsprites_bins

DSPRITES_COLUMN = {"dsprites_orientation": 3, "dsprites_location": 4}  # of latents_classes
NORB_COLUMN = {"smallnorb_elevation": (1, 1), "smallnorb_azimuth": (2, 2)}  # of info, steps: azimuths are 0, 2, ..., 34
NORB_TYPES = {507333717: np.dtype("u1"), 507333716: np.dtype("<i4")}
BLOCK = 1024
H5_BROKEN = (OSError, RuntimeError, KeyError)  # what h5py raises for broken data differs from place to place


def svhn(request: Request, found: dict[str, Path]) -> Original:
    """Cropped digits; the class of the digit 0 is written as 10."""
    parts = {split: _svhn_part(found[f"{split}_32x32.mat"]) for split in ("train", "test")}
    return Original(numbered(10), parts)


def _svhn_part(path: Path) -> Part:
    (images_HW3N,), (digits_N,) = matlab.arrays(path, "X"), matlab.whole_numbers(path, "y")
    if images_HW3N.ndim != 4 or images_HW3N.shape[2] != 3 or images_HW3N.dtype != np.uint8:
        raise ValueError(f"{path}: X is {images_HW3N.dtype} of shape {images_HW3N.shape}; expected uint8 (H, W, 3, N)")
    if images_HW3N.shape[3] != len(digits_N):
        raise ValueError(f"{path}: {images_HW3N.shape[3]:,} images but {len(digits_N):,} labels")
    wrong = np.flatnonzero((digits_N < 1) | (digits_N > 10))
    if len(wrong):
        raise ValueError(f"{path}: row {wrong[0]} has label {digits_N[wrong[0]]}; expected 1 to 10")
    labels_N = digits_N % 10
    return Part(str(path), range(len(labels_N)), labels_N, lambda row: images_HW3N[..., row])


def dsprites(request: Request, found: dict[str, Path]) -> Original:
    """White sprites on black, stored as 0 and 1. The archive's pickled metadata is not touched."""
    path = found[DSPRITES]
    images_NHW, classes_NL = _npy(path, "imgs"), _npy(path, "latents_classes")
    if images_NHW.ndim != 3 or images_NHW.dtype != np.uint8 or classes_NL.ndim != 2 or classes_NL.shape[1] != 6:
        raise ValueError(f"{path}: imgs {images_NHW.shape} and latents_classes {classes_NL.shape}; expected dSprites'")
    if len(images_NHW) != len(classes_NL):
        raise ValueError(f"{path}: {len(images_NHW):,} images but {len(classes_NL):,} labels")
    raw = vtab.ROWS[request.task].raw
    raw_N = classes_NL[:, DSPRITES_COLUMN[request.task]]
    wrong = np.flatnonzero((raw_N < 0) | (raw_N >= raw))
    if len(wrong):
        raise ValueError(f"{path}: row {wrong[0]} has label {raw_N[wrong[0]]}; expected 0 to {raw - 1}")
    labels_N = dsprites_bins(raw_N, raw)

    def image(row: int) -> np.ndarray:
        return images_NHW[row][..., None] * np.uint8(255)

    return Original(numbered(request.classes), {"train": Part(str(path), range(len(labels_N)), labels_N, image)})


def _npy(path: Path, name: str) -> np.ndarray:
    """One array of an .npz, memory-mapped: dSprites' images are 27 MB there and 3 GB unpacked."""
    try:
        return np.load(extracted(path, f"{name}.npy"), mmap_mode="r", allow_pickle=False)
    except KeyError:
        raise ValueError(f"{path}: no array {name!r} in it; this is not the original file") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        if str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: its array {name!r} cannot be read ({str(error).splitlines()[0]})") from None


def smallnorb(request: Request, found: dict[str, Path]) -> Original:
    """Grey images of toys; the first camera's."""
    parts = {split: _norb_part(request.task, stem, found) for split, stem in
             (("train", NORB_TRAIN), ("test", NORB_TEST))}  # fmt: skip
    return Original(numbered(request.classes), parts)


def _norb_part(task: str, stem: str, found: dict[str, Path]) -> Part:
    dat, info = found[f"{stem}-dat.mat.gz"], found[f"{stem}-info.mat.gz"]
    images_N2HW, info_NI = norb_matrix(dat), norb_matrix(info)
    if images_N2HW.ndim != 4 or images_N2HW.shape[1] != 2 or images_N2HW.dtype != np.uint8:
        raise ValueError(f"{dat}: {images_N2HW.dtype} of shape {images_N2HW.shape}; expected uint8 (N, 2, H, W)")
    if info_NI.ndim != 2 or info_NI.shape[1] != 4 or len(info_NI) != len(images_N2HW):
        raise ValueError(f"{info}: shape {info_NI.shape}; expected ({len(images_N2HW)}, 4) as in {dat.name}")
    column, step = NORB_COLUMN[task]
    odd = np.flatnonzero(info_NI[:, column] % step)
    if len(odd):
        raise ValueError(f"{info}: row {odd[0]} has azimuth {info_NI[odd[0], column]}; expected an even number")
    labels_N = info_NI[:, column] // step
    return Part(str(dat), range(len(labels_N)), labels_N, lambda row: images_N2HW[row, 0][..., None])


def norb_matrix(path: Path) -> np.ndarray:
    """A binary matrix of SmallNORB, memory-mapped: a magic number for the type, the shape, then the values."""
    inside = plain(path)
    size = inside.stat().st_size
    with open(inside, "rb") as file:
        head = file.read(8)
        magic, dimensions = struct.unpack("<2i", head) if len(head) == 8 else (0, 0)
        if magic not in NORB_TYPES or not 1 <= dimensions <= 8:
            raise ValueError(
                f"{path}: not a SmallNORB matrix (its first bytes are {head[:4].hex() or 'none'}); {AGAIN}"
            )
        # Three numbers are written even for a vector.
        shape_bytes = file.read(4 * max(3, dimensions))
    shape = struct.unpack(f"<{dimensions}i", shape_bytes[: 4 * dimensions]) if len(shape_bytes) >= 12 else (0,)
    start, kind = 8 + len(shape_bytes), NORB_TYPES[magic]
    needs = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if min(shape) < 1 or size - start != needs:
        raise ValueError(f"{path}: shape {shape} needs {needs:,} bytes, it has {size - start:,}; {AGAIN}")
    return np.memmap(inside, kind, "r", start, shape)


def patch_camelyon(request: Request, found: dict[str, Path]) -> Original:
    """Patches of 96 pixels with a tumour in the middle or not."""
    parts = {tfds: _pcam_part(split, found) for split, tfds in
             (("train", "train"), ("valid", "validation"), ("test", "test"))}  # fmt: skip
    return Original(("no tumour", "tumour"), parts)


def _pcam_part(split: str, found: dict[str, Path]) -> Part:
    stem = f"camelyonpatch_level_2_split_{split}"
    x, y = found[f"{stem}_x.h5.gz"], found[f"{stem}_y.h5.gz"]
    with _h5(y, "y") as stored:
        labels_N = np.asarray(_h5_rows(stored, slice(None), y), np.int64).ravel()
    with _h5(x, "x") as images_NHW3:
        if images_NHW3.ndim != 4 or images_NHW3.shape[3] != 3 or images_NHW3.dtype != np.uint8:
            found_as = f"x is {images_NHW3.dtype} of shape {images_NHW3.shape}"
            raise ValueError(f"{x}: {found_as}; expected uint8 (N, H, W, 3)")
        if len(images_NHW3) != len(labels_N):
            raise ValueError(f"{x}: {len(images_NHW3):,} images but {len(labels_N):,} labels in {y.name}")
    rows: dict[int, np.ndarray] = {}

    def take(numbers_R: np.ndarray) -> None:
        with _h5(x, "x") as images_NHW3:
            copy_RHW3 = _in_order(images_NHW3, numbers_R, x)
        rows.update(zip(numbers_R.tolist(), copy_RHW3, strict=True))

    return Part(str(x), [f"{split}_{row}" for row in range(len(labels_N))], labels_N, rows.__getitem__, take)


@contextmanager
def _h5(path: Path, name: str) -> Iterator:
    """An array of an .h5 file; one that leads to another file is refused."""
    import h5py

    with ExitStack() as opened:
        try:
            file = opened.enter_context(h5py.File(plain(path), "r"))
            if name not in file:
                raise ValueError(f"{path}: no array {name!r} in it; this is not the original file")
            inner = isinstance(file.get(name, getlink=True), h5py.HardLink)
            array = file[name] if inner else None
        except H5_BROKEN as error:
            raise ValueError(f"{path}: not a whole .h5 file ({str(error).splitlines()[0]}); {AGAIN}") from None
        if not isinstance(array, h5py.Dataset) or array.is_virtual or array.external:
            raise ValueError(f"{path}: {name!r} leads to another file; this is not the original file")
        yield array


def _h5_rows(array, rows: slice, path: Path) -> np.ndarray:
    try:
        return array[rows]
    except H5_BROKEN as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{path}: its {array.name[1:]} cannot be read ({reason}); {AGAIN}") from None


def _in_order(images_NHW3, numbers_R: np.ndarray, path: Path) -> np.ndarray:
    """The rows `numbers_R`, in that order, memory-mapped from a copy that is written once.

    An .h5 file keeps images in blocks of many rows: one row at a time in shuffled order would read each block anew.
    """
    copy = beside(path, f"{len(numbers_R)}-rows.npy")
    if not copy.is_file():
        order = np.argsort(numbers_R)
        with records.replacing(copy) as unfinished:
            shape = (len(numbers_R), *images_NHW3.shape[1:])
            out_RHW3 = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape)
            for start in range(0, len(images_NHW3), BLOCK):
                low, high = np.searchsorted(numbers_R[order], (start, start + BLOCK))
                if low < high:
                    block_BHW3 = _h5_rows(images_NHW3, slice(start, start + BLOCK), path)
                    out_RHW3[order[low:high]] = block_BHW3[numbers_R[order[low:high]] - start]
            out_RHW3.flush()
    try:
        return np.load(copy, mmap_mode="r")
    except (ValueError, EOFError, OSError):
        raise ValueError(f"{copy}: this copy of {path.name}'s images is damaged; delete it") from None
