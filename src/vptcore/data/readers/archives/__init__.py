"""The VTAB tasks from their data sets' original archives, as downloaded from their owners.

In: a `Request` whose path is the folder of the archives, as downloaded or unpacked. Out: a `Source` with the
benchmark's own rows in its own order, wherever the archive allows it; what it does not allow is in the source's
`substitutes`. `table.py` has the files of each task, `order.py` the benchmark's splits, and a module each family's
reader: a function from what was found to `Original`.

    python -m pytest tests/vptcore/data -k archives
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vptcore.choices import choose_one
from vptcore.data.item import Request, Source
from vptcore.data.readers.archives import order, table

TASKS = frozenset(table.BY_TASK)

Reader = Callable[[Request, dict[str, Path]], order.Original]


def _readers() -> dict[str, Reader]:
    from vptcore.data.readers.archives import cifar, dmlab, folders, listed, pixels, retinopathy, scenes

    return {
        "cifar100": cifar.cifar100,
        "caltech101": folders.caltech101,
        "dtd": listed.dtd,
        "oxford_flowers102": listed.oxford_flowers102,
        "oxford_iiit_pet": listed.oxford_iiit_pet,
        "svhn": pixels.svhn,
        "sun397": listed.sun397,
        "patch_camelyon": pixels.patch_camelyon,
        "eurosat": folders.eurosat,
        "resisc45": folders.resisc45,
        "diabetic_retinopathy": retinopathy.diabetic_retinopathy,
        "clevr_count": scenes.clevr,
        "clevr_distance": scenes.clevr,
        "dmlab": dmlab.dmlab,
        "kitti_distance": scenes.kitti,
        "dsprites_location": pixels.dsprites,
        "dsprites_orientation": pixels.dsprites,
        "smallnorb_azimuth": pixels.smallnorb,
        "smallnorb_elevation": pixels.smallnorb,
    }


def locate(request: Request) -> Path:
    """The folder with all of a task's files. Raises ValueError (one line) that says what to put where."""
    choose_one("a task with original archives", request.task, table.BY_TASK)
    wanted = {file.name for file in table.BY_TASK[request.task].files if not file.optional}
    for folder in table.folders(request):
        if wanted <= set(table.find(request.task, folder)):
            return folder
    raise ValueError(table.missing(request))


def wanted(request: Request) -> str:
    """What to put where for a task to be read from its original archives, or that they are there already."""
    try:
        return f"its archives in {locate(request)} are read"
    except ValueError:
        return table.advice(request)


def open_original(request: Request) -> Source:
    """The task's images, read from its original archives. Every mistake in them ends in a ValueError of one line."""
    root = locate(request)
    original = _readers()[request.task](request, table.find(request.task, root))
    order.check(original)
    substitutes = (*original.substitutes, *order.odd_sizes(request.task, original.parts))
    return Source(str(root), original.class_names, order.items(request, original.parts), substitutes)
