"""Images to features for the Fréchet distance: the network, and the resize before it.

In: a job slice and uint8 images as the study's methods see them. Out: features (B, D) in float32. The network is
pytorch-fid's Inception, or the main backbone, whose name is then in the row and under every number made from it.

Shapes: B batch, N images, H W source, S input size, D dimensions of the feature.

    python -m pytest tests/vptcore/analysis/test_features.py
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from vptcore.analysis import inception
from vptcore.data.tensors import Normalise
from vptcore.jobs.device import open_device, room_on
from vptcore.models.backbones import HALF
from vptcore.models.methods import build_encoder, spec_of
from vptcore.training import stage

BATCH = 64
RESIZES = ("pytorch-fid", "clean")


@dataclass(frozen=True)
class Extractor:
    """A network from images to features, how it wants them, and its name: 'inception' or the backbone's id."""

    network: nn.Module
    normalise: Normalise
    resize: str
    name: str
    device: torch.device

    @torch.inference_mode()
    def features(self, batches: Iterable[Iterable[np.ndarray]]) -> Iterator[np.ndarray]:
        """Batches of uint8 images (H, W, 1 or 3), each of its own size, to features (B, D) in float32."""
        for images in batches:
            x_BCHW = torch.cat([input_of(image_HWC, self.normalise.size, self.resize) for image_HWC in images])
            mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (self.normalise.mean, self.normalise.std))
            with room_on(self.device):
                features_BD = self.network(((x_BCHW - mean) / std).to(self.device)).float().cpu().numpy()
            yield features_BD


def extractor_of(job: Mapping) -> Extractor:
    """The network of a slice, on its device, in plain float32: TF32 and half precision would show in the distance."""
    device = open_device(job["device"])
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if job["network"] == "inception":
        network, normalise = inception.load_inception(job["weights"]), Normalise(inception.SIZE, HALF, HALF)
    else:
        model_job = {**job, "method": "linear", "classes": 2, "prompt_length": 0, "deep": True}
        network, normalise = build_encoder(spec_of(model_job), seed=0), stage.normalise_of(job)
    with room_on(device):
        network = network.to(device).eval()
    return Extractor(network, normalise, job["resize"], name_of(job), device)


def name_of(job: Mapping) -> str:
    return job["backbone"]["id"] if job["network"] == "backbone" else "inception"


def input_of(image_HWC: np.ndarray, size: int, resize: str) -> Tensor:
    """(1, 3, S, S) on the [0, 1] scale, never rounded back to 8 bits.

    `pytorch-fid`: bilinear between pixel centres without antialias, as its network resizes. `clean`: Pillow's bicubic
    with antialias, channel by channel in float (Parmar et al., 2022).
    """
    image_HW3 = np.broadcast_to(image_HWC, (*image_HWC.shape[:2], 3))
    if resize == "clean":
        planes = [_bicubic(image_HW3[:, :, channel], size) for channel in range(3)]
        return torch.from_numpy(np.stack(planes)[None] / 255)
    x_1CHW = torch.from_numpy(np.array(image_HW3)).permute(2, 0, 1)[None].float() / 255
    if x_1CHW.shape[-2:] == (size, size):
        return x_1CHW
    return F.interpolate(x_1CHW, (size, size), mode="bilinear", align_corners=False)


def _bicubic(plane_HW: np.ndarray, size: int) -> np.ndarray:
    picture = Image.fromarray(plane_HW.astype(np.float32))
    return np.asarray(picture.resize((size, size), resample=Image.Resampling.BICUBIC))


def batched(images: Iterable[np.ndarray], size: int = BATCH) -> Iterator[list[np.ndarray]]:
    batch = []
    for image in images:
        batch.append(image)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
