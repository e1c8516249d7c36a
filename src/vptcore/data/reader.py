"""One kind of source, all that is known of it: a row that each module of `readers` exports.

In: how a source is laid out, opened, counted and looked at. Out: a `Reader`; `sources.READERS` lists them. A source is
added by one module with one row (docs/extending.md), and no other place names it.

    python -m pytest tests/vptcore/data/test_readers.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vptcore.data.item import Request, Source

if TYPE_CHECKING:
    from vptcore.data.listing import Listing


def _at_its_path(request: Request) -> list[Path]:
    return [] if request.path is None else [Path(request.path)]


def with_suffix(suffix: str) -> Callable[[Request], list[Path]]:
    """The places of a source that is one file: its path, or the path with the suffix added (data/TASK.csv)."""

    def places(request: Request) -> list[Path]:
        return [path for own in _at_its_path(request) for path in (own, own.with_name(f"{own.name}{suffix}"))]

    return places


def _has_something(path: Path) -> bool:
    """Whether a folder with something in it is at `path`: an empty one is none."""
    return path.is_dir() and any(path.iterdir())


def _names_none(path: Path) -> Sequence[str]:
    return ()


def _not_counted(request: Request) -> None:
    return None


@dataclass(frozen=True)
class Reader:
    """`layout` completes "put there ...". `open` gives the images; it raises ValueError of one line for what is wrong.

    Where the images are: `places` to look in, in order; `needs`, the files that must be there; `holds`, whether a place
    has images; `locate` in place of all three, where a source knows better. `is_file`: the path is one file.
    `count` is the number of images at `request.path`, without decoding one, or None where it cannot be had.
    `look` lists a person's own images; `names` are the images that a file, or the tables in a folder, give by
    path: as they are found from the folder.
    `is_quick`: opening reads lists alone, so `vptcore data list` may try it.
    `fetched`: the patterns of the files that `vptcore data fetch` brings from a task's repository; none: it cannot.
    `own`: a person's own way of keeping images, without the benchmark's order of them.
    `ships`: what brings the images, for a source that needs no path.
    `lacks_val`: its train split is without val, `Task.wds_train` images. `pool`: the most images that it has to train
    and validate on; 0 for no such limit.
    """

    name: str
    layout: str
    open: Callable[[Request], Source]
    needs: tuple[str, ...] = ()
    count: Callable[[Request], int | None] = _not_counted
    fetched: tuple[str, ...] = ()
    own: bool = False
    look: Callable[[Path | str], Listing] | None = None
    names: Callable[[Path], Sequence[str]] = _names_none
    places: Callable[[Request], list[Path]] = _at_its_path
    holds: Callable[[Path], bool] = _has_something
    locate: Callable[[Request], Path] | None = None
    is_file: bool = False
    is_quick: bool = True
    ships: str = ""
    lacks_val: bool = False
    pool: int = 0


def located(reader: Reader, request: Request) -> Path:
    """Where a source is read from. Raises ValueError that says what is missing and what to put where."""
    if reader.locate:
        return reader.locate(request)
    tried = reader.places(request)
    for path in tried:
        if reader.holds(path) and all((path / name).is_file() for name in reader.needs):
            return path
    missing = next((name for name in reader.needs if tried and not (tried[0] / name).is_file()), "data")
    looked = " and ".join(str(path) for path in tried) or f"no path (the config has no tasks.{request.task}.path)"
    fetch = f", or run `vptcore data fetch {request.task}`" if reader.fetched else ""
    raise ValueError(f"{request.task}: no {missing} found in {looked}; put there {reader.layout}{fetch}")
