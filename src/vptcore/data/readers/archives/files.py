"""What is in a folder, a zip or a tar: each file's name and where its bytes are, without unpacking.

In: the path of an archive or of a folder. Out: `{name inside: Path | Range | Deferred}`, to be opened by the worker
that decodes the image. Random access is needed because the benchmark's order is a shuffled one; a zip and a plain tar
have it, a file under gzip does not, so that one is written out once as it is inside, in `.plain` beside it. No member
is ever written to disk under its own name.

    python -m pytest tests/vptcore/data/test_archives_files.py
"""

from __future__ import annotations

import gzip
import os
import shutil
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from vptcore import records
from vptcore.data.item import Deferred, Range, load

Entries = dict[str, Path | Range | Deferred]

PLAIN = ".plain"
GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = b"PK"
LOCAL_HEADER = struct.Struct("<4s2B4HL2L2H")  # PKWARE APPNOTE 4.3.7
AGAIN = "download it again"
BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    gzip.BadGzipFile,
    EOFError,
    NotImplementedError,
    RuntimeError,
)


def entries(path: Path) -> Entries:
    """Every file of a folder, a zip, a tar or a compressed tar. Raises ValueError (one line) that names the file."""
    if path.is_dir():
        return _folder(path)
    with open(path, "rb") as file:
        magic = file.read(2)
    if not magic:
        raise ValueError(f"{path}: an empty file; {AGAIN}")
    return _zip(path) if magic == ZIP_MAGIC else _tar(plain(path), path)


def read(where: Path | Range | Deferred, name: str) -> bytes:
    """The bytes of one entry; `name` is for the error."""
    data = load(where)
    if not data:
        raise ValueError(f"{name}: an empty file; {AGAIN}")
    return data


def below(found: Entries, marker: str, where: Path) -> Entries:
    """The entries under the folder that has `marker` ("labels/train1.txt"), named from there."""
    tops = [name.removesuffix(marker) for name in found if f"/{name}".endswith(f"/{marker}")]
    if not tops:
        raise ValueError(f"{where}: no {marker} in it; this is not the original archive, or not all of it")
    top = min(tops, key=len)
    return {name.removeprefix(top): entry for name, entry in found.items() if name.startswith(top)}


def lines(found: Entries, name: str, where: Path) -> list[str]:
    """The lines of a text file among the entries; a file that is not there is an error."""
    if name not in found:
        raise ValueError(f"{where}: no {name} in it; this is not the original archive, or not all of it")
    return read(found[name], f"{where}: {name}").decode("utf-8", "replace").splitlines()


def plain(path: Path) -> Path:
    """The path itself, or its content without gzip, written once into `.plain` beside it."""
    with open(path, "rb") as file:
        if file.read(2) != GZIP_MAGIC:
            return path
    inside = beside(path, path.name.removesuffix(".gz").removesuffix(".tgz"))
    if not inside.is_file():
        with gzip.open(path, "rb") as source:
            _copy(source, inside, path)
    return inside


def extracted(path: Path, name: str) -> Path:
    """The path of one member of a zip, written once into `.plain` beside it: for what must be a file."""
    inside = beside(path, PurePosixPath(name).name)
    if not inside.is_file():
        with _whole(path), zipfile.ZipFile(path) as archive, archive.open(name) as source:
            _copy(source, inside, path)
    return inside


def beside(path: Path, name: str) -> Path:
    """A name for what comes out of `path` that another file in its place does not share."""
    stat = path.stat()
    folder = path.parent if path.parent.name == PLAIN else path.parent / PLAIN
    return folder / f"{stat.st_size:x}-{stat.st_mtime_ns:x}-{name}"


