"""The folders of NOAH, SSF, RepAdapter and others: the exact train800 and val200 of a VTAB task, as JPEG.

In: a folder with three lists of 'images/.../000000.jpg LABEL'. Out: items in the lists' order.

    python -m pytest tests/vptcore/data/test_sources.py -k vtab1k
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from vptcore.data import vtab
from vptcore.data.item import Item, Request, Source, capped, numbered, read_text, whole_number
from vptcore.data.reader import Reader, located

LISTS = {"train": "train800.txt", "val": "val200.txt", "test": "test.txt"}
LOSSY = "images are JPEG of quality 75, the benchmark's are lossless: small ones suffer, CIFAR-100 by about 10 points"


def vtab1k(request: Request) -> Source:
    root = located(READER, request)
    parts = [(split, line) for split, name in LISTS.items() for line in _listed(root / name)]
    items = (_item(root, split, *line) for split, line in capped(parts, request))
    lossy = any(name.lower().endswith((".jpg", ".jpeg")) for _, (name, _) in parts)
    return Source(str(root), numbered(request.classes), items, (LOSSY,) if lossy else ())


def _places(request: Request) -> list[Path]:
    if request.path is None:
        return []
    path = Path(request.path)
    if path.name != request.task:
        return [path]
    noah = (request.task in vtab.ROWS and vtab.ROWS[request.task].noah) or request.task
    return list(dict.fromkeys([path, path.with_name(noah), path.parent / "vtab-1k" / noah]))


def _listed(path: Path) -> list[tuple[str, int]]:
    lines = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name, _, label = line.strip().rpartition(" ")
        if not name or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{path}: line {number} is {line!r}; expected 'images/.../000000.jpg LABEL'")
        lines.append((name, whole_number(label, f"{path}: line {number}")))
    return lines


def _item(root: Path, split: str, name: str, label: int) -> Item:
    if not (root / name).is_file():
        raise ValueError(f"{root / name}: listed in {LISTS[split]} but not there")
    return Item(name, split, label, root / name)


def _count(request: Request) -> int:
    return sum(len(read_text(Path(request.path) / name).splitlines()) for name in LISTS.values())


READER = Reader(
    "vtab1k", "train800.txt, val200.txt, test.txt with lines 'images/.../000000.jpg LABEL'", vtab1k,
    needs=tuple(LISTS.values()), count=_count, places=_places, pool=1000,
)  # fmt: skip
