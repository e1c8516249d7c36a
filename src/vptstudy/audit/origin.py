"""Where a file comes from: its record in the manifest, the config it was made from, its inputs, the code.

In: a `Store`, a `Job` of today's config and the name of one of its files. Out: findings.

    python -m pytest tests/workflow/test_audit.py
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import vptcore
from vptcore.data.whereabouts import images_of
from vptcore.jobs.manifest import known_as
from vptcore.jobs.meaning import SIGNATURE, changed, meaning, without_places
from vptcore.records import digest, hive_parts
from vptstudy.audit.findings import Finding, remark
from vptstudy.audit.store import Store
from vptstudy.graph.jobs import Job
from vptstudy.graph.stale import have_changed

SHOWN = 3


def check_record(store: Store, job: Job, name: str) -> Iterator[Finding]:
    """Size and hash against the manifest."""
    entry = store.entry(name)
    if entry is None:
        if job.files[0] in store.broken_records:
            yield Finding("manifest", f"its record in the manifest is broken: {store.broken_records[job.files[0]]}")
        elif store.records:
            yield remark("manifest", "no record in the manifest, so its size and hash cannot be checked")
        return
    size = os.stat(store.path(name)).st_size
    if size != entry["bytes"]:
        yield Finding("manifest", f"{size:,} bytes, but its job wrote {entry['bytes']:,}")
    elif store.is_trusted(name):
        yield remark("manifest", f"{size / 2**30:.1f} GiB, its size and a sample hold; --deep reads all of it")
    elif store.sha256(name) != entry["sha256"]:
        yield Finding("manifest", "its bytes are not those that its job wrote")


def check_place(name: str, made_from: Mapping | None) -> Iterator[Finding]:
    """The task, method, train size and backbone of a file's slice against those of its folders."""
    said = dict(made_from or {})
    said["backbone"] = (said.get("backbone") or {}).get("id") if isinstance(said.get("backbone"), Mapping) else None
    for key, value in hive_parts(name).items():
        if said.get(key) is not None and str(said[key]) != value:
            yield Finding("schema", f"it is of {key} {said[key]}, not {value}")
            return


def check_config(store: Store, job: Job, made_from: Mapping | None, job_hash: str | None) -> Iterator[Finding]:
    """The slice it was made from against the slice that the config of today gives."""
    if made_from is None or job_hash is None:
        return
    if digest(made_from) != job_hash:
        yield Finding("config", "its metadata disagrees with itself: the slice is not that of its hash")
    if meaning(job.slice) == meaning(made_from):
        return
    if list(changed(made_from, job.slice)) != [SIGNATURE]:
        yield Finding("config", f"made from another config: {difference(made_from, job.slice)}")
    elif have_changed(job.slice, store.records.get(job.files[0], {})):
        yield Finding("inputs", f"{images_of(job.slice)[0]} has changed since it was read")
    elif job.slice[SIGNATURE]:
        yield remark("inputs", f"{images_of(job.slice)[0]} has other times than when it was read, and the same bytes")


def difference(then: Mapping, now: Mapping) -> str:
    """The keys that differ, with both values: 'epochs 5, now 8'."""
    before, after = _flat(without_places(then)), _flat(without_places(now))
    changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    shown = [f"{key} {_short(before.get(key))}, now {_short(after.get(key))}" for key in changed[:SHOWN]]
    more = [f"and {len(changed) - SHOWN} more"] if len(changed) > SHOWN else []
    return "; ".join([*shown, *more])


def _flat(value: object, key: str = "") -> dict[str, object]:
    if isinstance(value, Mapping):
        return {k: v for name, part in value.items() for k, v in _flat(part, f"{key}.{name}" if key else name).items()}
    return {key: list(value) if isinstance(value, tuple) else value}


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 40 else text[:37] + "..."


def check_inputs(store: Store, job: Job, recorded: Mapping[str, str | None]) -> Iterator[Finding]:
    """Every input's hash, as the job saw it, against the file that is there today.

    A file that was damaged after its job is a matter of that file, not of those made from it before.
    """
    for name in job.reads:
        if known_as(name) not in recorded:
            yield Finding("inputs", f"does not say from which {name} it was made")
            continue
        then, now, entry = recorded[known_as(name)], store.identity(name), store.entry(name) or {}
        intact = entry.get("rows") or entry.get("sha256") or now
        if then in (now, intact):
            continue
        if intact is None:
            yield remark("inputs", f"{name} is no longer there")
        else:
            yield Finding("inputs", f"made from another {name} than is there now")
    # A task's images from outside are held against their signature.
    known = set(map(known_as, job.reads))
    stray = [name for name in recorded if name not in known and job.stage != "prepare"]
    if stray:
        yield Finding("inputs", f"made from {stray[0]}, which is no input of it")


def recorded_inputs(note: Mapping) -> dict[str, str]:
    """Input -> hash of a rows file's metadata, by names inside the study."""
    return {known_as(entry["path"]): entry["sha256"] for entry in note.get("inputs", {}).values()}


def check_code(version: object) -> Iterator[Finding]:
    """Made by this version of the package or an earlier one."""
    if not isinstance(version, str) or not _numbers(version):
        yield Finding("code", f"made by an unknown version ({version})")
    elif _numbers(version) > _numbers(vptcore.__version__):
        yield Finding("code", f"made by version {version}, which is newer than this one ({vptcore.__version__})")


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split("+")[0].split(".")
    return tuple(int(part) for part in parts if part.isdigit()) if parts[0].isdigit() else ()
