"""What a job's slice means, whatever its files are called and wherever they lie: a study may be moved.

In: a job's slice. Out: a hash that changes with what the job makes of it. Where results are written and data lie does
not count; what is there does, by a signature in the slice or as an input. Of a person's own images and weights, and
of the Fréchet reference, the last part of the path counts too, so that another folder is another.

    python -m pytest tests/vptcore/jobs/test_meaning.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from vptcore.records import digest

# Keys from the slice's top; "*" is any. `weights` are Inception's, held to their checksum wherever they lie.
LEFT_OUT = frozenset({
    ("workers",), ("root",), ("weights",), ("made_from",), ("config", "results"), ("config", "data_root"),
    ("config", "fid", "weights"), ("config", "compile_cache"),
})  # fmt: skip
BY_NAME = frozenset({
    ("path",), ("reference",), ("told",), ("backbone", "checkpoint"), ("models", "*", "backbone", "checkpoint"),
    ("config", "tasks", "*", "path"), ("config", "tasks", "*", "splits"), ("config", "fid", "reference"),
    ("config", "backbones", "*", "checkpoint"),
})  # fmt: skip
NAMES_BELOW = (("config", "tasks"), ("config", "backbones"), ("models",))
SIGNATURE = "signature"


def meaning(job: Mapping) -> str:
    """Twelve hex digits, as `records.digest` gives them."""
    return digest(without_places(job))


def without_places(value: object, at: tuple[str, ...] = ()) -> object:
    """The slice, or the part of it that stands `at` these keys, with no path in it."""
    if isinstance(value, Mapping):
        kept = {key: part for key, part in value.items() if _place(at, key) not in LEFT_OUT}
        return {key: without_places(part, (*at, str(key))) for key, part in kept.items()}
    return Path(value).name if isinstance(value, str) and _place(at[:-1], at[-1]) in BY_NAME else value


@cache
def _place(above: tuple[str, ...], key: str) -> tuple[str, ...]:
    """Where a key stands, with the name of a task, a backbone or a model as `*`."""
    place = (*above, key)
    stem = next((stem for stem in NAMES_BELOW if place[: len(stem)] == stem and len(place) > len(stem)), place)
    return place if stem == place else (*stem, "*", *place[len(stem) + 1 :])


def changed(then: Mapping, now: Mapping) -> Iterator[str]:
    """The keys at the top of two slices that do not mean the same."""
    before, after = without_places(then), without_places(now)
    yield from (key for key in {**before, **after} if digest(before.get(key)) != digest(after.get(key)))


class Slice(dict):
    """A slice as a workflow's parameter, known by its meaning but for the images' signature.

    Snakemake compares the texts of parameters. What is a change is decided where the content is known
    (`vptstudy.graph.stale`), so that moving or touching a study's images is none.
    """

    def __repr__(self) -> str:
        return meaning({key: value for key, value in self.items() if key != SIGNATURE})

    def __reduce__(self):
        return dict, (dict(self),)
