"""From a path that a person gives to a study's folder and its config of today.

In: a study's folder, or any file in it. Out: a `Place`. The config is the one given; else the file that the last run
was started with, if it is still this study's; else the config that the last run wrote down; else a config of this
folder that names the study.

    python -m pytest tests/workflow/test_audit.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vptcore.choices import ConfigError
from vptcore.jobs.manifest import split_path
from vptcore.records import write_text
from vptstudy.config.defaults import with_defaults
from vptstudy.config.resolve import load_study
from vptstudy.config.schema import read_config
from vptstudy.study import Study

CONFIG = "config.json"
CANDIDATES = ("config.yaml", "profiles/*/study.yaml", "*.yaml")


@dataclass(frozen=True)
class Place:
    """A study, its folder, the folder that its relative paths start in, and where its config was found."""

    study: Study
    root: Path
    base: Path
    config: str


def record_config(study: Study, files: Sequence[str]) -> None:
    """Write down what a run was asked for: the config, and the file that says the same, if there is one.

    Keys keep their order, which is that of the study's cells.
    """
    same = [str(file) for file in files[-1:] if _whole(Path(file)) == _plain(study.config)]
    note = {"config": _plain(study.config), "file": same[0] if same else None, "root": _resolved(study)}
    write_text(Path(study.root) / CONFIG, json.dumps(note, indent=1) + "\n")


def check_owner(study: Study, files: Sequence[str]) -> None:
    """Refuse a second config that would write into the first one's results.

    A copied config still names the study it was copied from. The folder belongs to the file of its last run for as
    long as that file is there and names the study, and a copy of the folder to nobody yet.
    """
    note = _recorded(Path(study.root))
    if not files or not note or not note["file"] or note.get("root", _resolved(study)) != _resolved(study):
        return
    owner, mine = Path(note["file"]), Path(files[-1])
    if not owner.is_file() or owner.resolve() == mine.resolve() or _names(owner) != study.name:
        return
    if _whole(owner) != _whole(mine):
        raise ConfigError(
            f"study: {study.name!r} is the study of {owner}, whose results are in {study.root}; give {mine} a name or "
            "`results` of its own"
        )


def _resolved(study: Study) -> str:
    return str(Path(study.root).resolve())


def _whole(file: Path) -> dict:
    return _plain(with_defaults(read_config(file)))


def _plain(config: Mapping) -> dict:
    return json.loads(json.dumps(config, default=str))


def find(path: Path, config: Path | None) -> tuple[Place, str | None]:
    """The study that a path belongs to, and the file's name inside it if it is a file. Raises ConfigError."""
    if not path.exists() and not _is_inside(path):
        raise ConfigError(f"{path}: no such file or folder; expected a study's folder (results/NAME) or a file in it")
    root, name = (path, None) if path.is_dir() and not _is_inside(path) else _split(path)
    study, where = _study(root, config)
    if study.name != root.resolve().name:
        raise ConfigError(f"{where}: is the config of study {study.name!r}, not of {root.resolve().name!r} in {root}")
    return Place(study, root, _base(root, study), where), name


def _is_inside(path: Path) -> bool:
    """Whether a path is inside a study's folder and is not one, whatever its name is."""
    if (path / CONFIG).is_file() or (path / "final").is_dir():
        return False
    return split_path(path / "rows.parquet" if path.is_dir() else path) is not None


def _split(path: Path) -> tuple[Path, str]:
    found = split_path(path / "rows.parquet" if path.is_dir() else path)
    if found is None:
        raise ConfigError(
            f"{path}: is not a file of a study; expected rows, arrays, models, tables or figures in results/NAME"
        )
    root, name = found
    return root, name.removesuffix("/rows.parquet") if path.is_dir() else name


def _base(root: Path, study: Study) -> Path:
    """The folder that the study was run in: `results` of its config is written from there."""
    parts = Path(study.root).parts
    where = root.resolve()
    return Path(*where.parts[: -len(parts)]) if where.parts[-len(parts) :] == parts else Path()


def _study(root: Path, config: Path | None) -> tuple[Study, str]:
    if config is not None:
        return load_study(read_config(config)), str(config)
    note = _recorded(root)
    if note and note["file"]:
        for file in (Path(note["file"]), root.resolve().parents[1] / note["file"]):
            if file.is_file() and read_config(file).get("study") == root.resolve().name:
                return load_study(read_config(file)), str(file)
    if note:
        return load_study(note["config"]), str(root / CONFIG)
    for file in (file for pattern in CANDIDATES for file in sorted(Path().glob(pattern))):
        if file.is_file() and _names(file) == root.resolve().name:
            return load_study(read_config(file)), str(file)
    raise ConfigError(f"{root}: no {CONFIG} in it and no config here of study {root.resolve().name!r}; "
                      "say which with --configfile")  # fmt: skip


def _recorded(root: Path) -> dict | None:
    try:
        note = json.loads((root / CONFIG).read_text(encoding="utf-8"))
        return note if isinstance(note["config"], dict) and "file" in note else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _names(file: Path) -> str | None:
    """The study that a YAML file names; None for other YAML."""
    try:
        return read_config(file).get("study")
    except ConfigError:
        return None
