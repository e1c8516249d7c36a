"""A tiny timm ViT's weights in the layouts of other codebases, written from its attributes, not from its keys."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

HEADS, EACH = 3, 8


def authors_state(vit) -> dict[str, torch.Tensor]:
    """A timm ViT in the names of KMnP/vpt, written from that model's attributes."""
    top, layer = "enc.transformer.embeddings.", "enc.transformer.encoder.layer."
    state = {
        f"{top}cls_token": vit.cls_token,
        f"{top}position_embeddings": vit.pos_embed,
        f"{top}patch_embeddings.weight": vit.patch_embed.proj.weight,
        f"{top}patch_embeddings.bias": vit.patch_embed.proj.bias,
        "enc.transformer.encoder.encoder_norm.weight": vit.norm.weight,
        "enc.transformer.encoder.encoder_norm.bias": vit.norm.bias,
    }
    for i, block in enumerate(vit.blocks):
        for kind in ("weight", "bias"):
            query, key, value = getattr(block.attn.qkv, kind).chunk(3)
            named = {
                "attn.query": query, "attn.key": key, "attn.value": value, "attn.out": getattr(block.attn.proj, kind),
                "attention_norm": getattr(block.norm1, kind), "ffn_norm": getattr(block.norm2, kind),
                "ffn.fc1": getattr(block.mlp.fc1, kind), "ffn.fc2": getattr(block.mlp.fc2, kind),
            }  # fmt: skip
            state |= {f"{layer}{i}.{name}.{kind}": tensor for name, tensor in named.items()}
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def authors_forward(state, images_BCHW):
    """The class token of that state, computed as the paper's equations say, without timm."""

    def get(name):
        return state[f"enc.transformer.{name}"]

    def linear(x, name):
        return F.linear(x, get(f"{name}.weight"), get(f"{name}.bias"))

    def norm(x, name):
        return F.layer_norm(x, (24,), get(f"{name}.weight"), get(f"{name}.bias"), 1e-6)

    patches = F.conv2d(
        images_BCHW, get("embeddings.patch_embeddings.weight"), get("embeddings.patch_embeddings.bias"), stride=4
    )
    x = torch.cat([get("embeddings.cls_token").expand(len(patches), 1, 24), patches.flatten(2).mT], 1)
    x = x + get("embeddings.position_embeddings")
    for i in range(2):
        at = f"encoder.layer.{i}"
        normed = norm(x, f"{at}.attention_norm")
        q, k, v = (
            linear(normed, f"{at}.attn.{p}").unflatten(-1, (HEADS, EACH)).transpose(1, 2)
            for p in ("query", "key", "value")
        )
        mixed = torch.softmax(q @ k.mT / EACH**0.5, -1) @ v
        x = x + linear(mixed.transpose(1, 2).flatten(2), f"{at}.attn.out")
        x = x + linear(F.gelu(linear(norm(x, f"{at}.ffn_norm"), f"{at}.ffn.fc1")), f"{at}.ffn.fc2")
    return norm(x, "encoder.encoder_norm")[:, 0]


def original_arrays(vit) -> dict[str, np.ndarray]:
    """google-research/vision_transformer's names and axes: kernels are (in, out), heads have an axis of their own."""

    def at(tensor):
        return tensor.detach().numpy()

    arrays = {
        "cls": at(vit.cls_token),
        "embedding/kernel": at(vit.patch_embed.proj.weight).transpose(2, 3, 1, 0),
        "embedding/bias": at(vit.patch_embed.proj.bias),
        "Transformer/posembed_input/pos_embedding": at(vit.pos_embed),
        "Transformer/encoder_norm/scale": at(vit.norm.weight),
        "Transformer/encoder_norm/bias": at(vit.norm.bias),
        "pre_logits/kernel": np.zeros((24, 24), np.float32), "pre_logits/bias": np.zeros(24, np.float32),
        "head/kernel": np.zeros((24, 7), np.float32), "head/bias": np.zeros(7, np.float32),
    }  # fmt: skip
    for i, block in enumerate(vit.blocks):
        here = f"Transformer/encoderblock_{i}"
        for number, norm in ((0, block.norm1), (2, block.norm2)):
            arrays |= {
                f"{here}/LayerNorm_{number}/scale": at(norm.weight),
                f"{here}/LayerNorm_{number}/bias": at(norm.bias),
            }
        for number, dense in ((0, block.mlp.fc1), (1, block.mlp.fc2)):
            arrays |= {
                f"{here}/MlpBlock_3/Dense_{number}/kernel": at(dense.weight).T,
                f"{here}/MlpBlock_3/Dense_{number}/bias": at(dense.bias),
            }
        attention = f"{here}/MultiHeadDotProductAttention_1"
        weights, biases = at(block.attn.qkv.weight).reshape(3, 24, 24), at(block.attn.qkv.bias).reshape(3, 24)
        for part, weight, bias in zip(("query", "key", "value"), weights, biases, strict=True):
            arrays |= {
                f"{attention}/{part}/kernel": weight.T.reshape(24, HEADS, EACH),
                f"{attention}/{part}/bias": bias.reshape(HEADS, EACH),
            }
        arrays |= {
            f"{attention}/out/kernel": at(block.attn.proj.weight).T.reshape(HEADS, EACH, 24),
            f"{attention}/out/bias": at(block.attn.proj.bias),
        }
    return arrays
