"""analysis.explain: Grad-CAM against captum and against prompts as tokens, and the rule by which images are picked."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
import yaml
from captum.attr import LayerGradCam
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from tests.vptcore.models.plain import worst
from vptcore.analysis import explain
from vptcore.analysis.explain import grad_cam, pick_images, smoothed_grad_cam
from vptcore.jobs.provenance import provenance
from vptcore.models.methods import Tuned, build, spec_of, tuned_state
from vptcore.models.prompts import PromptedViT, Prompts
from vptcore.models.windows import PromptedSwin, SwinPrompts
from vptcore.records import read_rows, write_rows
from vptstudy import slices
from vptstudy.config.resolve import load_study

CLASSES = 5


def shaken(model: nn.Module) -> nn.Module:
    """In float64, every parameter away from where it starts."""
    for parameter in model.double().parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture(params=["token", "avg"])
def vit(request):
    torch.manual_seed(0)
    options = dict(img_size=(16, 24), patch_size=4, embed_dim=24, depth=3, num_heads=3, global_pool=request.param)
    return shaken(timm.create_model("vit_tiny_patch16_224", num_classes=0, **options))


@pytest.fixture
def swin():
    torch.manual_seed(0)
    options = dict(img_size=32, patch_size=4, embed_dim=12, depths=(2, 2), num_heads=(2, 3), window_size=2)
    return shaken(timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, **options))


@pytest.fixture
def head():
    return shaken(nn.Linear(24, CLASSES))


def images(*size: int) -> torch.Tensor:
    return torch.randn(4, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


TARGETS = torch.tensor([0, 4, 2, 2])


class Channels(nn.Module):
    """A norm whose patch tokens pass by `grid` as channels (B, D, h, w), where captum can watch them."""

    def __init__(self, norm: nn.Module, before: int, h: int, w: int):
        super().__init__()
        self.norm, self.grid, self.before, self.shape = norm, nn.Identity(), before, (h, w)

    def forward(self, x):
        normed = self.norm(x)
        tokens = normed.flatten(1, -2)
        grid_BDhw = self.grid(tokens[:, self.before :].mT.unflatten(-1, self.shape))
        return torch.cat([tokens[:, : self.before], grid_BDhw.flatten(2).mT], dim=1).view_as(normed)


def by_captum(plain: nn.Module, block: nn.Module, head: nn.Module, x, *, before: int, shape) -> torch.Tensor:
    """captum's maps of timm's own forward, with its relu, over each map's maximum."""
    block.norm1 = Channels(block.norm1, before, *shape)
    try:
        maps = LayerGradCam(nn.Sequential(plain, head), block.norm1.grid).attribute(x, TARGETS, relu_attributions=True)
    finally:
        block.norm1 = block.norm1.norm
    maps = maps.detach()[:, 0]
    return maps / maps.amax((1, 2), keepdim=True)


def test_full_fine_tuning_equals_captum(vit, head):
    x = images(16, 24)
    expected = by_captum(vit, vit.blocks[-1], head, x, before=1, shape=(4, 6))
    got = grad_cam(Tuned(PromptedViT(vit, pool=vit.global_pool), head), x, TARGETS)
    assert got.shape == (4, 4, 6)
    assert worst(got, expected) <= 1e-10
    assert got.min() == 0  # some patches speak against the class, and none is the same
    assert torch.equal(got.amax((1, 2)), torch.ones(4, dtype=torch.float64))


def test_a_swin_equals_captum(swin, head):
    x = images(32, 32)
    expected = by_captum(swin, swin.layers[-1].blocks[-1], head, x, before=0, shape=(4, 4))
    got = grad_cam(Tuned(PromptedSwin(swin), head), x, TARGETS)
    assert worst(got, expected) <= 1e-10


