"""A tuned vision transformer out of its folder; needs torch, timm and safetensors, which timm brings.

In: a folder with config.json and model.safetensors. Out: a model from images (B, 3, H, W) to logits (B, C). Where the
config names no prompts the model is timm's own, and timm.create_model("local-dir:FOLDER", pretrained=True) gives the
same. Deep prompts (Jia et al., 2022) have no form in timm: they are tokens overwritten before every block, as here.

    python model.py FOLDER
"""

import json
import sys
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file


class Prompted(torch.nn.Module):
    """`prompts` is (L, P, D): P tokens of width D before each of the first L blocks."""

    def __init__(self, vit, prompts_LPD, in_pool):
        super().__init__()
        self.vit, self.prompts, self.in_pool = vit, torch.nn.Parameter(prompts_LPD), in_pool
        self.pretrained_cfg = vit.pretrained_cfg

    def forward(self, images_BCHW):
        vit, length = self.vit, self.prompts.shape[1]
        x_BND = vit.norm_pre(vit._pos_embed(vit.patch_embed(images_BCHW)))
        for layer, block in enumerate(vit.blocks):
            if layer < len(self.prompts):
                old = 1 if layer == 0 else 1 + length
                prompts_BPD = self.prompts[layer].expand(len(x_BND), -1, -1)
                x_BND = torch.cat([x_BND[:, :1], prompts_BPD, x_BND[:, old:]], dim=1)
            x_BND = block(x_BND)
        x_BND = vit.norm(x_BND)
        first = 1 if self.in_pool else 1 + length
        feature_BD = x_BND[:, 0] if vit.global_pool == "token" else x_BND[:, first:].mean(1)
        return vit.head(vit.fc_norm(feature_BD))


def load(folder):
    """The model in evaluation mode; its label names, size, mean and std are in `model.pretrained_cfg`."""
    folder = Path(folder).resolve()
    prompts = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("prompts")
    if prompts is None:
        return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    state = load_file(folder / "model.safetensors")
    tokens_LPD = state.pop("prompts")
    vit = timm.create_model(f"local-dir:{folder}", pretrained=False)
    vit.load_state_dict(state)
    return Prompted(vit, tokens_LPD, prompts["in_pool"]).eval()


if __name__ == "__main__":
    print(load(sys.argv[1]))
