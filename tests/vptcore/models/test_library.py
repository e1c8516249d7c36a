"""vptcore as a library: a timm model with prompts, what is kept of it, and one line for what cannot be."""

import subprocess
import sys

import numpy as np
import pytest
import timm
import torch
from scipy.linalg import sqrtm

import vptcore
from bench.zoo import concatenated
from tests.vptcore.models.plain import worst

SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 3, "num_heads": 3}


def vit(name: str = "vit_tiny_patch16_224", classes: int = 4, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=classes, **(SMALL | options)).eval()


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_its_logits_are_those_of_prompts_as_tokens():
    plain = vit()
    model = vptcore.add_prompts(plain, length=5)
    expected = plain.head(concatenated(plain, model.encoder.prompts.tokens, images()))
    assert worst(model(images()), expected) <= 1e-5


def test_only_prompts_and_head_train():
    model = vptcore.add_prompts(vit(), length=5)
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    assert sum(trained.values()) == 3 * 5 * 24 + 24 * 4 + 4
    shallow = vptcore.add_prompts(vit(), length=5, deep=False)
    assert sum(p.numel() for p in shallow.parameters() if p.requires_grad) == 5 * 24 + 24 * 4 + 4


def test_prompts_are_kept_and_put_back():
    model = vptcore.add_prompts(vit(), length=5)
    with torch.no_grad():
        model.encoder.prompts.tokens.normal_()
        model.head.weight.normal_()
    state = vptcore.prompt_state_dict(model)
    assert sum(v.numel() for v in state.values()) == 3 * 5 * 24 + 24 * 4 + 4
    again = vptcore.load_prompts(vptcore.add_prompts(vit(), length=5), state)
    assert torch.equal(again(images()), model(images()))
    with pytest.raises(ValueError, match=r"size mismatch|another model"):
        vptcore.load_prompts(vptcore.add_prompts(vit(), length=6), state)


def test_a_swin_is_promptable_too():
    torch.manual_seed(0)
    options = {
        "img_size": 32,
        "patch_size": 4,
        "window_size": 4,
        "embed_dim": 24,
        "depths": (1, 1),
        "num_heads": (2, 2),
    }
    swin = timm.create_model("swin_tiny_patch4_window7_224", num_classes=4, **options).eval()
    model = vptcore.add_prompts(swin, length=2)
    assert model(images()).shape == (2, 4)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 2 * (24 + 48) + 48 * 4 + 4


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vptcore.add_prompts(timm.create_model("resnet18")), "ResNet: no prompts for this kind of model"),
        (lambda: vptcore.add_prompts(vit(), length=0), "prompt length 0"),
        (lambda: vptcore.load_model("/no/such"), "/no/such: no config.json in it"),
    ],
)
def test_a_mistake_is_one_line(make, message):
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_fit_learns_prompts_on_arrays():
    """Whether an image is bright: prompts and head learn it from 64 images."""
    rng = np.random.default_rng(0)
    labels = np.arange(64) % 2
    pixels = rng.integers(0, 80, (64, 32, 32, 3), dtype=np.uint8)
    pixels[labels == 1] += 120
    train = vptcore.ImageSet.of(pixels, labels, vptcore.Normalise(32, (0.5,) * 3, (0.5,) * 3), "cpu")
    model = vptcore.add_prompts(vit(classes=2), length=4)
    recipe = vptcore.Recipe("sgd", lr=8.0, weight_decay=0.0, batch=16, epochs=12, warmup=1)
    history = vptcore.fit(model, train, recipe, seed=0)
    assert float(history.epochs[-1]["train_accuracy"]) > 0.9
    assert vptcore.predict(model, train).shape == (64, 2)


def test_the_distance_of_two_sets_is_the_textbooks():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(size=(60, 4)), rng.normal(1, 2, size=(80, 4))
    a, b = np.cov(ours, rowvar=False), np.cov(theirs, rowvar=False)
    gap = ours.mean(0) - theirs.mean(0)
    expected = gap @ gap + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert vptcore.frechet_distance(ours, theirs) == pytest.approx(expected, rel=1e-9)


def test_importing_it_is_light_and_its_names_are_few():
    code = "import sys, vptcore; sys.exit(any(m in sys.modules for m in ('torch', 'timm', 'pandas', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert all(callable(getattr(vptcore, name)) for name in vptcore.__all__)
    assert all(getattr(vptcore, name).__doc__ for name in vptcore.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'add_prompt'; its names are"):
        vptcore.add_prompt  # noqa: B018