def in_numpy(vit, head, x) -> np.ndarray:
    """The authors' doubly smoothed maps of timm's own forward, written out in numpy from its tokens and gradients."""
    maps = []
    for mirrored in (False, True):
        for factor in (0.9, 1.0, 1.1):
            seen, norm = [], vit.blocks[-1].norm1
            handle = norm.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(output))
            scores = nn.Sequential(vit, head)((x.flip(-1) if mirrored else x) * factor)
            handle.remove()
            (gradient,) = torch.autograd.grad(scores.max(1).values.sum(), seen)
            tokens, gradient = seen[0][:, 1:].detach().numpy(), gradient[:, 1:].numpy()
            for a_ND, g_ND in zip(tokens, gradient, strict=True):
                weighted = a_ND * g_ND.mean(0)
                centred = weighted - weighted.mean(0)
                values, vectors = np.linalg.eigh(centred.T @ centred)
                along = centred @ vectors[:, values.argmax()]
                along = along * np.sign(along @ centred.sum(1))
                grid = (np.maximum(along, 0) / along.max()).reshape(4, 6)
                maps.append(grid[:, ::-1] if mirrored else grid)
    return np.mean(np.reshape(maps, (6, len(x), 4, 6)), axis=0)


def test_the_authors_smoothed_maps_are_numpys(vit, head):
    x = images(16, 24)
    got = smoothed_grad_cam(Tuned(PromptedViT(vit, pool=vit.global_pool), head), x)
    assert worst(got, torch.from_numpy(in_numpy(vit, head, x))) <= 1e-9
    assert not torch.allclose(got, grad_cam(Tuned(PromptedViT(vit, pool=vit.global_pool), head), x, TARGETS))


def test_smoothed_maps_of_an_image_and_its_mirror_are_mirrors(swin):
    model = Tuned(PromptedSwin(swin), shaken(nn.Linear(24, CLASSES)))
    x = images(32, 32)
    assert worst(smoothed_grad_cam(model, x.flip(-1)), smoothed_grad_cam(model, x).flip(-1)) <= 1e-9


def test_a_map_of_nothing_is_empty():
    flat = explain._scaled(explain._first_component(torch.zeros(2, 6, 3, dtype=torch.float64)))
    assert torch.equal(flat, torch.zeros(2, 6, dtype=torch.float64))


def test_the_callers_images_and_model_stay_as_they_were(vit, head):
    x, model = images(16, 24), Tuned(PromptedViT(vit, pool=vit.global_pool), head)
    grad_cam(model, x, TARGETS)
    assert not x.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert not vit.blocks[-1].norm1._forward_hooks


class WithPromptTokens(nn.Module):
    """Prompts as tokens in the sequence, as the paper's figure has them; deep ones replaced before every block."""

    def __init__(self, vit, prompts_LPD):
        super().__init__()
        self.vit, self.prompts_LPD = vit, prompts_LPD

    def forward(self, x):
        vit, P = self.vit, self.prompts_LPD.shape[1]
        x = vit.norm_pre(vit._pos_embed(vit.patch_embed(x)))
        for i, block in enumerate(vit.blocks):
            if i < len(self.prompts_LPD):
                prompts = self.prompts_LPD[i : i + 1].expand(len(x), -1, -1)
                x = torch.cat([x[:, :1], prompts, x[:, 1 + P if i else 1 :]], 1)
            x = block(x)
        x = vit.norm(x)
        return vit.fc_norm(x[:, 0] if vit.global_pool == "token" else x[:, 1:].mean(1))


@pytest.mark.parametrize("layers", [3, 1])
def test_prompts_are_left_out(vit, head, layers):
    """With 7 prompts the map has the patches' grid, and equals captum's on prompts as tokens, cut off by position."""
    prompts = Prompts(layers, 7, 24, 4).double()
    plain = WithPromptTokens(vit, prompts.tokens.detach())
    x = images(16, 24)
    expected = by_captum(plain, vit.blocks[-1], head, x, before=1 + 7, shape=(4, 6))
    model = Tuned(PromptedViT(vit, prompts, pool=vit.global_pool), head)
    got = grad_cam(model, x, TARGETS)
    assert got.shape == (4, 4, 6)
    assert worst(got, expected) <= 1e-10
    assert worst(got, grad_cam(Tuned(PromptedViT(vit, pool=vit.global_pool), head), x, TARGETS)) > 1e-3
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(False)
    assert worst(grad_cam(model, x, TARGETS), got) == 0  # a frozen backbone's maps are the same


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("in_pool", [True, False])
def test_a_prompted_swin_has_the_grid_of_its_last_stage(swin, head, deep, in_pool):
    model = Tuned(PromptedSwin(swin, SwinPrompts(swin, 50, deep).double(), prompts_in_pool=in_pool), head)
    got = grad_cam(model, images(32, 32), TARGETS)
    assert got.shape == (4, 4, 4)
    assert torch.isfinite(got).all()
    assert worst(got, grad_cam(Tuned(PromptedSwin(swin), head), images(32, 32), TARGETS)) > 1e-3


