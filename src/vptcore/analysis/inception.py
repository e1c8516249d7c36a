"""pytorch-fid's Inception network as a feature extractor: images (B, 3, 299, 299) in [-1, 1] to features (B, 2048).

Weights: pt_inception-2015-12-05, fetched once by pytorch-fid into torch's hub cache (Apache-2.0). They are not
torchvision's, with which the distance is another number.
"""

from __future__ import annotations

from urllib.error import URLError

from torch import Tensor, nn


class _Features(nn.Module):
    def __init__(self, inception: nn.Module):
        super().__init__()
        self.inception = inception

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.inception(images_BCHW)[0].flatten(1)


def load_inception() -> nn.Module:
    """The network with its weights; without a network and a cached file it ends in one line."""
    from pytorch_fid.inception import InceptionV3

    try:
        network = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[2048]], resize_input=False, normalize_input=False)
    except (URLError, OSError) as error:
        raise ValueError(
            f"fid.network: the Inception weights cannot be fetched ({type(error).__name__}); put "
            f"pt_inception-2015-12-05-6726825d.pth into "
            "torch's hub cache (~/.cache/torch/hub/checkpoints), or choose fid.network: backbone"
        ) from None
    return _Features(network)
