"""A model's folder gets model.onnx beside its weights, checked against torch before it takes its place.

In: a folder that `models.export` wrote. Out: `model.onnx`, input `images` (B, 3, H, W) normalised as config.json says,
output `logits` (B, C), any B. Needs the packages onnx, onnxscript and onnxruntime (`pip install 'vptcore[onnx]'`).

    vptcore export results/demo vpt/digits/160 model --onnx
"""

from __future__ import annotations

import contextlib
import io
import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from vptcore.models import portable
from vptcore.records import replacing

NEEDS = ("onnx", "onnxscript", "onnxruntime")
AGREES = 1e-4


def write_onnx(folder: Path) -> str:
    """Write it; returns a line. Raises ValueError (one line) where a package is missing or the logits differ."""
    if missing := [name for name in NEEDS if find_spec(name) is None]:
        raise ValueError(f"--onnx: needs {', '.join(missing)}; pip install 'vptcore[onnx]'")
    import onnxruntime

    model = portable.load(folder)
    images_BCHW = torch.randn(2, *model.pretrained_cfg["input_size"], generator=torch.Generator().manual_seed(0))
    with replacing(folder / "model.onnx") as beside:
        # Of torch's ways to attend, the plain one: the others' strides end in a view that cannot be exported.
        plain = sdpa_kernel(SDPBackend.MATH)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), plain:
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model, (images_BCHW,), str(beside), input_names=["images"], output_names=["logits"], dynamo=True,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), external_data=False, verbose=False,
            )  # fmt: skip
        session = onnxruntime.InferenceSession(str(beside), providers=["CPUExecutionProvider"])
        three_BCHW = torch.randn(3, *images_BCHW.shape[1:], generator=torch.Generator().manual_seed(1))
        (logits_BC,) = session.run(["logits"], {"images": three_BCHW.numpy()})
        with torch.inference_mode():
            difference = float((torch.from_numpy(logits_BC) - model(three_BCHW)).abs().max())
        if difference > AGREES:
            raise ValueError(
                f"{folder}: onnxruntime gives logits that differ by {difference:.2g}; no model.onnx was kept"
            )
    size = (folder / "model.onnx").stat().st_size
    return f"{folder / 'model.onnx'}: {size / 1e6:,.1f} MB, logits within {difference:.0e}"