def test_a_map_without_any_evidence_is_zero(vit):
    head = nn.Linear(24, CLASSES).double()
    nn.init.zeros_(head.weight)
    assert grad_cam(Tuned(PromptedViT(vit, pool=vit.global_pool), head), images(16, 24), TARGETS).abs().max() == 0


# Which images


def plainly_picked(vpt: pd.DataFrame, full: pd.DataFrame, count: int) -> list[tuple[int, int, str]]:
    """The same rule, image by image."""
    vpt, full, found = vpt.set_index("row"), full.set_index("row"), []
    for case, right, wrong in (("vpt_only", vpt, full), ("full_only", full, vpt)):
        rows = [r for r in right.index if right.prediction[r] == right.label[r] != wrong.prediction[r]]
        rows.sort(key=lambda r: (-right.confidence[r], r))
        found += [(r, int(right.label[r]), case) for r in rows[:count]]
    return found


@st.composite
def predictions(draw):
    rows = draw(st.lists(st.integers(0, 99), unique=True, max_size=25))
    labels = {row: draw(st.integers(0, 2)) for row in rows}

    def of_a_method():
        order = draw(st.permutations(rows))
        frame = pd.DataFrame({"row": order, "label": [labels[row] for row in order]})
        frame["prediction"] = draw(st.lists(st.integers(0, 2), min_size=len(rows), max_size=len(rows)))
        few = st.sampled_from([0.25, 0.5, 0.75])  # ties are common
        frame["confidence"] = draw(st.lists(few, min_size=len(rows), max_size=len(rows)))
        return frame.astype({"row": int, "label": int, "prediction": int, "confidence": float})

    return {"vpt": of_a_method(), "full": of_a_method()}


@settings(max_examples=60, deadline=None)
@given(predictions(), st.integers(1, 4))
def test_picks_follow_the_rule(predictions, count):
    picks = pick_images(predictions, count)
    expected = plainly_picked(predictions["vpt"], predictions["full"], count)
    assert list(picks.itertuples(index=False, name=None)) == expected
    assert list(picks.columns) == ["row", "label", "case"]


def frame(rows: list[tuple[int, int, int, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["row", "label", "prediction", "confidence"])


def test_ties_go_to_the_earlier_image():
    wrong = frame([(r, 1, 0, 0.9) for r in (3, 1, 2)])
    right = frame([(r, 1, 1, 0.5) for r in (3, 1, 2)])
    assert list(pick_images({"vpt": right, "full": wrong}, 2)["row"]) == [1, 2]


def test_no_image_to_pick():
    same = frame([(0, 1, 1, 0.9), (1, 0, 1, 0.9)])
    assert pick_images({"vpt": same, "full": same}, 3).empty


# The whole job, with the shipped backbone


@pytest.fixture
def files(tmp_path):
    """A job slice of the demo and what it reads: 8 images of 2 classes, the last 6 of them test; two tuned models."""
    study = load_study(yaml.safe_load(Path("profiles/demo/study.yaml").read_text()))
    job = slices.explain(study, "vit_mini_cifar10", "digits", study.base_train)
    paths = {name: str(tmp_path / f"{name}.parquet") for name in ("index", "splits")}
    paths |= {"images": str(tmp_path / "images.npy")}
    np.save(paths["images"], np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), dtype=np.uint8))
    blank = {"split": "test", "class_name": "", "key": "", "source": "", "sha256": "", "width": 8, "height": 8}
    note = provenance({}, {}, started=0.0)
    write_rows(paths["index"], "index", [{"row": i, "label": i % 2, **blank} for i in range(8)], note)
    write_rows(paths["splits"], "splits", [{"part": "test", "row": i} for i in range(2, 8)], note)
    for method, slice_ in job["models"].items():
        paths[f"model_{method}"] = str(tmp_path / f"{method}.safetensors")
        save_file(tuned_state(build(spec_of(slice_), seed=7)), paths[f"model_{method}"])
    return job, paths, tmp_path


