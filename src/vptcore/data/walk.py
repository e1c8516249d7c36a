"""Every file below a folder, by name, and what could not be looked at. Nothing is opened.

In: a folder. Out: a `Tree` of names relative to it. Litter that machines leave in folders is not in it; links are
followed, but never round in a circle.

    python -m pytest tests/vptcore/data/test_listing.py -k walk
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

# In lower case. What starts with a dot is litter too.
LITTER = frozenset((
    "__macosx", "@eadir", "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "#recycle",
    "system volume information", "__pycache__",
))  # fmt: skip


@dataclass
class Tree:
    """Names with `/` between their parts: files and folders in order, links that lead nowhere, folders not readable.

    `dead` links are among the files too: a name is a name. `unreadable` has (name, the system's reason).
    """

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)


def tree(root: os.PathLike | str) -> Tree:
    """All that is below `root`, in alphabetical order; it never raises OSError."""
    found = Tree()
    _into(os.fspath(root), "", frozenset(), found)
    return found


def is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


def _into(folder: str, above: str, inside: frozenset, found: Tree) -> None:
    try:
        here = os.stat(folder)
        with os.scandir(folder) as entries:
            sorted_entries = sorted((e for e in entries if not is_litter(e.name)), key=lambda e: e.name)
    except OSError as error:
        found.unreadable.append((above.rstrip("/") or ".", error.strerror or str(error)))
        return
    if (here.st_dev, here.st_ino) in inside:  # a link to a folder above this one
        return
    inside |= {(here.st_dev, here.st_ino)}
    for entry in sorted_entries:
        name = above + entry.name
        if _is_folder(entry):
            found.folders.append(name)
            _into(entry.path, f"{name}/", inside, found)
        else:
            found.files.append(name)
            if entry.is_symlink() and not os.path.exists(entry.path):
                found.dead.append(name)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link round in a circle
        return False
