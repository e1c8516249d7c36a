"""Chunks of a task's array: decoded by workers straight into their place in one file, each finished for good.

In: `Chunk`s of items. Out: one .npy file in a work folder, and beside it a small JSON file per finished chunk with the
hash and size of each image and a mark of what it was made of. Called again after a kill, a chunk whose marks and hashes
still hold is not decoded again. All images share one `Form`; the first chunk proposes it, and a chunk that does not
fit has it widened: grey to colour, native size to resized. What was written in the narrower form is converted, not
decoded again; native pixels are stored whole, so the outcome does not depend on the order.

    python -m pytest tests/vptcore/data/test_chunks.py
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vptcore.data.decode import RESIZES, crop_side, decoded, is_grey
from vptcore.data.item import Deferred, Image, Item, Range, load
from vptcore.records import replacing, write_text

CHUNK = 32  # images: 5 MB at 224 pixels, what a kill costs each worker, and what the last worker makes alone
HEADER = 128  # bytes of a version 1.0 .npy header, however many rows it counts


@dataclass(frozen=True)
class Form:
    """How every image is stored: its shape, and whether that is the images' own size."""

    shape_HWC: tuple[int, int, int]
    native: bool

    @property
    def name(self) -> str:
        return "x".join(map(str, self.shape_HWC)) + ("-native" if self.native else "")

    @property
    def bytes(self) -> int:
        return int(np.prod(self.shape_HWC))


@dataclass(frozen=True)
class Chunk:
    """Some consecutive items of a source, and where that is."""

    number: int
    items: tuple[Item, ...]
    where: str


class DoesNotFit(Exception):
    """A chunk needs a wider form than the present one."""

    def __init__(self, form: Form):
        super().__init__(form.name)
        self.form = form


class BadImages(Exception):
    """Images of a chunk that cannot be decoded: (key, reason) of each."""

    def __init__(self, found: list[tuple[str, str]]):
        super().__init__(f"{len(found)} images cannot be decoded")
        self.found = found