def write_predictions(paths, folder, seed: int, **by_method: list[int]) -> None:
    """Predictions of the test images under `seed`, and of everything right under another seed."""
    for method, predicted in by_method.items():
        paths[f"predictions_{method}"] = str(folder / f"predictions_{method}.parquet")
        rows = [
            {"seed": s, "row": row, "label": row % 2, "prediction": p, "confidence": row / 10, "loss": 0.5}
            for s, all_p in ((seed, predicted), (seed + 1, [r % 2 for r in range(2, 8)]))
            for row, p in zip(range(2, 8), all_p, strict=True)
        ]
        write_rows(paths[f"predictions_{method}"], "predictions", rows, provenance({}, {}, started=0.0))


def test_a_jobs_rows(files):
    job, paths, folder = files
    # Images 2 to 7 have the labels 0, 1, 0, 1, 0, 1. VPT alone is right on 2 and 6, full alone on 5.
    write_predictions(paths, folder, job["seed"], vpt=[0, 1, 0, 0, 0, 1], full=[4, 1, 0, 1, 1, 1])
    line = explain.run(job, paths, {"rows": str(folder / "rows.parquet")})
    assert line == "3 images: only VPT right 2, only FT right 1"
    rows = read_rows(folder / "rows.parquet", "explain")
    assert list(rows["row"]) == [6, 6, 2, 2, 5, 5]
    assert list(rows["case"]) == ["vpt_only"] * 4 + ["full_only"] * 2
    assert list(rows["method"]) == ["full", "vpt"] * 3
    assert list(rows["prediction"]) == [1, 0, 4, 0, 1, 0]
    assert list(rows["target"]) == list(rows["prediction"])
    assert set(zip(rows["grid_h"], rows["grid_w"], rows["map"].map(len), strict=True)) == {(4, 4, 16)}
    assert all(np.min(m) >= 0 and np.max(m) == 1 for m in rows["map"])
    stored = np.load(paths["images"])
    for row in rows.itertuples():
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(row.image_png))), stored[row.row, ..., 0])


def test_a_job_without_any_image_to_pick(files):
    job, paths, folder = files
    write_predictions(paths, folder, job["seed"], vpt=[0, 1, 0, 0, 0, 1], full=[0, 1, 0, 0, 0, 1])
    assert explain.run(job, paths, {"rows": str(folder / "rows.parquet")}).startswith("0 images")
    assert read_rows(folder / "rows.parquet", "explain").empty


# Integrated gradients


def test_integrated_gradients_add_up(vit, head):
    """Completeness: the attributions' sum is the score's rise over the zero input, but for the stated error."""
    model, x = Tuned(PromptedViT(vit, pool=vit.global_pool), head), images(16, 24)
    values, delta, difference = explain.integrated_gradients(model, x, TARGETS)
    with torch.no_grad():
        scores = [model(z).gather(1, TARGETS[:, None])[:, 0] for z in (x, torch.zeros_like(x))]
    assert worst(difference, scores[0] - scores[1]) <= 1e-10
    assert worst(values.flatten(1).sum(1) - difference, delta) <= 1e-10
    assert (delta.abs() / difference.abs().clamp(min=1e-3)).max() < 0.05


def test_integrated_gradients_equal_a_plain_integral(vit, head):
    """A fine Riemann sum of the gradient along the path, times the input."""
    model, x = Tuned(PromptedViT(vit, pool=vit.global_pool), head), images(16, 24)[:1]
    total, steps = torch.zeros_like(x), 400
    for i in range(steps):
        z = (x * (i + 0.5) / steps).requires_grad_(True)
        (gradient,) = torch.autograd.grad(model(z)[0, 4], [z])
        total += gradient / steps
    values, _, _ = explain.integrated_gradients(model, x, TARGETS[1:2])
    assert worst(values, total * x) <= 1e-2 * float((total * x).abs().max())


def test_attributions_shrink_by_their_mean():
    values = torch.randn(2, 3, 224, 224, dtype=torch.float64)
    small = explain.small_absolute(values)
    assert small.shape == (2, 112, 112)
    assert torch.allclose(small[0, 5, 7], values[0, :, 10:12, 14:16].abs().sum(0).mean())
    assert torch.equal(explain.small_absolute(values[..., :8, :8]), values[..., :8, :8].abs().sum(1))
