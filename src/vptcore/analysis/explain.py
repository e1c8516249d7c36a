"""Grad-CAM and integrated gradients of full fine-tuning beside VPT, on images that one gets right and the other wrong.

In: a job slice, the arrays, the two cells' predictions and tuned states of one seed. Out: rows of kind `explain`: the
image, both predictions, both maps and both attributions. Images are chosen by rule from the stored predictions: where
only VPT is right, then where only full fine-tuning is, each by the confidence of the one that is right.

The layer is the first norm of the last block (the authors' encoder.layer[11].attention_norm); the class explained is
the one predicted. Only patch tokens enter: prompts are left out because they are other tensors, not by counting.
Two forms of Grad-CAM by name (`CAMS`): plain, and smoothed twice as the authors draw it.
Integrated gradients are captum's, from the normalised input 0 (as the authors'), and their error is kept with them.

    python -m pytest tests/vptcore/analysis/test_explain.py
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from captum.attr import IntegratedGradients
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from vptcore.analysis.examples import png
from vptcore.jobs.device import device_name, open_device, room_on
from vptcore.jobs.provenance import provenance
from vptcore.models.methods import Tuned, build, load_tuned, spec_of
from vptcore.records import read_rows, write_rows
from vptcore.training import stage

STEPS = 50
# What the authors' maps multiply a normalised image by: ttach's in pytorch-grad-cam.
FACTORS = (0.9, 1.0, 1.1)
# Pixels a side that are kept of an attribution: it is printed on two centimetres.
MOST_PIXELS = 112
CASES = {"vpt_only": ("vpt", "full"), "full_only": ("full", "vpt")}


def pick_images(predictions: Mapping[str, pd.DataFrame], count: int) -> pd.DataFrame:
    """Up to `count` images per case: columns row, label, case. Ties in confidence go to the earlier image."""
    both = predictions["vpt"].merge(
        predictions["full"], on=["row", "label"], suffixes=("_vpt", "_full"), validate="one_to_one"
    )
    picks = []
    for case, (right, wrong) in CASES.items():
        fits = both[(both[f"prediction_{right}"] == both["label"]) & (both[f"prediction_{wrong}"] != both["label"])]
        fits = fits.sort_values([f"confidence_{right}", "row"], ascending=[False, True], kind="stable").head(count)
        picks.append(fits[["row", "label"]].assign(case=case))
    return pd.concat(picks, ignore_index=True)


def grad_cam(model: Tuned, images_BCHW: Tensor, targets_B: Tensor) -> Tensor:
    """Maps (B, h, w) in [0, 1] of the class scores `targets_B` on the patch grid, at the first norm of the last block.

    Channel weights are the mean gradient over the patches; the map is the positive part of the weighted sum
    (Selvaraju et al. 2017), scaled by its own maximum.
    """
    weighted_BND, grid = _weighted_patches(model, images_BCHW, targets_B)
    return _scaled(weighted_BND.sum(-1)).view(-1, *grid)


def smoothed_grad_cam(model: Tuned, images_BCHW: Tensor, targets_B: Tensor | None = None) -> Tensor:
    """Maps (B, h, w) in [0, 1] as the authors draw them: `aug_smooth` and `eigen_smooth` of pytorch-grad-cam
    (VPT-or-FT trainer.py:1287).

    The mean over the image and its mirror, each with its normalised values times FACTORS. Of each the map is the
    positive part of the first principal component of the patches' weighted channels, scaled by its maximum. The class
    is the one that each of the six is taken for, as theirs is, whatever `targets_B` says. Which side of a component is
    positive is LAPACK's choice there; here it is the side that speaks for the class.
    """
    maps = []
    for mirrored in (False, True):
        for factor in FACTORS:
            seen_BCHW = factor * (images_BCHW.flip(-1) if mirrored else images_BCHW)
            weighted_BND, grid = _weighted_patches(model, seen_BCHW, None)
            map_Bhw = _scaled(_first_component(weighted_BND)).view(-1, *grid)
            maps.append(map_Bhw.flip(-1) if mirrored else map_Bhw)
    return torch.stack(maps).mean(0)


def _first_component(weighted_BND: Tensor) -> Tensor:
    """(B, N): each patch along the direction in which the patches differ most, to the side of their channels' sum."""
    centred_BND = weighted_BND - weighted_BND.mean(1, keepdim=True)
    direction_B1D = torch.linalg.svd(centred_BND, full_matrices=False).Vh[:, :1]
    along_BN = (centred_BND * direction_B1D).sum(-1)
    speaks_B1 = (along_BN * centred_BND.sum(-1)).sum(1, keepdim=True)
    return torch.where(speaks_B1 < 0, -along_BN, along_BN)


def _scaled(maps_BN: Tensor) -> Tensor:
    """The positive part over its maximum; 0 where nothing is positive."""
    positive_BN = maps_BN.clamp(min=0)
    return positive_BN / positive_BN.amax(1, keepdim=True).clamp(min=torch.finfo(maps_BN.dtype).tiny)


def _weighted_patches(model: Tuned, images_BCHW: Tensor, targets_B: Tensor | None) -> tuple[Tensor, tuple[int, int]]:
    """(B, N, D) patch tokens, each channel times its mean gradient, and their grid; without targets of the class that
    each image is taken for."""
    norm, (h, w) = _last_norm(model.encoder)
    seen: list[Tensor] = []
    handle = norm.register_forward_hook(lambda module, inputs, output: seen.append(output))
    try:
        with torch.enable_grad():
            logits_BC = model(images_BCHW.detach().requires_grad_(True))
            classes_B = logits_BC.argmax(1) if targets_B is None else targets_B
            score = logits_BC.gather(1, classes_B[:, None]).sum()
            tokens = _tokens(seen)
            (gradient,) = torch.autograd.grad(score, [tokens])
    finally:
        handle.remove()
    # Patches come last: after the class token, and after shallow prompts.
    gradient_BND, tokens_BND = (t.flatten(1, -2)[:, -h * w :] for t in (gradient, tokens.detach()))
    return gradient_BND.mean(1, keepdim=True) * tokens_BND, (h, w)


