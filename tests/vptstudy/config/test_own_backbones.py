"""A backbone by its timm name alone: its facts are timm's, its tokens are timm's own, its cost is near the model's."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import timm
import torch
import yaml
from safetensors.torch import save_file

from vptcore.choices import ConfigError
from vptcore.models import prompts
from vptcore.models.backbones import Backbone
from vptcore.models.methods import build, spec_of
from vptcore.models.outline import shape_of
from vptcore.models.pretrained import create_backbone, facts_of
from vptcore.training.flops import forward_flops, step_flops
from vptcore.training.protocol import PROTOCOLS
from vptstudy.config.resolve import load_study
from vptstudy.config.runnable import problems

HALF = (0.5, 0.5, 0.5)
CLIP = (0.48145466, 0.4578275, 0.40821073)
PAGE = (Path(__file__).parents[3] / "docs/extending.md").read_text()
EVA = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}


# By the makers' papers and cards: DINOv2 (518 px, ImageNet's mean), SigLIP (map pooling, 0.5), EVA-02, BEiT, Swin.
@pytest.mark.parametrize(
    ("name", "size", "width", "depth", "pool", "mean"),
    [
        ("vit_small_patch16_224", 224, 384, 12, "token", HALF),
        ("vit_small_patch14_reg4_dinov2.lvd142m", 518, 384, 12, "token", (0.485, 0.456, 0.406)),
        ("vit_base_patch16_siglip_256.webli", 256, 768, 12, "own", HALF),
        ("eva02_tiny_patch14_224.mim_in22k", 224, 192, 12, "avg", CLIP),
        ("beit_base_patch16_224.in22k_ft_in22k", 224, 768, 12, "avg", HALF),
        ("swin_tiny_patch4_window7_224.ms_in1k", 224, 768, 12, "avg", (0.485, 0.456, 0.406)),
    ],
)
def test_the_facts_are_the_makers(name, size, width, depth, pool, mean):
    facts = facts_of(name)
    assert [facts[key] for key in ("size", "width", "depth", "pool", "mean")] == [size, width, depth, pool, mean]
    assert facts["licence"]
    row = Backbone("mine", "Mine", name, **facts)
    with torch.device("meta"):
        model = create_backbone(row, pretrained=False)
    # Near on paper: a tenth of the model's numbers at most is unknown there.
    numbers = sum(p.numel() for p in model.parameters())
    assert shape_of(asdict(row)).parameters == pytest.approx(numbers, rel=0.1)
    assert shape_of(asdict(row)).depth == depth


def test_options_change_the_facts():
    facts = facts_of("vit_small_patch14_dinov2", {"img_size": 224, "depth": 3})
    assert (facts["size"], facts["depth"]) == (224, 3)
    with pytest.raises(ValueError, match=r"cannot be built with these options .*bogus"):
        facts_of("vit_small_patch14_dinov2", {"bogus": 3})


def config(**row) -> dict:
    return {
        "study": "mine",
        "backbones": {"mine": row},
        "experiments": {"one": {"backbones": ["mine"], "tasks": ["cifar100"]}},
    }


def test_a_row_says_what_differs_and_timm_the_rest():
    study = load_study(config(timm="vit_tiny_patch16_224", mean=[0.1, 0.2, 0.3]))
    row = study.backbones["mine"]
    assert (row.width, row.depth, row.size, row.pool) == (192, 12, 224, "token")
    assert (row.mean, row.std, row.licence) == ((0.1, 0.2, 0.3), HALF, "apache-2.0")
    assert problems(study) == []


def test_a_resolved_config_is_read_without_timm(tmp_path):
    resolved = load_study(config(timm="vit_tiny_patch16_224")).config
    (tmp_path / "resolved.yaml").write_text(yaml.safe_dump(resolved))
    code = (
        "import sys, yaml; from vptstudy.config.resolve import load_study; "
        "row = load_study(yaml.safe_load(open(sys.argv[1]))).backbones['mine']; "
        "print(row.width, row.pool, 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code, tmp_path / "resolved.yaml"], capture_output=True, text=True)
    assert run.stdout.split() == ["192", "token", "False"], run.stderr


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("resnet18", "backbones.mine.timm: resnet18 is a ResNet; expected a ViT, EVA, BEiT or Swin of timm"),
        ("vit_base_patch16_224_in21k", "backbones.mine.timm: .* is an old name; timm's new one is vit_base.*augreg"),
        ("eva02_tinny_patch14_224", "backbones.mine.timm: timm has no model .*; did you mean 'eva02_tiny_patch14_224'"),
        ("vit_base_patch16_sapiens2", "backbones.mine.timm: .* takes images of 1024x768; expected a square"),
    ],
)
def test_a_name_that_cannot_be_used_is_one_line(name, line):
    with pytest.raises(ConfigError, match=line) as caught:
        load_study(config(timm=name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("eva02_tiny_patch14_224", EVA),
        ("beit_base_patch16_224", EVA),
        ("vit_base_patch16_siglip_256", EVA),
        ("vit_small_patch14_reg4_dinov2", EVA),
        ("swin_tiny_patch4_window7_224", {"img_size": 32, "embed_dim": 12, "depths": (2, 2), "num_heads": (2, 3)}),
    ],
)
def test_an_own_backbone_is_built_trained_and_counted(name, options, tmp_path):
    torch.manual_seed(0)
    save_file(timm.create_model(name, num_classes=0, **options).state_dict(), tmp_path / "a.safetensors")
    facts = facts_of(name, options)
    row = Backbone("mine", "Mine", name, checkpoint=str(tmp_path / "a.safetensors"), options=options, **facts)
    job = {
        "backbone": asdict(row), "method": "vpt", "classes": 5, "prompt_length": 3, "deep": True, "settings": {},
        "protocol": asdict(PROTOCOLS["paper"]), "recipe": {"batch": 2},
    }  # fmt: skip
    model = build(spec_of(job), seed=0).train()
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    assert 0 < forward_flops(job) < step_flops(job)


def test_a_model_that_is_not_timms_own_is_refused(monkeypatch, tmp_path):
    options = EVA | {"img_size": 16}
    save_file(
        timm.create_model("vit_tiny_patch16_224", num_classes=0, **options).state_dict(), tmp_path / "a.safetensors"
    )
    row = Backbone("mine", "Mine", "vit_tiny_patch16_224", checkpoint=str(tmp_path / "a.safetensors"),
                   options=options, **facts_of("vit_tiny_patch16_224", options))  # fmt: skip
    monkeypatch.setattr(prompts, "run_block", None)
    monkeypatch.setitem(prompts.PromptedViT.CALLS, "block", lambda block, x, *_, **__: x)
    with pytest.raises(ValueError, match=r"backbones\.mine\.timm: VisionTransformer: is built in a way"):
        create_backbone(row)
    monkeypatch.undo()
    assert create_backbone(replace(row, title="Again")) is not None


def test_the_pages_backbone():
    section = PAGE.split("\n## A backbone")[1].split("\n## ")[0]
    (row,) = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", section, re.S)[0])["backbones"].values()
    study = load_study(config(**row))
    assert (study.backbones["mine"].width, study.backbones["mine"].mean) == (384, HALF)
