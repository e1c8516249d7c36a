"""The image for clusters: what apptainer.def copies is enough to install the package, in a Python that it can have.

Apptainer itself is not here: a build is the one thing that this leaves untried.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

REPO = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]


def sections() -> dict[str, list[str]]:
    """The definition's header below "", and its sections by name: lines without blanks around them."""
    found: dict[str, list[str]] = {"": []}
    name = ""
    for line in map(str.strip, (REPO / "apptainer.def").read_text().splitlines()):
        if line.startswith("%"):
            name = line.removeprefix("%")
            found[name] = []
        elif line and not line.startswith("#"):
            found[name].append(line)
    return found


def copied() -> list[tuple[str, str]]:
    """(what of the repository, the folder inside) of each file that is copied."""
    return [tuple(line.split()) for line in sections()["files"]]


def named(requirement: str) -> str:
    """Its package, spelled as packages are compared."""
    return re.match(r"[\w.-]*", requirement)[0].lower().replace("_", "-")


def test_its_python_is_that_of_the_other_environments():
    header = dict(line.split(": ", 1) for line in sections()[""])
    assert header["Bootstrap"] == "docker"
    version = re.fullmatch(r"python:(\d+\.\d+)-slim", header["From"])[1]
    conda = yaml.safe_load((REPO / "environment.yml").read_text())["dependencies"]
    assert f"python={version}" in conda
    least = PROJECT["requires-python"].removeprefix(">=")
    assert tuple(map(int, version.split("."))) >= tuple(map(int, least.split(".")))


def test_it_installs_what_it_copies_at_the_locked_versions():
    (line,) = sections()["post"]
    (folder,) = {to for _, to in copied()}
    words = shlex.split(line)
    assert words[:2] == ["pip", "install"]
    assert words[words.index("-c") + 1] == f"{folder}requirements.lock"
    package, extra = re.fullmatch(r"(.+)\[(\w+)\]", words[-1]).groups()
    assert package == folder.rstrip("/")
    assert extra in PROJECT["optional-dependencies"]
    locked = {named(line) for line in (REPO / "requirements.lock").read_text().splitlines()}
    assert {named(line) for line in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"][extra])} <= locked


def test_snakemake_is_told_the_image_that_the_page_builds():
    (image,) = re.findall(r'^container: "(.+)"', (REPO / "Snakefile").read_text(), re.MULTILINE)
    assert f"apptainer build {image} apptainer.def" in (REPO / "docs/cluster.md").read_text()


@pytest.mark.slow
def test_what_it_copies_is_a_whole_package(tmp_path):
    """A wheel of the copied files alone has every module and every asset of the repository."""
    for name, _ in copied():
        source = REPO / name
        assert source.exists(), name
        shutil.copytree(source, tmp_path / name) if source.is_dir() else shutil.copy(source, tmp_path / name)
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", str(tmp_path / "out"), "."]
    done = subprocess.run([sys.executable, "-m", "pip", *build], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = (tmp_path / "out").iterdir()
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(REPO / "src").as_posix()
        for path in (REPO / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and ".egg-info" not in str(path)
    }
    assert wanted <= packed, sorted(wanted - packed)