CAMS = {"plain": grad_cam, "authors": smoothed_grad_cam}


def integrated_gradients(
    model: Tuned, images_BCHW: Tensor, targets_B: Tensor, steps: int = STEPS
) -> tuple[Tensor, Tensor, Tensor]:
    """(attributions (B, C, H, W), delta (B), difference (B)) of the class scores `targets_B`, by captum.

    Sundararajan et al. 2017: along the path from an input of zeros, which is the mean image, in `steps` points of Gauss
    and Legendre. `difference` is the score's rise along it, `delta` the attributions' sum minus that: 0 but for the
    error of the integration.
    """
    attribution = IntegratedGradients(model)
    values, delta = attribution.attribute(
        images_BCHW,
        target=targets_B,
        n_steps=steps,
        internal_batch_size=4 * len(images_BCHW),
        return_convergence_delta=True,
    )
    return values.detach(), delta.detach(), values.detach().flatten(1).sum(1) - delta.detach()


def small_absolute(values_BCHW: Tensor) -> Tensor:
    """(B, h, w): absolute attributions added over channels, averaged over blocks to at most MOST_PIXELS a side."""
    sums_BHW = values_BCHW.abs().sum(1)
    factor = -(-max(sums_BHW.shape[-2:]) // MOST_PIXELS)
    return F.avg_pool2d(sums_BHW[:, None], factor, ceil_mode=True)[:, 0] if factor > 1 else sums_BHW


def _last_norm(encoder: nn.Module) -> tuple[nn.Module, tuple[int, int]]:
    """The first norm of the last block, and the grid of patches that it sees."""
    if hasattr(encoder, "swin"):
        block = encoder.swin.layers[-1].blocks[-1]
        return block.norm1, block.input_resolution
    return encoder.vit.blocks[-1].norm1, encoder.vit.patch_embed.grid_size


def _tokens(seen: list[Tensor]) -> Tensor:
    """The tokens among what the norm saw: a Swin's are the grid (B, h, w, D); a ViT block norms its prompts second."""
    return next((output for output in seen if output.ndim == 4), seen[0])


def run(job: Mapping, inputs: Mapping[str, str], outputs: Mapping[str, str], say=print) -> str:
    """Choose images, draw both maps for each, and write the rows."""
    started = time.time()
    models = job["models"]
    device = open_device(models["vpt"]["device"], say)
    parts = stage.Parts(models["vpt"], inputs["images"], inputs["index"], inputs["splits"], device)
    predictions = {m: _of_seed(inputs[f"predictions_{m}"], job["seed"]) for m in models}
    picks = pick_images(predictions, job["images"])
    rows = []
    with room_on(device):
        for method, slice_ in models.items():
            state, mine = inputs[f"model_{method}"], predictions[method]
            rows += _explain(method, slice_, state, picks, mine, parts, job["seed"], device, job["cam"])
    rows.sort(key=lambda row: (row["pick"], row["method"]))
    write_rows(outputs["rows"], "explain", rows, provenance(job, inputs, started=started, device=device_name(device)))
    counts = picks["case"].value_counts()
    return (
        f"{len(picks)} images: only VPT right {counts.get('vpt_only', 0)}, only FT right {counts.get('full_only', 0)}"
    )


def _of_seed(path: str, seed: int) -> pd.DataFrame:
    rows = read_rows(path, "predictions")
    return rows.loc[rows["seed"] == seed, ["row", "label", "prediction", "confidence"]]


def _explain(
    method: str,
    slice_: Mapping,
    state: str,
    picks: pd.DataFrame,
    predicted: pd.DataFrame,
    parts: stage.Parts,
    seed: int,
    device,
    cam: str,
) -> list[dict]:
    if picks.empty:
        return []
    model = load_tuned(build(spec_of(slice_), seed=seed), load_file(state)).to(device).eval()
    mine = picks.merge(predicted, on=["row", "label"], how="left", validate="one_to_one")
    stored = parts.array[mine["row"].to_numpy()]
    inputs = parts.normalise(torch.from_numpy(np.ascontiguousarray(stored)).to(device))
    targets = torch.tensor(mine["prediction"].to_numpy(), device=device)
    maps = CAMS[cam](model, inputs, targets).cpu().numpy()
    values, deltas, differences = integrated_gradients(model, inputs, targets)
    sums = small_absolute(values).float().cpu().numpy()
    return [
        {
            "pick": pick, "row": int(r.row), "label": int(r.label), "case": r.case, "method": method,
            "prediction": int(r.prediction), "confidence": float(r.confidence), "target": int(r.prediction),
            "cam": cam, "layer": "blocks[-1].norm1", "grid_h": maps.shape[1], "grid_w": maps.shape[2],
            "map": maps[pick].ravel().tolist(), "image_png": png(stored[pick]),
            "ig_h": sums.shape[1], "ig_w": sums.shape[2], "ig_steps": STEPS, "ig": sums[pick].ravel().tolist(),
            "ig_delta": float(deltas[pick]), "ig_difference": float(differences[pick]),
        }
        for pick, r in enumerate(mine.itertuples())
    ]  # fmt: skip
