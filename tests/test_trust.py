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


@pytest.mark.parametrize(
    "name", ["..", "../up", "a/../../b", "/etc", "a/b", "-rf", "$(id)", "<script>", "{x}", "a=b", "a\nb"]
)
@pytest.mark.parametrize("where", ["study", "task"])
def test_no_name_leads_out_of_the_results(name, where):
    """Studies and tasks are folders: their names hold no path, no option, no markup. The refusal is one line."""
    import yaml

    from vptcore.choices import ConfigError
    from vptstudy.config.resolve import load_study

    config = yaml.safe_load((ROOT / "profiles/demo/study.yaml").read_text(encoding="utf-8"))
    assert load_study(config)
    if where == "study":
        config["study"] = name
    else:
        config["tasks"] = {**(config["tasks"] or {}), name: {"folder": "images"}}
    with pytest.raises(ConfigError) as refused:
        load_study(config)
    assert str(refused.value).startswith("study: " if where == "study" else "tasks: ")
    assert "\n" not in str(refused.value)


HOSTILE = {
    "a tag": "<script>alert(1)</script>",
    "a formula": r"$\frac{$ \input{/etc/passwd}",
    "a link": "[x](javascript:alert(1)) `rm` ![](http://x)",
    "a row": "a | b\n\n| c |",
    "markup": "[/bold] [link=http://x]x[/link]",
    "an attribute": '" onmouseover="alert(1)',
    "a terminal's code": "\x1b[31mred",
}


@pytest.fixture(params=HOSTILE.values(), ids=HOSTILE)
def hostile_table(request):
    """A table whose task and backbone have a hostile title."""
    from dataclasses import replace

    from tests.vptstudy.report.synthetic import final_rows, make_study
    from vptcore.data.tasks import TASKS
    from vptstudy.report.tables.build import build
    from vptstudy.study import Cell

    tasks = {**TASKS, "digits": replace(TASKS["digits"], title=request.param)}
    study = make_study([Cell("vit_mini_cifar10", m, "digits", "160") for m in ("full", "vpt")], base="160", tasks=tasks)
    return request.param, build(1, study, final_rows(study))


def test_html_shows_a_hostile_title_as_text(hostile_table):
    from html.parser import HTMLParser

    from vptstudy.report.tables.renderers import to_html

    title, table = hostile_table
    tags, attributes, texts, links = [], [], [], []

    class Seen(HTMLParser):
        def handle_starttag(self, tag, attrs):
            tags.append(tag)
            attributes.extend(name for name, _ in attrs)
            links.extend(value for name, value in attrs if name in ("href", "src"))

        def handle_data(self, data):
            texts.append(data)

    Seen().feed(str(to_html(table)))
    assert title in texts
    assert not {"script", "img"} & set(tags)
    assert all(link.startswith("rows.html#") for link in links), "a cell leads to its rows and nowhere else"
    assert not any(name.startswith("on") for name in attributes)


def test_markdown_keeps_its_rows_and_has_no_links(hostile_table):
    import re

    from vptstudy.report.tables.renderers import to_markdown

    _, table = hostile_table
    text = to_markdown(table)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    counts = {len(re.findall(r"(?<!\\)\|", line)) for line in rows}
    assert len(counts) == 1
    assert not re.search(r"(?<!\\)\[[^\]]*(?<!\\)\]\(", text)
    assert "<script" not in text
    assert "\x1b" not in text


def test_latex_runs_no_command_of_a_title(hostile_table):
    from vptstudy.report.tables.renderers import to_latex

    _, table = hostile_table
    text = to_latex(table)
    assert "\\input" not in text
    assert "\\frac" not in text
    assert "\n\n" not in text
    assert "\x1b" not in text


def test_the_terminal_reads_no_markup(hostile_table):
    import io

    from rich.console import Console

    from vptstudy.report.tables.renderers import to_terminal

    title, table = hostile_table
    out = io.StringIO()
    Console(file=out, width=300).print(to_terminal(table, 300))
    assert title.split("\n")[0].strip("\x1b")[:8] in out.getvalue()


@pytest.mark.parametrize("title", HOSTILE.values(), ids=HOSTILE)
def test_a_figure_draws_any_name(title, tmp_path):
    """matplotlib would read a formula between dollar signs, and fail at a wrong one."""
    from vptstudy.report.figures.style import new_figure, plain, save, styled

    with styled():
        figure = new_figure(2, 1)
        figure.subplots().set_title(plain(title))
        save(figure, tmp_path / "a.pdf", tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size


def test_grad_cam_draws_a_class_called_like_a_broken_formula(tmp_path):
    from vptstudy.report.figures.draw_maps import _class
    from vptstudy.report.figures.style import new_figure, save, styled

    with styled():
        figure = new_figure(2, 1)
        figure.subplots().set_title(_class(0, {0: "$\\frac{ $1 bill"}))
        save(figure, tmp_path / "a.pdf", tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size
