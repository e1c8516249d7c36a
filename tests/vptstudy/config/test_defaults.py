"""config.defaults: what a short config means, and YAML as people write it."""

import copy
from pathlib import Path

import pytest
import yaml
from PIL import Image

from vptcore.choices import ConfigError
from vptcore.models.methods_table import METHODS
from vptstudy.audit.locate import record_config
from vptstudy.cli.main import main
from vptstudy.config.defaults import FILE, with_defaults
from vptstudy.config.resolve import load_study
from vptstudy.config.schema import read_config
from vptstudy.graph import targets
from vptstudy.report.tables import specs

FID = {"network": "backbone", "reference": "asset:vit_mini_cifar10.reference.safetensors", "bootstrap": 0}
SHORT = {
    "study": "short", "fid": FID, "experiments": {"only": {"backbones": ["vit_mini_cifar10"], "tasks": ["digits"]}},
}  # fmt: skip


def test_a_short_config_is_a_whole_study():
    study = load_study(SHORT)
    assert {c.method for c in study.cells} == {"full", "vpt", "linear"}
    assert {c.train for c in study.cells} == {"train"} == {study.base_train}
    assert study.config["seeds"] == read_config(FILE)["seeds"]


def test_what_a_config_says_stands_over_the_defaults_key_by_key():
    said = {**SHORT, "epochs": 3, "methods": {"vpt": {"batch": 8, "grid": {"lr": [0.5]}}}}
    merged, default = with_defaults(said), read_config(FILE)
    assert merged["epochs"] == 3
    assert merged["methods"]["vpt"]["batch"] == 8
    assert merged["methods"]["vpt"]["grid"] == {
        "lr": [0.5],
        "weight_decay": default["methods"]["vpt"]["grid"]["weight_decay"],
    }
    assert merged["methods"]["full"] == default["methods"]["full"]


def test_a_whole_config_means_itself():
    """Defaults change nothing that the paper's and the demo's configs say, nor the order of their keys."""
    for file in ("config.yaml", "profiles/demo/study.yaml"):
        config = read_config(Path(file))
        merged = with_defaults(config)
        assert list(merged)[: len(config)] == list(config)
        for key, value in config.items():
            if key != "methods":
                assert merged[key] == value or {**merged[key], **value} == merged[key], key
        assert {name: merged["methods"][name] for name in config["methods"]} == config["methods"]


def test_merging_twice_is_merging_once():
    once = with_defaults(SHORT)
    assert with_defaults(copy.deepcopy(once)) == once


def test_every_method_has_defaults():
    """In the file, or as its makers' in its row; never in both."""
    makers = {id for id, row in METHODS.items() if row.grid}
    assert not makers & set(read_config(FILE)["methods"])
    assert makers | set(read_config(FILE)["methods"]) == set(METHODS)
    found = with_defaults({"study": "a", "methods": {"bitfit": {"batch": 8}}})["methods"]["bitfit"]
    assert found == {"batch": 8, "grid": METHODS["bitfit"].grid}


def write(tmp_path, content: bytes) -> Path:
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "1.0e-3", "+1e-03"])
def test_numbers_as_yaml_1_2_reads_them(text):
    said = yaml.safe_load(f"methods: {{vpt: {{grid: {{lr: [{text}]}}}}}}")
    assert load_study({**SHORT, **said}).config["methods"]["vpt"]["grid"]["lr"] == [0.001]


def test_a_bom_and_windows_lines_are_read(tmp_path):
    plain = "study: short\nseeds: [1, 2]\n"
    assert read_config(write(tmp_path, b"\xef\xbb\xbf" + plain.replace("\n", "\r\n").encode())) == yaml.safe_load(plain)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"epochs: 1\nstudy: a\nepochs: 2\n", "the key 'epochs' is there twice, in lines 1 and 3; keep one"),
        (b"epochs: 1\nfid: {network: a, network: b}\n", "the key 'network' is there twice, in line 2; keep one"),
        (b"fid:\n  network: a\n  network: b\n", "the key 'network' is there twice, in lines 2 and 3; keep one"),
        (b"fid:\n\tnetwork: a\n", "a tab where spaces are needed; indent with spaces"),
        ("study: a\ntitle: bl\u00e4tter\n".encode("latin-1"), "line 2 is not UTF-8; save the file as UTF-8"),
    ],
)
def test_what_cannot_be_meant_is_one_line(tmp_path, content, message):
    with pytest.raises(ConfigError) as error:
        read_config(write(tmp_path, content))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_anchor_merged_into_a_mapping_is_no_second_key(tmp_path):
    text = b"base: &b {x: 1, y: 2}\nmine: {<<: *b, x: 3}\n"
    assert read_config(write(tmp_path, text))["mine"] == {"x": 3, "y": 2}


