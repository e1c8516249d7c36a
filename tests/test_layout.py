"""The two packages: what may import what, how deep, and which modules bring torch.

Imports are read from the source, inside functions too, so that a lazy import does not hide a wrong one.
"""

import ast
import re
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src"
PACKAGES = ("vptcore", "vptstudy")
# vptcore stands without the study and what only the study needs.
STUDYS_OWN = {"vptstudy", "snakemake", "jinja2", "rich", "jsonschema", "yaml", "matplotlib", "seaborn", "psutil"}
HEAVY = {"torch", "timm", "torchvision", "peft", "captum", "pytorch_fid"}
# The modules that compute with torch. Every other one can be imported without it.
WITH_TORCH = {
    "vptcore": {
        "analysis": {"explain", "features", "inception", "release"},
        "data": {"augment", "tensors"},
        "jobs": {"determinism", "device"},
        "models": {
            "adapters",
            "blocks",
            "checkpoints",
            "export",
            "heads",
            "labelling",
            "library",
            "methods",
            "onnx_form",
            "peft_layers",
            "portable",
            "portable_parts",
            "pretrained",
            "prompts",
            "trial",
            "windows",
        },
        "training": {
            *{"compiling", "final", "fit", "fresh", "optimizers", "prepared", "pretrain", "prototypes"},
            *{"resume", "search", "stage", "step"},
        },
    },
    "vptstudy": {"advise": {"answer", "climb", "floor", "say", "weigh"}},
}
MOST_FLOORS = {"vptcore": 8, "vptstudy": 17}


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (SRC / package).rglob("*.py"):
            parts = path.relative_to(SRC).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports_of(name: str, *, lazy: bool) -> set[str]:
    """Modules that a module imports; `lazy`: also inside its functions, but never for type checkers alone."""
    found: set[str] = set()

    def walk(nodes) -> None:
        for node in nodes:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not lazy:
                continue
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: a relative import"
                full = {f"{node.module}.{alias.name}" for alias in node.names}
                found.update(f if f in MODULES else str(node.module) for f in full)
            else:
                walk(ast.iter_child_nodes(node))

    walk(ast.parse(MODULES[name].read_text(encoding="utf-8")).body)
    return found - {name}


@cache
def floor(name: str) -> int:
    """The longest chain of imports inside the module's own package, itself included. A circle is an endless chain."""
    own = name.split(".")[0]
    below = [m for m in imports_of(name, lazy=True) if m in MODULES and m.split(".")[0] == own and "." in m]
    return 1 + max(map(floor, below), default=0)


@cache
def brings_torch(name: str) -> bool:
    below = imports_of(name, lazy=False)
    return any(m.split(".")[0] in HEAVY or (m in MODULES and brings_torch(m)) for m in below)


def with_torch() -> set[str]:
    return {
        f"{package}.{folder}.{name}"
        for package, folders in WITH_TORCH.items()
        for folder, names in folders.items()
        for name in names
    }


@pytest.mark.parametrize("name", sorted(m for m in MODULES if m.split(".")[0] == "vptcore"))
def test_the_small_package_stands_alone(name):
    wrong = {m for m in imports_of(name, lazy=True) if m.split(".")[0] in STUDYS_OWN}
    assert not wrong, f"{name} imports {wrong}"


@pytest.mark.parametrize("package", PACKAGES)
def test_floors(package):
    floors = {name: floor(name) for name in MODULES if name.split(".")[0] == package}
    assert max(floors.values()) <= MOST_FLOORS[package], sorted(floors.items(), key=lambda pair: -pair[1])[:5]


def test_which_modules_bring_torch():
    assert {name for name in MODULES if brings_torch(name)} == with_torch()


def test_all_others_can_be_imported_without_it():
    names = sorted(name for name in MODULES if not brings_torch(name))
    code = f"import sys, importlib\nfor n in {names!r}: importlib.import_module(n)\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("package", PACKAGES)
def test_no_two_modules_share_a_name(package):
    stems = Counter(
        path.stem for name, path in MODULES.items() if name.split(".")[0] == package and path.stem != "__init__"
    )
    assert [stem for stem, count in stems.items() if count > 1] == []


@pytest.mark.parametrize("name", ["Job", "Task", "Work"])
def test_a_class_of_that_name_is_there_once_at_most(name):
    found = [
        module
        for module, path in MODULES.items()
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name == name
    ]
    assert len(found) <= 1, found


@pytest.mark.parametrize("package", PACKAGES)
def test_the_tests_that_modules_name_are_there(package):
    """`python -m pytest tests/...` in a module's first lines."""
    root = SRC.parent
    named = {
        (name, found)
        for name, path in MODULES.items()
        if name.split(".")[0] == package
        for found in re.findall(r"python -m pytest (?:-\S+ )*(tests/[\w/.]*)", path.read_text(encoding="utf-8"))
    }
    assert [pair for pair in sorted(named) if not (root / pair[1].rstrip(".")).exists()] == []