def _copy(source, target: Path, path: Path) -> None:
    size = path.stat().st_size
    if size > 50e6:
        print(f"unpacking {path} ({size / 1e9:.1f} GB) once, into {target.parent}", file=sys.stderr, flush=True)
    try:
        with records.replacing(target) as unfinished, open(unfinished, "wb") as file, _whole(path):
            shutil.copyfileobj(source, file, 1 << 20)
    except OSError as error:
        raise ValueError(f"{path}: cannot be unpacked to {target.parent} ({error.strerror or error})") from None


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turn what the libraries raise for a broken archive into one line that names it."""
    try:
        yield
    except BROKEN as error:
        raise ValueError(f"{path}: not a whole archive ({error or type(error).__name__}); {AGAIN}") from None


def _folder(root: Path) -> Entries:
    found: Entries = {}
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        at = Path(folder)
        inside = at.relative_to(root)
        found |= {(inside / name).as_posix(): at / name for name in sorted(names) if not name.startswith(".")}
    return found


def _safe(name: str, archive: Path) -> bool:
    """Whether a member is one to look at; a name that leaves the archive is an error."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or "\\" in name or ":" in name[:2] or ".." in parts:
        raise ValueError(f"{archive}: member {name!r} leads out of the archive; this is not the original file")
    # What macOS adds beside the files.
    return "__MACOSX" not in parts and not PurePosixPath(name).name.startswith("._")


def _add(found: Entries, name: str, entry: Range | Deferred, archive: Path) -> None:
    name = PurePosixPath(name).as_posix()
    if name in found:
        raise ValueError(f"{archive}: two members are named {name!r}; this is not the original file")
    found[name] = entry


def _tar(inside: Path, path: Path) -> Entries:
    """The members of the plain tar `inside`; errors name the archive `path` that it came out of."""
    found: Entries = {}
    size = inside.stat().st_size
    with _whole(path), tarfile.open(inside, "r:") as tar:
        for member in tar:
            if member.isdir() or not _safe(member.name, path):
                continue
            if not member.isfile() or member.issparse():
                raise ValueError(f"{path}: member {member.name!r} is a link or a device; this is not the original file")
            if member.offset_data + member.size > size:
                raise ValueError(f"{path}: not a whole archive (it breaks off in {member.name!r}); {AGAIN}")
            _add(found, member.name, Range(inside, member.offset_data, member.size), path)
        # tarfile takes an archive that breaks off between two members as whole; the end is a block of zeros.
        with open(inside, "rb") as file:
            file.seek(tar.offset)
            if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise ValueError(f"{path}: not a whole archive (it has no end mark); {AGAIN}")
    return found


def _zip(path: Path) -> Entries:
    found: Entries = {}
    with _whole(path), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir() or not _safe(info.filename, path):
                continue
            # The upper half has the Unix mode, where a link is 0o12.
            if info.external_attr >> 28 == 0o12:
                raise ValueError(f"{path}: member {info.filename!r} is a link; this is not the original file")
            if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{path}: member {info.filename!r} is encrypted or compressed in an unusual way")
            at = (str(path), info.filename, info.header_offset, info.compress_size, info.file_size)
            member = Deferred(zip_member, (*at, info.compress_type, info.CRC))
            _add(found, info.filename, member, path)
    return found


def zip_member(path: str, name: str, start: int, packed: int, size: int, method: int, crc: int) -> bytes:
    """One member by its place in the file: no directory of 100,000 names is read again by each worker."""
    with open(path, "rb") as file:
        file.seek(start)
        header = file.read(LOCAL_HEADER.size)
        if len(header) < LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
            raise ValueError(f"{path}: {name} is not where the archive says")
        name_length, extra_length = LOCAL_HEADER.unpack(header)[-2:]
        file.seek(name_length + extra_length, os.SEEK_CUR)
        data = file.read(packed)
    if method == zipfile.ZIP_DEFLATED:
        try:
            # The limit keeps a member from growing beyond what the directory says.
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
        except zlib.error as error:
            raise ValueError(f"{path}: {name} is broken ({error})") from None
    if len(data) != size or zlib.crc32(data) != crc:
        raise ValueError(f"{path}: {name} is broken (its checksum differs)")
    return data
