"""analysis.features and analysis.inception: the resizes against torch and Pillow, the network against pytorch-fid's."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from vptcore.analysis import inception
from vptcore.analysis.features import RESIZES, batched, input_of


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("shape", [(8, 8, 3), (40, 24, 3), (28, 28, 1)])
def test_resizes_equal_the_plain_calls(resize, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = input_of(image, 20, resize)
    colours = np.repeat(image, 3, axis=2) if shape[2] == 1 else image
    if resize == "clean":
        pictures = [Image.fromarray(colours[:, :, c].astype(np.float32)) for c in range(3)]
        planes = [picture.resize((20, 20), Image.Resampling.BICUBIC) for picture in pictures]
        expected = torch.from_numpy(np.stack([np.asarray(plane) for plane in planes])) / 255
    else:
        pixels = torch.from_numpy(colours.transpose(2, 0, 1).copy())[None] / 255
        expected = F.interpolate(pixels, (20, 20), mode="bilinear", align_corners=False)[0]
    assert found.shape == (1, 3, 20, 20)
    assert torch.allclose(found[0], expected, atol=1e-6)


def test_an_image_of_the_right_size_is_left_as_it_is():
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    for resize in RESIZES:
        assert np.allclose(input_of(image, 20, resize)[0].numpy().transpose(1, 2, 0) * 255, image, atol=1e-4)


def test_antialias_is_what_the_two_differ_in():
    """A fine check pattern: averaged away by `clean`, aliased by `pytorch-fid`."""
    checks = np.indices((96, 96)).sum(0) % 2 * 255
    image = np.repeat(checks[:, :, None], 3, axis=2).astype(np.uint8)
    clean, plain = (input_of(image, 31, resize).std() for resize in ("clean", "pytorch-fid"))
    assert clean < 0.02 < 0.1 < plain


def test_batches_hold_every_image_once():
    images = [np.full((1, 1, 3), i) for i in range(7)]
    assert [len(batch) for batch in batched(images, 3)] == [3, 3, 1]
    assert [int(image[0, 0, 0]) for batch in batched(images, 3) for image in batch] == list(range(7))


def random_weights(path) -> str:
    """A checkpoint of Inception's shapes; returns its hash."""
    torch.manual_seed(0)
    network = inception.Inception()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(network.whole.state_dict(), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_network_equals_pytorch_fids(monkeypatch, tmp_path):
    from pytorch_fid import inception as theirs

    path = tmp_path / "weights.pth"
    ours = inception.load_inception(str(path), random_weights(path)).eval()
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: torch.load(path, weights_only=True))
    expected = theirs.InceptionV3([3], resize_input=False, normalize_input=False).eval()
    images = torch.rand(2, 3, 299, 299) * 2 - 1
    with torch.inference_mode():
        found, wanted = ours(images), expected(images)[0].flatten(1)
    assert found.shape == (2, 2048)
    assert torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert wanted.std() > 0.01


def test_weights_that_are_not_the_pinned_ones_end_in_one_line(monkeypatch, tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(ValueError, match=r"fid\.weights: no file .*weights\.pth"):
        inception.load_inception(str(path))
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"expected 6726825d0af5… \(pt_inception-2015-12-05") as caught:
        inception.load_inception(str(path))
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match="is not Inception's weights") as caught:
        inception.load_inception(str(path), hashlib.sha256(path.read_bytes()).hexdigest())
    assert "\n" not in str(caught.value)


def test_without_a_network_the_line_says_where_to_put_the_weights(monkeypatch, tmp_path):
    def no_network(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(ValueError, match=r"fid\.network: .*put pt_inception-2015-12-05-6726825d\.pth into"):
        inception.load_inception()
