"""What each method trains, and the paper's tuned percentages from real models."""

from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from vptcore.models.backbones import BACKBONES, Backbone
from vptcore.models.heads import linear_head
from vptcore.models.methods import (
    Tuned,
    backbone_state,
    build,
    count_parameters,
    load_tuned,
    set_dropout,
    spec_of,
    tuned_state,
)
from vptcore.models.pretrained import create_backbone
from vptcore.models.prompts import PromptedViT, Prompts
from vptcore.training.protocol import PROTOCOLS
from vptstudy.config.resolve import load_study
from vptstudy.study import Cell

TINY = Backbone(
    "tiny", "Tiny", "vit_tiny_patch16_224", size=16, width=24, depth=2, full_dropout=0.1,
    options=dict(img_size=16, patch_size=4, embed_dim=24, depth=2, num_heads=3),
)  # fmt: skip


@pytest.fixture
def tiny(tmp_path):
    """A job slice of a tiny ViT whose weights lie in a local file."""
    import timm
    from safetensors.torch import save_file

    torch.manual_seed(0)
    save_file(timm.create_model(TINY.timm, num_classes=0, **TINY.options).state_dict(), tmp_path / "tiny.safetensors")
    row = asdict(TINY) | {"checkpoint": str(tmp_path / "tiny.safetensors")}

    def job(method, length=3, **switches):
        protocol = asdict(PROTOCOLS["paper"]) | switches
        return dict(
            backbone=row,
            method=method,
            classes=5,
            prompt_length=length,
            deep=True,
            protocol=protocol,
            settings={"lora": {"rank": 2, "alpha": 2, "targets": ["qkv"]}} if method == "lora" else {},
        )

    return job


HEAD = 24 * 5 + 5
BODY = (
    2 * (12 * 24 * 24 + 13 * 24) + (48 * 24 + 24) + 17 * 24 + 24 + 2 * 24
)  # blocks, patches, positions, class token, norm


@pytest.mark.parametrize(
    ("method", "tuned"),
    [
        ("full", BODY + HEAD),
        ("vpt", 2 * 3 * 24 + HEAD),
        ("mixed", BODY + 2 * 3 * 24 + HEAD),
        ("linear", HEAD),
        ("lora", 2 * 2 * (24 + 72) + HEAD),
    ],
)
def test_tuned_parameters(tiny, method, tuned):
    model = build(spec_of(tiny(method)), seed=0)
    assert count_parameters(model)[0] == tuned
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert {"head.weight", "head.bias"} <= trained


def test_training_changes_only_what_is_tuned(tiny):
    for method in ("vpt", "lora", "full"):
        model = build(spec_of(tiny(method)), seed=0)
        before = {n: p.clone() for n, p in model.named_parameters()}
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        model(torch.randn(4, 3, 16, 16)).logsumexp(-1).sum().backward()
        optimizer.step()
        changed = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
        assert changed <= {n for n, p in model.named_parameters() if p.requires_grad}
        assert "head.weight" in changed


def test_dropout_is_on_in_full_and_off_where_there_are_prompts(tiny):
    x = torch.randn(4, 3, 16, 16)
    full = build(spec_of(tiny("full")), seed=0).train()
    assert not torch.equal(full(x), full(x))
    for method in ("vpt", "mixed"):
        model = build(spec_of(tiny(method, prompt_dropout=0.0)), seed=0).train()
        assert torch.equal(model(x), model(x))
    set_dropout(full.encoder.vit, 0.0)
    assert torch.equal(full(x), full(x))


def test_only_the_supervised_vits_are_fine_tuned_with_dropout():
    """KMnP/vpt: 0.1 is vit_configs.py:35 of the supervised ViT; its Swin, MAE and MoCo v3 have drop_rate 0."""
    on = {name for name, row in BACKBONES.items() if row.full_dropout}
    assert on == {"vit_b16_sup21k", "vit_mini_cifar10"}


def test_fixed_positions_are_never_trained(tiny):
    """MoCo v3's (KMnP/vpt vit_moco.py:68): 17 x 24 numbers fewer, and FT-then-PT starts from the checkpoint's."""
    job = tiny("full")
    job["backbone"] |= {"fixed_positions": True}
    model = build(spec_of(job), seed=0)
    assert count_parameters(model) == (BODY + HEAD - 17 * 24, BODY + HEAD)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    then = job | {"method": "ft_then_pt"}
    again = build(spec_of(then), seed=0, base_state=backbone_state(tuned_state(model)))
    for name, value in model.encoder.vit.state_dict().items():
        assert torch.equal(again.encoder.vit.state_dict()[name], value)
    assert [name for name, row in BACKBONES.items() if row.fixed_positions] == ["vit_b16_mocov3"]


def test_tuned_state_goes_back(tiny):
    x = torch.randn(2, 3, 16, 16)
    for method in ("full", "vpt", "mixed", "lora"):
        model = build(spec_of(tiny(method)), seed=1).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.1)
        again = load_tuned(build(spec_of(tiny(method)), seed=2), tuned_state(model)).eval()
        assert torch.equal(model(x), again(x))
    with pytest.raises(ValueError, match="another model"):
        load_tuned(build(spec_of(tiny("full")), seed=0), tuned_state(build(spec_of(tiny("vpt")), seed=0)))


def test_ft_then_pt_starts_from_the_tuned_backbone(tiny):
    full = build(spec_of(tiny("full")), seed=0)
    with torch.no_grad():
        full.encoder.vit.blocks[0].mlp.fc1.weight.add_(1)
    model = build(spec_of(tiny("ft_then_pt")), seed=0, base_state=backbone_state(tuned_state(full)))
    assert torch.equal(model.encoder.vit.blocks[0].mlp.fc1.weight, full.encoder.vit.blocks[0].mlp.fc1.weight)
    assert not model.encoder.vit.blocks[0].mlp.fc1.weight.requires_grad


def test_lora_targets_that_name_nothing(tiny):
    job = tiny("lora")
    job["settings"]["lora"]["targets"] = ["qvk"]
    with pytest.raises(ValueError, match=r"methods\.lora\.lora\.targets: qvk name no layer"):
        build(spec_of(job), seed=0)


def test_all_printed_tuned_percentages_come_out():
    """Tables 3 and 4: all 19, to the printed digit, counted on a real ViT-B/16 with the deep prompt lengths."""
    study = load_study(yaml.safe_load(Path("config.yaml").read_text()))
    printed = pd.read_csv("published/published.csv")
    printed = printed[
        (printed["metric"] == "tuned_percent") & printed["table"].isin([3, 4]) & (printed["task"] != "mean")
    ]
    assert len(printed) == 19
    with torch.device("meta"):
        vit = create_backbone(BACKBONES["vit_b16_sup21k"], pretrained=False).requires_grad_(False)
        for row in printed.itertuples():
            length = study.prompt_length(Cell("vit_b16_sup21k", "vpt", row.task, "800"))
            head = linear_head(768, study.tasks[row.task].classes)
            tuned, total = count_parameters(Tuned(PromptedViT(vit, Prompts(12, length, 768, 16)), head))
            assert total - tuned == 85_798_656
            assert f"{100 * tuned / total:.2f}" == f"{row.value:.2f}", row.task
