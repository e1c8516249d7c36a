"""The command line: the shipped configs pass `check` with the paper's counts, mistakes are one line and exit code 2."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vptcore.data.tasks import EMBEDDED
from vptstudy.cli import main

COMMANDS = ("advise", "run", "check", "render", "audit", "compare", "rehearse", "plan", "data", "export", "predict",
            "pretrain", "fid-reference", "clean")  # fmt: skip


def check(*arguments: str) -> int:
    return main.main(["check", *arguments])


def test_the_papers_config_is_right(capsys):
    assert check() == 0
    first, backbones, methods, tasks, sizes, left_out = capsys.readouterr().out.splitlines()
    # Cells: strategies 6 x 19, sizes 2 x (4 x 19 - 21 left out), one-shot 2 x 19, backbones 3 x 2 x 19, FGVC 2 x 5,
    # LoRA 3, Figure 13 2 x 2. Searches: all but the sizes and LoRA's other two, which reuse the recipes found at 800.
    cells, searches = 114 + 110 + 38 + 114 + 10 + 3 + 4, 114 + 38 + 114 + 10 + 1
    assert first == f"config.yaml: study paper, protocol paper: {cells} cells, {searches} searches"
    assert backbones.split()[1:] == ["vit_b16_sup21k,", "swin_b_sup21k,", "vit_b16_mae,", "vit_b16_mocov3"]
    assert methods.split()[0] == "methods"
    assert tasks.split()[1] == "24:"  # 19 of VTAB and 5 of FGVC
    assert sizes.endswith("seeds 42, 44, 82, 100, 800")
    assert left_out.startswith("  left out   21, too few images for this size: caltech101 at 5000, ")


def test_the_demos_config_is_right(capsys):
    assert check("profiles/demo/study.yaml") == 0
    lines = capsys.readouterr().out.splitlines()
    experiments = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())["experiments"]
    expanded = {"embedded": [task.id for task in EMBEDDED]}
    cells = {
        (method, task, train)
        for experiment in experiments.values()
        for method in experiment["methods"]
        for name in experiment["tasks"]
        for task in expanded.get(name, [name])
        for train in experiment["train"]
    }
    assert lines[0].startswith(f"profiles/demo/study.yaml: study demo, protocol paper: {len(cells)} cells, ")
    assert lines[1].split() == ["backbones", "vit_mini_cifar10"]


def test_the_counts_are_those_of_the_config(tmp_path, capsys):
    config = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
    train = [40, config["base_train"]]
    config["experiments"] = {
        "one": {"backbones": ["vit_mini_cifar10"], "methods": ["full", "vpt"], "tasks": ["digits"], "train": train}
    }
    config["explain"]["tasks"] = ["digits"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    assert check(str(tmp_path / "study.yaml")) == 0
    assert ": 4 cells, 2 searches" in capsys.readouterr().out
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config | {"regrid": True}))
    assert check(str(tmp_path / "study.yaml")) == 0
    assert ": 4 cells, 4 searches" in capsys.readouterr().out


def refusal(capsys, *arguments: str) -> str:
    assert main.main(list(arguments)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith("\n")
    assert printed.err.count("\n") == 1
    return printed.err.removesuffix("\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1, 2\nb: 3\n", "not YAML in line 2"),
        (b"a: b: c\n", "not YAML in line 1: mapping values are not allowed here"),
        (b"\t- a\n", "not YAML in line 1"),
        (b"- 1\n- 2\n", "holds list, expected a mapping of keys"),
        (b"just words\n", "holds str, expected a mapping of keys"),
        (b"", "holds NoneType, expected a mapping of keys"),
        (b"\xff\xfe\x00\x01", "line 1 is not UTF-8"),
        (b"study: 3\n", ""),
        (b"!!python/object/apply:os.mkdir [trap]\n", "not YAML in line 1"),
    ],
)
def test_files_that_are_no_config(tmp_path, monkeypatch, capsys, content, message):
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_bytes(content)
    line = refusal(capsys, "check", "study.yaml")
    assert line.startswith("vptcore check: ")
    assert message in line
    assert [p.name for p in tmp_path.iterdir()] == ["study.yaml"]


def test_a_missing_file_or_a_folder(tmp_path, capsys):
    line = refusal(capsys, "check", str(tmp_path / "none.yaml"))
    assert line == (
        f"vptcore check: {tmp_path / 'none.yaml'}: no such file; the paper's study is config.yaml, "
        "the demo's profiles/demo/study.yaml"
    )
    assert "Is a directory" in refusal(capsys, "check", str(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 3}, "epoch: 'epoch' is not a key here; did you mean 'epochs'?"),
        ({"protocol": "papr"}, "protocol: 'papr' is unknown; did you mean 'paper'?"),
        ({"seeds": []}, "seeds: is empty; expected at least 1"),
        ({"seeds": [1, 1]}, "seeds: [1, 1] names something twice"),
        ({"epochs": "ten"}, 'epochs: "ten" is not '),
        ({"epochs": 0}, "epochs: 0 is too small; expected at least 1"),
        ({"report": {"main_backbone": "vit_mini"}}, "report.main_backbone: 'vit_mini' is unknown; did you mean"),
        ({"explain": {"tasks": ["digit"], "images": 1}}, "explain.tasks: 'digit' is unknown; did you mean 'digits'?"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_key(tmp_path, capsys, change, message):
    config = yaml.safe_load(Path("profiles/demo/study.yaml").read_text()) | change
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    assert refusal(capsys, "check", str(tmp_path / "study.yaml")).startswith(f"vptcore check: {message}")


def test_a_missing_key_is_named(tmp_path, capsys):
    config = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
    del config["experiments"]
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    assert "the key 'experiments' is missing" in refusal(capsys, "check", str(tmp_path / "study.yaml"))


def test_a_home_that_the_shell_left_alone(tmp_path, monkeypatch, capsys):
    """As in `--config=~/study.yaml`, and inside the config."""
    monkeypatch.setenv("HOME", str(tmp_path))
    config = yaml.safe_load(Path("profiles/demo/study.yaml").read_text())
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config | {"results": "~/out"}))
    assert check("~/study.yaml") == 0
    assert check("--all", "~/study.yaml") == 0
    assert f"results: {tmp_path}/out\n" in capsys.readouterr().out
    assert main.main(["data", "list", "digits", "--config=~/study.yaml"]) == 0
    assert main.main(["plan", "--configfile=~/study.yaml"]) == 0
    capsys.readouterr()
    assert f"{tmp_path}/none: no such file" in refusal(capsys, "audit", "~/none")
    assert f"{tmp_path}/a: no rows of finals" in refusal(capsys, "compare", "~/a", "~/b")


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert [line.split()[0] for line in text.splitlines() if re.match(r" {4}\S", line)] == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys, command):
    with pytest.raises(SystemExit) as ended:
        main.main([command, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: vptcore {command}")
    program, *example = said.splitlines()[-1].removeprefix("Example: ").split()
    assert program == "vptcore"
    assert main._parser().parse_args(example).command == command


@pytest.mark.parametrize("arguments", [[], ["chekc"], ["check", "--nope"], ["fid-reference", "only_one"]])
def test_wrong_arguments_exit_2(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: vptcore")


def test_check_starts_without_torch():
    code = "import sys; from vptstudy.cli.main import main; main(['check']); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("config.yaml: study paper")


def test_the_version_is_the_packages(capsys):
    with pytest.raises(SystemExit) as ended:
        main.main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"vptcore \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_ctrl_c_is_one_line(monkeypatch, capsys):
    def interrupted(options):
        raise KeyboardInterrupt

    monkeypatch.setattr("vptstudy.cli.check.run", interrupted)
    assert main.main(["check"]) == 130
    assert capsys.readouterr().err == "\nvptcore check: stopped\n"


@pytest.mark.parametrize("flag", [[], ["-n"], ["--dry-run"]])
def test_a_dry_run_is_snakemakes_own(tmp_path, monkeypatch, flag):
    """What would be started is looked at, and nothing is started."""
    started = []

    class Process:
        def __init__(self, command, **more):
            started.append(command)

        def wait(self):
            return 1

    monkeypatch.setattr("vptstudy.run.launch.LOCK", tmp_path / "lock")
    monkeypatch.setattr("vptstudy.run.launch._clear_stale_lock", lambda: None)
    monkeypatch.setattr("subprocess.Popen", Process)
    assert main.main(["run", "--profile", "demo", *flag]) == 1
    ((*command,),) = started
    assert ("--dry-run" in command) == bool(flag)


def test_a_dry_run_prints_no_table_of_results(tmp_path, monkeypatch):
    class Process:
        def __init__(self, command, **more):
            pass

        def wait(self):
            return 0

    monkeypatch.setattr("vptstudy.run.launch.LOCK", tmp_path / "lock")
    monkeypatch.setattr("vptstudy.run.launch._clear_stale_lock", lambda: None)
    monkeypatch.setattr("subprocess.Popen", Process)
    monkeypatch.setattr("vptstudy.report.produce.print_results", lambda config: pytest.fail("printed"))
    assert main.main(["run", "-n"]) == 0


def test_a_package_of_the_studys_that_is_not_there_is_one_line():
    """As after `pip install vptcore` alone."""
    code = "import sys; sys.modules['yaml'] = None; from vptstudy.cli.main import main; sys.exit(main(['check']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("vptcore check: yaml is not installed; pip install 'vptcore[study]' brings")
    assert done.stderr.count("\n") == 1
