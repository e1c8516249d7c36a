"""What comes from outside is never run: no unpickling, no shell, no unchecked archive, no unescaped text.

The first tests walk the source, so that a call written tomorrow is seen too.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted(path for top in ("src", "workflow", "bench", "faults") for path in (ROOT / top).rglob("*.py"))
# `pickle` may be imported for its errors, and to read names without looking them up; nothing may be loaded by it.
FORBIDDEN_MODULES = {"cPickle", "dill", "joblib", "cloudpickle", "shelve", "marshal", "commands", "pty"}
FORBIDDEN_CALLS = {
    "os.system", "os.popen", "eval", "exec", "yaml.load", "yaml.full_load", "yaml.unsafe_load",
    "subprocess.getoutput", "subprocess.getstatusoutput", "shutil.unpack_archive", "pandas.read_pickle",
    "pd.read_pickle", "pickle.load", "pickle.loads", "pickle.Unpickler",
    "torch.hub.load", "torch.jit.load", "np.fromregex",
}  # fmt: skip
# Unpacked to disk with a filter, or read member by member; never wholesale.
UNPACKING = {"extractall", "extract"}


def dotted(node: ast.AST) -> str:
    """'os.system' for the expression os.system; '' for what is no plain name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (left := dotted(node.value)):
        return f"{left}.{node.attr}"
    return ""


def offences(source: str) -> list[str]:
    """What a module does that it must not, as 'line: what'."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"{node.lineno}: imports {n}" for n in names if n.split(".")[0] in FORBIDDEN_MODULES]
            found += [f"{node.lineno}: takes names out of pickle" for n in names if n == "pickle" and _is_from(node)]
        if isinstance(node, ast.ClassDef) and any(dotted(base) == "pickle.Unpickler" for base in node.bases):
            has_own = "find_class" in {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
            found += [] if has_own else [f"{node.lineno}: an Unpickler that looks names up"]
        if isinstance(node, ast.Call):
            found += [f"{node.lineno}: {problem}" for problem in _of_call(node)]
    return found


def _is_from(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom)


def _of_call(node: ast.Call) -> list[str]:
    name = dotted(node.func)
    last = node.func.attr if isinstance(node.func, ast.Attribute) else name
    given = {keyword.arg: keyword.value for keyword in node.keywords}

    def says(argument: str, value: object) -> bool:
        return isinstance(given.get(argument), ast.Constant) and given[argument].value is value

    problems = [name] if name in FORBIDDEN_CALLS else []
    if name.endswith("torch.load") and not says("weights_only", True):
        problems.append("torch.load without weights_only=True")
    if "weights_only" in given and not says("weights_only", True):
        problems.append("weights_only is not True")
    if "allow_pickle" in given and not says("allow_pickle", False):
        problems.append("allow_pickle is not False")
    if "shell" in given and not says("shell", False):
        problems.append("shell=")
    if "trust_remote_code" in given:
        problems.append("trust_remote_code")
    if last in UNPACKING and "filter" not in given:
        problems.append(f"{last} without a filter")
    return problems


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_from_outside_is_run(path):
    assert offences(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "import dill",
        "pickle.load(file)",
        "pickle.Unpickler(file)",
        "from pickle import loads",
        "class U(pickle.Unpickler): pass",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "subprocess.run(line, shell=True)",
        "subprocess.run(line, shell=flag)",
        "os.system(line)",
        "tar.extractall(folder)",
        "tar.extract(member, folder)",
        "eval(text)",
        "pd.read_pickle(path)",
        "f(trust_remote_code=True)",
    ],
)
def test_the_walk_sees(line):
    assert offences(line)


@pytest.mark.parametrize(
    "line",
    ["torch.load(p, weights_only=True)", "np.load(p)", "yaml.safe_load(t)", "tar.extractall(f, filter='data')",
     "subprocess.run(words)", "model.eval()"],
)  # fmt: skip
def test_the_walk_lets_pass(line):
    assert offences(line) == []


def test_rules_build_no_shell_command():
    """Jobs are Python functions called with values; a `shell:` directive would paste config values into a command."""
    for path in [ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")]:
        words = path.read_text(encoding="utf-8").split()
        assert not {"shell:", "run:", "shell(", "os.system("} & set(words), path


def test_pandas_and_numpy_unpickle_nothing(tmp_path):
    """The defaults that the code relies on: np.load refuses objects."""
    import numpy as np

    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        np.load(tmp_path / "a.npy")
