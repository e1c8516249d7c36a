"""`vptcore audit`: every file of a study checked against its config, its inputs and its rows.

Exit code 0 where everything that is there holds, 1 where something does not, 2 for a mistake in the call.

    vptcore audit results/demo
"""

from __future__ import annotations

import contextlib
import difflib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from vptcore.choices import ConfigError
from vptcore.records import write_text
from vptcore.wording import plural
from vptstudy.audit import locate, printing
from vptstudy.audit.findings import Audit
from vptstudy.study import Study

WIDTH = 160


def run(options) -> int:
    """Audit the studies of the paths, one after the other."""
    if options.why:
        return _why(options)
    if not options.paths:
        raise ConfigError("expected a study's folder, such as results/demo, or files in one")
    places: dict[Path, tuple[locate.Place, list[str]]] = {}
    for path in options.paths:
        place, name = locate.find(path, options.configfile)
        places.setdefault(place.root.resolve(), (place, []))[1].append(name or "")
    statuses = [_one(place, [] if "" in names else names, options) for place, names in places.values()]
    return max(statuses)


def _one(place: locate.Place, names: list[str], options) -> int:
    began = time.monotonic()
    with _Progress(place.root.name) as progress:
        found = _audit(place, deep=options.deep, only=names, say=progress.say)
    seconds = time.monotonic() - began
    if options.json:
        print(json.dumps(printing.as_json(found, seconds), indent=1))
    else:
        printing.print_audit(found, seconds, verbose=options.verbose, console=_console())
    if options.fix and not found.holds:
        _fix(place, found, options)
    return status_of(found, complete=options.complete)


def _fix(place: locate.Place, found: Audit, options) -> None:
    """Show what is to be removed and what is left, and remove it if that is wanted."""
    from vptstudy.audit import fix
    from vptstudy.audit.asked import asked

    out = sys.stderr if options.json else sys.stdout
    with _in_base(place) as (root, _):
        gone = fix.removals(found, asked(place.study), root)
        lines = [*(f"remove   {name}: {why}" for name, why in gone.items()),
                 *fix.left(found, gone, _made_again(place.study))]  # fmt: skip
        print(*lines, sep="\n", file=out)
        if gone and (options.yes or _agreed(f"Remove {plural(len(gone), 'file')}?")):
            fix.remove(gone, root)
            print(f"{plural(len(gone), 'file')} removed; run the study again", file=out)
        elif gone:
            print("nothing removed; --yes removes them without a question", file=out)


def _made_again(study: Study) -> set[str]:
    """The files of all jobs that the next run starts by itself because they are not today's."""
    from vptcore.jobs.manifest import known_as
    from vptstudy.graph.jobs import Graph
    from vptstudy.graph.stale import stale

    graph = Graph(study)
    return {known_as(file) for path in stale(graph) for file in graph.made_by[path].files}


def _agreed(question: str) -> bool:
    """Whether the person at the terminal says yes; where there is none, no."""
    return sys.stdin.isatty() and input(f"{question} [y/N] ").strip().lower() in ("y", "yes")


def _why(options) -> int:
    """The tree of one file: given inside the study, or as a path."""
    from vptstudy.audit.asked import asked, inside
    from vptstudy.audit.context import View
    from vptstudy.audit.store import Store
    from vptstudy.audit.why import chain, tree

    near_by = next(p for p in (Path(options.why), *Path(options.why).parents) if p.exists())
    if not options.paths and near_by == Path():
        raise ConfigError(
            f"--why: no file {options.why}; expected one of a study, such as results/demo/tables/table_01.csv"
        )
    place, _ = locate.find(options.paths[0] if options.paths else near_by, options.configfile)
    jobs, name = asked(place.study), inside(options.why)
    files = [file for job in jobs for file in job.files]
    if name not in files:
        near = difflib.get_close_matches(name, files, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"--why: {options.why} is no file of study {place.study.name}{hint}")
    found = _audit(place, only=chain(jobs, name))
    view = View(place.study, Store(place.root, place.base))
    _console().print(tree(view, jobs, found, name))
    return status_of(found)


def status_of(found: Audit, *, complete: bool = False) -> int:
    return 0 if found.holds and not (complete and found.missing) else 1


def of_run(config: Mapping, log: str) -> None:
    """The rule `audit`: today's study, whole, in this process. Exits with status 1 if something does not hold."""
    from vptstudy.config.resolve import load_study

    study = load_study(config)
    began = time.monotonic()
    found = _audit(locate.Place(study, Path(study.root), Path(), "of this run"))
    seconds = time.monotonic() - began
    printing.print_audit(found, seconds, verbose=False, console=Console(file=sys.stderr, width=WIDTH))
    word = "done" if found.holds else "error"
    write_text(log, "\n".join([*printing.lines(found, verbose=True), f"{word}: {printing.verdict(found, seconds)}\n"]))
    if not found.holds:
        raise SystemExit(1)


def _audit(place: locate.Place, **how) -> Audit:
    # Here, not above: `vptcore --help` needs none of what the checks read with.
    from vptstudy.audit.examine import audit

    with _in_base(place) as (root, base):
        found = audit(place.study, root, base, place.config, **how)
    return replace(found, root=str(place.root))


@contextlib.contextmanager
def _in_base(place: locate.Place) -> Iterator[tuple[Path, Path]]:
    """(root, base), resolved, in the folder that the study was run in: its folders of images are named from there."""
    root, base = place.root.resolve(), place.base.resolve()
    with contextlib.chdir(base):
        yield root, base


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH)


class _Progress:
    """How far an audit is, on a terminal only."""

    def __init__(self, study: str):
        self.study, self.began = study, time.monotonic()
        self.is_terminal = sys.stderr.isatty()

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_) -> None:
        if self.is_terminal:
            print("\r\033[2K", end="", file=sys.stderr, flush=True)

    def say(self, done: int, of: int) -> None:
        if self.is_terminal:
            left = (time.monotonic() - self.began) / done * (of - done)
            print(f"\r\033[2K{self.study}: {done}/{of} jobs, {left:.0f} s left", end="", file=sys.stderr, flush=True)
