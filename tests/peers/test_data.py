"""Resizes, one-shot draws and the Fréchet distance, beside TensorFlow's, VPT-or-FT's and pytorch-fid's."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tests.peers.pattern import RECORDED, dot, pattern, recorded
from vptcore.analysis.features import Extractor
from vptcore.analysis.frechet import Reference, frechet_distance
from vptcore.analysis.inception import SIZE, Inception
from vptcore.data.decode import RESIZES
from vptcore.data.splits import split
from vptcore.data.tensors import Normalise
from vptcore.models.backbones import HALF

IMAGES = dict(np.load(RECORDED / "resize.npz"))
CASES = [key.removeprefix("image_") for key in IMAGES if key.startswith("image_")]
# OpenCV's weights have 11 bits, so bilinear is off by up to a level before it is rounded.
LEVELS = {"tf1": 0.501, "bilinear": 1.3}
THEIRS = {"tf1": "tf1", "bilinear": "tf2"}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("resize", THEIRS)
def test_resizes_are_tensorflows(resize, case):
    image, theirs = IMAGES[f"image_{case}"], IMAGES[f"{THEIRS[resize]}_{case}"].astype(np.float64)
    size = len(theirs)
    if resize == "tf1" or min(image.shape[:2]) <= size:  # stored ones are never larger than the input
        normalise = Normalise(size, (0, 0, 0), (1 / 255,) * 3, resize)
        on_device = normalise(torch.from_numpy(image)[None], torch.float64)[0].permute(1, 2, 0).numpy()
        assert np.abs(on_device - theirs).max() < 2e-3, "TensorFlow's own scale is a float32"
    assert np.abs(RESIZES[resize](image, size) - theirs).max() <= LEVELS[resize]


def test_one_shot_draws_the_classes_that_theirs_draws():
    """One of each class that train800, or val200, has; for the finals up to two of each that the 1,000 have."""
    theirs = recorded("one_shot")
    labels = [(np.abs(pattern(f"one-shot {part}", (count,))) * 300).astype(int) for part, count in PARTS.items()]
    index = pd.DataFrame({"split": np.repeat(list(PARTS), list(PARTS.values())), "label": np.concatenate(labels)})
    test = pd.DataFrame({"split": ["test"], "label": [0]})
    index = pd.concat([index, test], ignore_index=True).assign(row=range(1001), source="wds")
    job = {"task": "sun397", "train": "one_shot", "seed": 0, "classes": 300, "selection": "random"}
    frame, _ = split(job | {"pool": "vtab1k", "final": "two_per_class"}, index)
    for part, name in (("train", "train"), ("val", "val"), ("final", "trainval")):
        rows = frame.loc[frame["part"] == part, "row"]
        assert sorted(index["label"].loc[rows].tolist()) == theirs[name]["labels"]
        assert rows.is_unique
    assert frame.loc[frame["part"] == "train", "row"].max() < PARTS["train"]
    assert frame.loc[frame["part"] == "val", "row"].min() >= PARTS["train"]


PARTS = {"train": 800, "val": 200}


@pytest.mark.parametrize("case", recorded("fid"))
def test_the_frechet_distance_is_pytorch_fids(case):
    images, sample, width = map(int, case.split())
    mix = pattern(f"fid mix {width}", (width, width))
    ours = np.maximum(pattern(f"fid a {images}", (images, width)) @ mix, 0)
    theirs = np.maximum(pattern(f"fid b {sample}", (sample, width)) @ mix, 0) + 0.1
    reference = Reference(theirs.mean(0), np.cov(theirs, rowvar=False), sample)
    assert frechet_distance(ours, reference) == pytest.approx(recorded("fid")[case], rel=1e-6)


@pytest.fixture(scope="module")
def inception():
    """Inception with weights that follow from their names, scaled so that no feature dies out."""
    network = Inception().eval()
    state = network.whole.state_dict()
    network.whole.load_state_dict({n: inception_weight(n, v.shape) if v.ndim else v for n, v in state.items()})
    return Extractor(network, Normalise(SIZE, HALF, HALF), "pytorch-fid", "inception", torch.device("cpu"))


def inception_weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    if name.endswith("running_var"):
        return torch.from_numpy(1 + 0.5 * pattern(name, shape)).float()
    if len(shape) > 1:
        return torch.from_numpy(pattern(name, shape, 2.4 / np.sqrt(np.prod(shape[1:])))).float()
    return torch.from_numpy(pattern(name, shape, 0.1) + name.endswith("bn.weight")).float()


@pytest.mark.parametrize("case", recorded("inception"))
def test_features_are_those_of_pytorch_fids_inception(inception, case):
    """Of an image of any size: resize, normalisation, every block, in float32."""
    height, width = map(int, case.split())
    image = np.round(127.5 * (1 + pattern(f"inception {case}", (height, width, 3)))).astype(np.uint8)
    (features,) = inception.features([[image]])
    theirs = recorded("inception")[case]
    assert features[0, :16] == pytest.approx(theirs["first"], rel=1e-4, abs=1e-5)
    assert dot(f"inception {case}", torch.from_numpy(features[0]).double()) == pytest.approx(theirs["dot"], rel=1e-4)
    assert features.std(ddof=1) == pytest.approx(theirs["std"], rel=1e-4)
