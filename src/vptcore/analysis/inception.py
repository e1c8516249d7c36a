"""pytorch-fid's Inception network as a feature extractor: images (B, 3, 299, 299) in [-1, 1] to features (B, 2048).

Weights: pt_inception-2015-12-05 (Apache-2.0, ported from TensorFlow's), from a path or fetched once into torch's hub
cache; in both cases only the file with the pinned SHA-256 is used. They are not torchvision's, with which the distance
is another number.

    python -m pytest tests/vptcore/analysis/test_features.py
"""

from __future__ import annotations

import pickle
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from vptcore.records import file_sha256

WIDTH, SIZE = 2048, 299
URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


class Inception(nn.Module):
    """torchvision's Inception v3 with the blocks that pytorch-fid puts in place of its own, up to the last pooling."""

    def __init__(self) -> None:
        super().__init__()
        from pytorch_fid.inception import FIDInceptionA, FIDInceptionC, FIDInceptionE_1, FIDInceptionE_2
        from torchvision.models import inception_v3

        whole = inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
        whole.Mixed_5b = FIDInceptionA(192, pool_features=32)
        whole.Mixed_5c = FIDInceptionA(256, pool_features=64)
        whole.Mixed_5d = FIDInceptionA(288, pool_features=64)
        for name, channels in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            setattr(whole, f"Mixed_{name}", FIDInceptionC(768, channels_7x7=channels))
        whole.Mixed_7b, whole.Mixed_7c = FIDInceptionE_1(1280), FIDInceptionE_2(2048)
        whole.fc = nn.Linear(WIDTH, 1008)
        self.whole = whole

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Every module of the network in its order but the class head; auxiliary logits are not built."""
        x = images_BCHW
        for name, module in self.whole.named_children():
            if name in ("dropout", "fc"):
                break
            x = module(x)
        return x.flatten(1)


def load_inception(path: str = "", sha256: str = SHA256) -> nn.Module:
    """The network with its weights. A file that is not the pinned one, or cannot be had, ends in one line."""
    file = Path(path) if path else _fetched()
    if not file.is_file():
        raise ValueError(f"fid.weights: no file {file}; expected pt_inception-2015-12-05-6726825d.pth from {URL}")
    found = file_sha256(file)
    if found != sha256:
        raise ValueError(
            f"fid.weights: {file} has SHA-256 {found[:12]}…, expected {sha256[:12]}… (pt_inception-2015-12-05, from "
            f"{URL}); other weights give another distance"
        )
    network = Inception()
    try:
        network.whole.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except (RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(f"fid.weights: {file} is not Inception's weights ({str(error).splitlines()[0]})") from None
    return network


def _fetched() -> Path:
    """The file in torch's hub cache, downloaded if it is not there."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / URL.rsplit("/", 1)[1]
    if file.is_file():
        return file
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(URL, str(file), hash_prefix=SHA256, progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise ValueError(
            f"fid.network: the Inception weights cannot be fetched ({type(error).__name__}); put {file.name} into "
            f"{file.parent}, name its path in fid.weights, or choose fid.network: backbone"
        ) from None
    return file