def test_check_prints_the_whole_config(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("short.yaml").write_text(yaml.safe_dump(SHORT))
    assert main(["check", "--all", "short.yaml"]) == 0
    assert load_study(yaml.safe_load(capsys.readouterr().out)).config == load_study(SHORT).config


def test_a_copied_config_may_not_write_into_the_firsts_results(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("first.yaml").write_text(yaml.safe_dump(SHORT))
    record_config(load_study(SHORT), ["first.yaml"])
    Path("copy.yaml").write_text(yaml.safe_dump({**SHORT, "epochs": 3}))
    assert main(["check", "copy.yaml"]) == 2
    assert "'short' is the study of first.yaml, whose results are in results/short" in capsys.readouterr().err
    # The same content, an edit of the first file, and a first file that is gone are no second study.
    Path("copy.yaml").write_text(yaml.safe_dump(SHORT))
    assert main(["check", "copy.yaml"]) == 0
    Path("first.yaml").rename("renamed.yaml")
    Path("copy.yaml").write_text(yaml.safe_dump({**SHORT, "epochs": 3}))
    assert main(["check", "copy.yaml"]) == 0


def leaves(folder: Path, **classes: int) -> Path:
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (4, 4), (number, 0, 0)).save(folder / name / f"{number}.png")
    return folder


def own(path: Path | str, **task) -> dict:
    mine = {"backbones": ["vit_mini_cifar10"]}
    return {
        **SHORT,
        "tasks": {"leaves": {"source": "folder", "path": str(path), **task}},
        "experiments": {"mine": mine},
    }


def test_a_folder_needs_neither_classes_nor_a_group(tmp_path):
    study = load_study(own(leaves(tmp_path / "leaves", ash=3, elm=2, oak=4)))
    task = study.tasks["leaves"]
    assert (task.classes, task.group, task.high_disparity) == (3, "own", False)
    assert {cell.task for cell in study.cells} == {"leaves"}
    # A job that reads the resolved config later needs no images.
    (tmp_path / "leaves").rename(tmp_path / "gone")
    assert load_study(study.config).tasks["leaves"].classes == 3


def test_an_objective_of_ones_own(tmp_path):
    path = leaves(tmp_path / "leaves", ash=2, elm=2)
    assert load_study(own(path, objective="far")).tasks["leaves"].high_disparity
    assert not load_study(own(path, group="structured", objective="near")).tasks["leaves"].high_disparity
    with pytest.raises(ConfigError, match=r"tasks.leaves.objective: 'away' is unknown; .*near, far"):
        load_study(own(path, objective="away"))


def test_a_folder_that_is_no_task_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"tasks.leaves.path: /no/such: no such folder"):
        load_study(own("/no/such"))
    with pytest.raises(ConfigError, match=r"tasks.leaves.path: .*\bash\b|tasks.leaves.path: 1 classes"):
        load_study(own(leaves(tmp_path / "one", ash=2)))
    with pytest.raises(ConfigError, match=r"tasks\.leaves: wds needs classes as well; they are counted for .*folder"):
        load_study(own("/no/such", source="wds"))


def test_tables_of_ones_own_tasks(tmp_path):
    study = load_study(own(leaves(tmp_path / "leaves", ash=3, elm=2)))
    assert targets.tables_of(study)[0] == "own"
    assert len(specs.cells("own", study)) == 3


def test_a_home_in_any_path_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    said = {
        **SHORT, "results": "~/a", "data_root": "~/b",
        "fid": {"network": "inception", "weights": "~/c", "reference": "~/d"},
        "backbones": {"own": {"timm": "vit_tiny_patch16_224", "checkpoint": "~/e"}},
        "tasks": {"leaves": {"source": "folder", "path": "~/f"}}, "report": {"notice": "~/g"},
    }  # fmt: skip
    merged = with_defaults(said)
    found = [merged["results"], merged["data_root"], merged["fid"]["weights"], merged["fid"]["reference"],
             merged["backbones"]["own"]["checkpoint"], merged["tasks"]["leaves"]["path"]]  # fmt: skip
    assert found == [f"/home/me/{name}" for name in "abcdef"]
    assert merged["report"]["notice"] == "~/g"
    assert said["results"] == "~/a"
    assert with_defaults({**said, "tasks": None, "backbones": {"own": 3}})["backbones"] == {"own": 3}
