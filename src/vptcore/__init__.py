"""Visual prompt tuning for timm's vision transformers, and everything that the study around it computes with.

    import timm, vptcore
    model = vptcore.add_prompts(timm.create_model("vit_base_patch16_224", pretrained=True, num_classes=7), length=10)

The names below are loaded when they are first used: `import vptcore` brings no torch.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.3.0"

# name: the module it is in.
_NAMES = {
    "ImageSet": "data.tensors",
    "Normalise": "data.tensors",
    "Recipe": "training.recipe",
    "add_prompts": "models.library",
    "fit": "training.fit",
    "frechet_distance": "analysis.frechet",
    "load_model": "models.library",
    "load_prompts": "models.library",
    "predict": "training.fit",
    "prompt_state_dict": "models.library",
}
__all__ = sorted(_NAMES)


def __getattr__(name: str):
    if name in _NAMES:
        return getattr(import_module(f"vptcore.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'vptcore' has no attribute {name!r}; its names are {', '.join(_NAMES)}")


def __dir__() -> list[str]:
    return [*globals(), *_NAMES]
