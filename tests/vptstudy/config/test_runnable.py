"""`vptcore check` and `vptcore run` say what would stop a study's jobs, before the first of them."""

from pathlib import Path

import pytest
import yaml
from PIL import Image

from vptcore.choices import ConfigError
from vptstudy.cli.main import main
from vptstudy.config.resolve import load_study
from vptstudy.config.runnable import check_runnable, problems, remarks

FID = {"network": "backbone", "reference": "asset:vit_mini_cifar10.reference.safetensors", "bootstrap": 0}


def config(tmp_path: Path, task=(), backbone=(), name: str = "mine") -> dict:
    folder = tmp_path / "leaves"
    for kind in ("ash", "elm", "oak"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(2):
            Image.new("RGB", (4, 4), (number, 0, 0)).save(folder / kind / f"{number}.png")
    mini = {"timm": "vit_tiny_patch16_224", "size": 32, "width": 128, "depth": 6, "pool": "token"}
    mini |= {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 6, "num_heads": 4}
    return {
        "study": "own", "results": str(tmp_path / "results"), "fid": FID,
        "tasks": {"leaves": {"source": "folder", "path": str(folder), **dict(task)}},
        "backbones": {name: {**mini, "options": options, **dict(backbone)}},
        "experiments": {"only": {"backbones": [name]}},
    }  # fmt: skip


def test_a_study_that_can_run_has_no_problem(tmp_path):
    assert problems(load_study(config(tmp_path))) == []


@pytest.mark.parametrize(
    ("task", "backbone", "message"),
    [
        ({"classes": 5}, {}, r"tasks.leaves.classes: 5, but .* has 3 classes \(ash, elm, oak, ...\)"),
        ({"classes": 3, "path": "/no/such"}, {}, r"tasks.leaves: /no/such: no such folder"),
        (
            {},
            {"checkpoint": "none.safetensors"},
            r"backbones.mine.checkpoint: none.safetensors: no such file; expected",
        ),
        ({}, {"timm": "vit_tinny_patch16_224"}, r"backbones.mine.timm: timm has no model .*; did you mean 'vit_"),
        ({}, {"timm": "resnet18", "options": {}}, r"backbones.mine.timm: resnet18 is a ResNet; expected"),
        ({}, {"width": 192}, r"backbones.mine.width: 192, but vit_tiny_patch16_224 is 128 wide"),
        ({}, {"size": 224}, r"backbones.mine.size: 224, but vit_tiny_patch16_224 takes 32x32 pixels"),
    ],
)
def test_each_problem_is_one_line_before_any_job(tmp_path, capsys, task, backbone, message):
    wrong = config(tmp_path, task, backbone)
    with pytest.raises(ConfigError, match=message):
        check_runnable(load_study(wrong))
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(wrong))
    assert main(["check", str(path)]) == 1
    said = capsys.readouterr()
    assert [line for line in said.out.splitlines() if line.startswith("  cannot run ")]
    assert said.err == ""


def test_prepared_images_may_be_gone(tmp_path):
    study = load_study(config(tmp_path, {"classes": 3}))
    index = Path(f"{study.root}/index/task=leaves/rows.parquet")
    index.parent.mkdir(parents=True)
    index.touch()
    (tmp_path / "leaves").rename(tmp_path / "elsewhere")
    assert problems(study) == []


def test_what_is_worth_knowing_is_no_problem(tmp_path):
    study = load_study(config(tmp_path))
    assert remarks(study) == []
    (tmp_path / "leaves/ash/notes.txt").write_text("x")
    (tmp_path / "leaves/elm/9.png").symlink_to(tmp_path / "gone.png")
    assert remarks(study) == [
        "leaves: 1 file left out: 1 .txt (ash/notes.txt)",
        "leaves: 1 link to nothing (elm/9.png)",
    ]
    assert problems(study) == []


@pytest.mark.parametrize(
    ("peft", "message"),
    [
        ({"peft_type": "LORA", "rr": 4, "target_modules": ["qkv"]}, r"methods.mine_too.peft: LORA of peft: .*'rr'"),
        ({"peft_type": "LORA", "target_modules": ["kqv"]}, "target_modules: kqv name no layer of vit_tiny_patch16_224"),
        ({"peft_type": "LORA", "target_modules": ".*kqv"}, r"target_modules: \.\*kqv name no layer of vit_tiny"),
        ({"peft_type": "OFT", "target_modules": ["qkv"], "r": 2, "oft_block_size": 3}, "methods.mine_too.peft: OFT of"),
        ({"peft_type": "C3A", "target_modules": ["qkv"], "block_size": 7}, r"mine_too.*(does not fit|C3A of peft)"),
        ({"peft_type": "DORA", "target_modules": ["qkv"]}, "peft_type: 'DORA' is unknown; did you mean"),
    ],
)
def test_an_adapter_that_peft_cannot_build_is_one_line_before_any_job(tmp_path, capsys, peft, message):
    wrong = config(tmp_path)
    wrong["methods"] = {"mine_too": {"peft": peft}}
    wrong["experiments"]["only"] |= {"methods": ["mine_too"]}
    with pytest.raises(ConfigError, match=message):
        check_runnable(load_study(wrong))
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(wrong))
    assert main(["check", str(path)]) in (1, 2)
    said = "".join(capsys.readouterr())
    assert (
        len([line for line in said.splitlines() if "mine_too" in line and ("cannot run" in line or "check:" in line)])
        == 1
    )


def test_adapters_and_backbones_that_fit_are_no_problem(tmp_path):
    right = config(tmp_path)
    right["methods"] = {"mine_too": {"peft": {"peft_type": "LOHA", "r": 2, "target_modules": ["fc1"]}}}
    right["experiments"]["only"] |= {"methods": ["mine_too", "lora", "ssf", "adapter_plus", "full", "vpt"]}
    assert problems(load_study(right)) == []


def test_check_reads_weights_that_are_here(tmp_path, capsys):
    """A file of weights that does not fit is found before the first search; without it nothing is read."""
    import torch
    from safetensors.torch import save_file

    save_file({"blocks.0.norm1.weight": torch.zeros(128)}, tmp_path / "other.safetensors")
    study = load_study(config(tmp_path, backbone={"checkpoint": str(tmp_path / "other.safetensors")}))
    assert problems(study) == []
    (line,) = problems(study, weights=True)
    assert "other.safetensors" in line


def test_a_backbone_that_is_not_timms_function_is_found_without_weights(tmp_path, monkeypatch):
    from vptcore.models import prompts

    plain = prompts.run_block
    monkeypatch.setitem(prompts.PromptedViT.CALLS, "block", lambda *args, **more: 1.01 * plain(*args, **more))
    (line,) = problems(load_study(config(tmp_path)))
    assert line.startswith("backbones.mine.timm: VisionTransformer: is built in a way")