class Chunks:
    """The work folder of one task's array. `make` may be called from many threads, once the first chunk is made."""

    def __init__(self, folder: Path, size: int, resize: str, *, upright: bool = False):
        self.folder, self.size, self.resize, self.upright = folder, size, RESIZES[resize], upright
        side = crop_side(size) if resize == "256_crop" else size
        self.resized = Form((side, side, 3), native=False)
        self.may_keep = resize != "256_crop"
        self.forms = self._forms_of_before()

    @property
    def form(self) -> Form | None:
        return self.forms[-1] if self.forms else None

    def make(self, chunk: Chunk) -> list[dict]:
        """Write a chunk, or find it finished: sha256, width, height and bits (`decode.decoded`) of an image a row.

        Raises DoesNotFit, or BadImages for all of the chunk's images that cannot be decoded.
        """
        marks = [_mark(item) for item in chunk.items]
        # Widest first: a kill while chunks were converted leaves some in both forms.
        for form in reversed(self.forms):
            if (rows := self._finished(chunk, form, marks)) is not None:
                return rows if form == self.form else self._converted(chunk, form, rows, marks)
        pixels, facts = self._decode(chunk)
        return self._write(chunk, pixels, facts, marks)

    def widen(self, form: Form) -> None:
        """From now on store in `form`. Narrower files stay until `finish`: their chunks are converted from there."""
        self.forms.append(form)
        write_text(self.folder / "forms.json", json.dumps([[f.shape_HWC, f.native] for f in self.forms]))

    def finish(self, count: int, images_path: Path) -> None:
        """Write the header for `count` rows and move the file to its place."""
        path = self._file(self.form)
        with open(path, "r+b") as file:
            _write_header(file, (count, *self.form.shape_HWC))
            file.truncate(HEADER + count * self.form.bytes)
        images_path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(images_path) as beside:
            shutil.move(path, beside)

    def _forms_of_before(self) -> list[Form]:
        path = self.folder / "forms.json"
        return (
            [Form(tuple(shape), native) for shape, native in json.loads(path.read_text(encoding="utf-8"))]
            if path.is_file()
            else []
        )

    def _file(self, form: Form) -> Path:
        return self.folder / f"{form.name}.npy"

    def _note(self, chunk: Chunk, form: Form) -> Path:
        return self.folder / form.name / f"{chunk.number:06d}.json"

    def _finished(self, chunk: Chunk, form: Form, marks: list[str]) -> list[dict] | None:
        """The rows of a chunk that is on disk in `form`, made of the same items, with the bytes it was written with."""
        try:
            note = json.loads(self._note(chunk, form).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        if note["marks"] != marks:
            return None
        stored = self._read(chunk, form)
        whole = len(stored) == len(marks) and all(map(_is_hashed, stored, note["rows"]))
        return note["rows"] if whole else None

    def _read(self, chunk: Chunk, form: Form) -> np.ndarray:
        count, path = len(chunk.items) * form.bytes, self._file(form)
        if not path.is_file():  # killed between moving the array and writing the index
            return np.empty((0, *form.shape_HWC), np.uint8)
        with open(path, "rb") as file:
            data = os.pread(file.fileno(), count, HEADER + chunk.number * CHUNK * form.bytes)
        return np.frombuffer(data[: len(data) // form.bytes * form.bytes], np.uint8).reshape(-1, *form.shape_HWC)

    def _decode(self, chunk: Chunk) -> tuple[np.ndarray, list[dict]]:
        """The chunk's pixels in the present form, and width, height and bits of each image in the source."""
        kept, facts, bad = [], [], []
        may_be_native = self.form is None or self.form.native
        for item in chunk.items:
            try:
                image, bits = decoded(load(item.image), upright=self.upright)
            except ValueError as error:
                bad.append((item.key, str(error)))
                continue
            if may_be_native and (not self.may_keep or max(image.shape[:2]) > self.size):
                raise DoesNotFit(self.resized)  # at once: a chunk of large images may not fit into memory
            kept.append(image if may_be_native else self.resize(image, self.size))
            facts.append({"width": image.shape[1], "height": image.shape[0], "bits": bits})
        if bad:
            raise BadImages(bad)
        if may_be_native:
            self._check_form(kept)
        channels = self.form.shape_HWC[2]
        return np.stack([image[..., :channels] for image in kept]), facts

    def _check_form(self, images: list[np.ndarray]) -> None:
        """Raise DoesNotFit unless these images can be stored in the present form."""
        shapes = {image.shape[:2] for image in images}
        if len(shapes) > 1 or (self.form and self.form.shape_HWC[:2] not in shapes):
            raise DoesNotFit(self.resized)
        is_colour = self.form is not None and self.form.shape_HWC[2] == 3
        channels = 3 if is_colour or not all(is_grey(image) for image in images) else 1
        form = Form((*images[0].shape[:2], channels), native=True)
        if form != self.form:
            raise DoesNotFit(form)

    def _converted(self, chunk: Chunk, old: Form, rows: list[dict], marks: list[str]) -> list[dict]:
        """A finished chunk of a narrower form, written in the present one."""
        pixels = np.broadcast_to(self._read(chunk, old), (len(rows), *old.shape_HWC[:2], 3))
        if not self.form.native:
            pixels = np.stack([self.resize(image, self.size) for image in np.ascontiguousarray(pixels)])
        elif pixels.shape[1:] != self.form.shape_HWC:
            raise DoesNotFit(self.resized)
        return self._write(chunk, pixels, rows, marks)

    def _write(self, chunk: Chunk, pixels: np.ndarray, facts: list[dict], marks: list[str]) -> list[dict]:
        rows = [
            of_image | {"sha256": hashlib.sha256(np.ascontiguousarray(image)).hexdigest()}
            for image, of_image in zip(pixels, facts, strict=True)
        ]
        path = self._file(self.form)
        # Opened for each chunk and written by position: threads share no file offset, and none truncates the others.
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _write_all(handle, np.ascontiguousarray(pixels), HEADER + chunk.number * CHUNK * self.form.bytes)
        finally:
            os.close(handle)
        # The note comes last, so that a chunk that was cut short has none.
        write_text(self._note(chunk, self.form), json.dumps({"marks": marks, "rows": rows}))
        return rows


def _mark(item: Item) -> str:
    """What an item is, so that a chunk made of other items is not taken for this one: files by size and time."""
    return f"{item.key} {_content(item.image)}"


def _content(image: Image) -> str:
    if isinstance(image, Deferred):
        parts = (
            _content(part) if isinstance(part, Path | Range | Deferred) else repr(part) for part in image.arguments
        )
        return f"{image.make.__name__}({', '.join(parts)})"
    if isinstance(image, Path | Range):
        path = image if isinstance(image, Path) else image.path
        found = path.stat() if path.exists() else None
        place = "" if isinstance(image, Path) else f"{image.start}+{image.size}"
        return f"{place} {found and (found.st_size, found.st_mtime_ns)}"
    data = image if isinstance(image, bytes) else np.ascontiguousarray(image) if image is not None else b""
    return f"{zlib.crc32(data):08x} {getattr(image, 'shape', len(data))}"


def _is_hashed(image: np.ndarray, row: dict) -> bool:
    return hashlib.sha256(image).hexdigest() == row["sha256"]


def _write_all(handle: int, pixels: np.ndarray, start: int) -> None:
    """All bytes at their place; the system may take fewer at a time than it is given."""
    rest = memoryview(pixels).cast("B")
    while rest:
        written = os.pwrite(handle, rest, start)
        start, rest = start + written, rest[written:]


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """The .npy header at the file's start. numpy pads it so that it has one length however many rows there are."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    if file.tell() != HEADER:
        raise AssertionError(f"a .npy header of {file.tell()} bytes; expected {HEADER}")
