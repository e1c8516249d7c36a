"""What people type and have by mistake: every command ends in one line and a status of its own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from vptstudy.cli import main

BASE = {"study": "s", "fid": False, "experiments": {"e": {"backbones": ["vit_mini_cifar10"], "tasks": ["digits"]}}}
EXPERIMENT = BASE["experiments"]["e"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with images of two classes, and some odd things beside them."""
    monkeypatch.chdir(tmp_path)
    for kind in ("cat", "dog"):
        for number in range(12):
            path = Path("photos", kind, f"{number}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((9, 9, 3), 20 * number, np.uint8)).save(path)
    Path("empty").mkdir()
    Path("words.txt").write_text("words\n")
    Path("empty.csv").write_text("")
    Path("nan.csv").write_text("path,label\nphotos/cat/0.png,\n,cat\n")
    Path("unlabelled.csv").write_text("path\nphotos/cat/0.png\n")
    Path("lost.csv").write_text("path,label\nnone.png,a\nnone2.png,b\n")
    Path("bytes.csv").write_bytes(b"path,label\n\xff\xfe,a\n")
    Path("bytes.parquet").write_bytes(b"PAR1 and no more")
    Path("zero", "a").mkdir(parents=True)
    Path("zero", "b").mkdir(parents=True)
    Path("zero/a/0.png").touch()
    Path("one", "only").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save("one/only/0.png")
    os.symlink("loop", "loop")
    return tmp_path


def ended(capfd, *words: str) -> tuple[int, str]:
    """(status, standard error) of a command that must say one line."""
    try:
        status = main.main(list(words))
    except SystemExit as left:
        status = left.code
    said = capfd.readouterr()
    assert "Traceback" not in said.err + said.out
    return status, said.err + (said.out if status == 1 else "")


COMMANDS = [
    ("check none.yaml", "none.yaml: no such file"),
    ("check empty", "Is a directory: 'empty'"),
    ("check words.txt", "words.txt: holds str"),
    ("check photos/cat/0.png", "0.png: line 1 is not UTF-8"),
    ("check loop", "loop"),
    ("check C:\\Users\\me\\study.yaml", "no such file"),
    ("plan --config none.yaml", "none.yaml: no such file"),
    ("plan --config s.yaml --gpus 0", "--gpus"),
    ("plan --config s.yaml --gpus -3", "--gpus"),
    ("plan --config s.yaml --gpus two", "--gpus"),
    ("plan --config s.yaml --device H1000", "H1000"),
    ("plan --config s.yaml table_99", "'table_99' is unknown"),
    ("plan --config s.yaml s.yaml", "s.yaml: is a config, not a target; write --configfile s.yaml"),
    ("plan --config s.yaml --check none", "none"),
    ("plan --config s.yaml --check words.txt", "words.txt"),
    ("data list nothing --config s.yaml", "task: 'nothing' is unknown"),
    ("data lst", "invalid choice: 'lst'"),
    ("data fetch digits --config s.yaml", "digits"),
    ("audit none", "none: no such file or folder"),
    ("audit words.txt", "words.txt"),
    ("audit empty", "empty"),
    ("audit photos", "photos"),
    ("audit s.yaml --configfile none.yaml", "s"),
    ("compare none other", "none: no rows of finals"),
    ("compare words.txt empty", "words.txt: no rows of finals"),
    ("render none", "none"),
    ("render words.txt", "words.txt"),
    ("render empty table_01", "empty"),
    ("rehearse none.yaml", "none.yaml: no such file"),
    ("rehearse s.yaml --cores many", "--cores"),
    ("export none cell out", "none"),
    ("export words.txt cell out", "words.txt"),
    ("predict none photos", "none"),
    ("predict empty photos", "empty"),
    ("predict words.txt photos", "words.txt"),
    ("predict empty photos --top 0", "--top"),
    ("predict empty photos --device tpu", "--device"),
    ("pretrain --data none --out out", "none"),
    ("pretrain --data words.txt --out out", "words.txt"),
    ("pretrain --out out", "--data"),
    ("fid-reference none out.safetensors --config s.yaml", "none: no such file or folder"),
    ("fid-reference photos out.safetensors --config s.yaml", "fid: is off"),
    ("clean nothing", "results: no study in it"),
    ("run --profile demo", "no folder profiles/ here"),
    ("run --cores x --profile demo", "--cores"),
    ("advise none", "none"),
    ("advise empty", "empty"),
    ("advise words.txt", "words.txt"),
    ("advise loop", "loop"),
    ("advise empty.csv", "empty.csv"),
    ("advise nan.csv", "nan.csv"),
    ("advise unlabelled.csv", "unlabelled.csv"),
    ("advise lost.csv", "lost.csv"),
    ("advise bytes.csv", "bytes.csv"),
    ("advise bytes.parquet", "bytes.parquet"),
    ("advise one", "one"),
    ("advise photos --minutes 0", "--minutes"),
    ("advise photos --minutes soon", "--minutes"),
    ("advise photos --minutes nan", "--minutes"),
    ("advise photos --checkpoint none.pth", "--checkpoint"),
    ("advise photos --backbone vit_bass_patch16_224 --checkpoint none.pth", "none.pth"),
    ("advise photos --backbone vit_bass_patch16_224", "vit_bass_patch16_224"),
    ("advise photos --name a/b", 'tasks: "a/b" is not a name'),
    ("advise photos --profile nowhere", "--profile: 'nowhere' is unknown"),
]


@pytest.mark.parametrize(("words", "said"), COMMANDS, ids=[words for words, _ in COMMANDS])
def test_a_command_with_a_mistake_is_one_line(here, capfd, words, said):
    Path("s.yaml").write_text(yaml.safe_dump(BASE))
    status, line = ended(capfd, *words.split())
    assert status in (1, 2)
    assert said in line
    lines = [part for part in line.splitlines() if not part.startswith(("usage:", " "))]
    assert len(lines) == 1, lines
    assert not Path("out").exists()


def with_(change: dict) -> dict:
    return {**BASE, **change}


def images(source: str, path: object, **more) -> dict:
    own = {"own": {"source": source, "path": path, **more}}
    return with_({"tasks": own, "experiments": {"e": {**EXPERIMENT, "tasks": ["own"]}}})


CONFIGS = [
    (with_({"epoch": 3}), "epoch: 'epoch' is not a key here"),
    (with_({"study": "a/b"}), "study: "),
    (with_({"study": ""}), "study: "),
    (with_({"study": 3}), "study: "),
    (with_({"study": "a\nb"}), "study: "),
    (with_({"results": "a{b}"}), "results: "),
    (with_({"epochs": float("nan")}), "epochs: "),
    (with_({"epochs": -1}), "epochs: "),
    (with_({"seeds": 3}), "seeds: "),
    (with_({"seeds": [1.5]}), "seeds[0]: "),
    (with_({"device": "gpu"}), "device: 'gpu' is unknown"),
    (with_({"methods": []}), "methods: "),
    (with_({"methods": {"vpt": {"grid": {"lr": ["fast"]}}}}), "methods.vpt.grid.lr"),
    (with_({"methods": {"vptt": {}}}), "methods.vptt: 'vptt' is not a key here"),
    (with_({"experiments": {}}), "experiments: "),
    (with_({"experiments": {"e": {}}}), "experiments.e: the key 'backbones' is missing"),
    (with_({"experiments": {"e": {"backbones": ["vit_mini_cifar10"]}}}), "experiments.e: the key 'tasks' is missing"),
    (with_({"experiments": {"e": {**EXPERIMENT, "tasks": ["digit"]}}}), "did you mean 'digits'"),
    (
        with_({"experiments": {"e": {**EXPERIMENT, "train": [10**6]}}}),
        "digits has 1,297 images to train and validate on, and train 1000000 needs 1,250,000",
    ),
    (with_({"experiments": {"e": {**EXPERIMENT, "train": [2]}}}), "train"),
    (with_({"backbones": {"own": {"timm": "vit_bass"}}}), "vit_bass"),
    (with_({"backbones": {"own": {"checkpoint": "x.pth"}}}), "backbones.own: "),
    (with_({"tasks": {"own": {"path": "photos"}}}), "tasks.own: a task of your own needs source"),
    (images("floder", "photos"), "did you mean 'folder'"),
    (images("folder", "none"), "none"),
    (images("folder", "words.txt"), "words.txt"),
    (images("folder", "empty"), "empty"),
    (images("folder", "loop"), "loop"),
    (images("folder", "C:\\photos"), "C:\\photos"),
    (images("folder", 3), "tasks.own.path: 3"),
    (images("folder", "photos", classes=7), "photos has 2 classes"),
    (images("csv", "empty.csv"), "empty.csv"),
    (images("csv", "nan.csv"), "nan.csv"),
    (images("csv", "photos"), "photos"),
    (images("csv", "bytes.csv"), "bytes.csv"),
    (images("parquet", "bytes.parquet"), "bytes.parquet"),
    (images("parquet", "empty"), "empty"),
    (images("folder", "zero"), "zero"),
]


@pytest.mark.parametrize(("config", "said"), CONFIGS, ids=[said for _, said in CONFIGS])
def test_a_config_with_a_mistake_is_one_line(here, capfd, config, said):
    Path("s.yaml").write_text(yaml.safe_dump(config))
    status, line = ended(capfd, "check", "s.yaml")
    assert status in (1, 2)
    assert said in line
    told = [part for part in line.splitlines() if part.startswith(("vptcore check: ", "  cannot run "))]
    assert len(told) == 1, line


@pytest.mark.parametrize("name", ["with space", "ünïcode", "emoji 🦊", "a'b\"c", "semi;colon", "$HOME", "[b]old"])
def test_odd_names_of_classes_are_good_names(here, capfd, name):
    os.rename("photos/cat", f"photos/{name}")
    Path("s.yaml").write_text(yaml.safe_dump(images("folder", "photos")))
    assert ended(capfd, "check", "s.yaml") == (0, "")
    assert ended(capfd, "data", "list", "own", "--config", "s.yaml") == (0, "")
