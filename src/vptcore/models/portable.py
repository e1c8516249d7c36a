"""A tuned model out of its folder, and the text of the `model.py` that loads it without this package.

In: a folder with config.json and model.safetensors. Out: a model from images (B, 3, H, W) to logits (B, C). Where the
config has no "model_py" the model is timm's own, as timm.create_model("local-dir:FOLDER", pretrained=True) gives it.
Else "model_py" says what is added to it, and the tensors of that are named "added.".

    python -c 'from model import load; print(load("."))'
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import timm
from safetensors.torch import load_file

from vptcore.models.portable_parts import PARTS

ADD = {add.__name__: add for add in PARTS}
# What a model.py imports where its text has the word.
IMPORTS = (
    ("import json", "json"), ("import math", "math"), ("from pathlib import Path", "Path"),
    ("", ""), ("import timm", "timm"), ("import torch", "torch"), ("import torch.nn.functional as F", r"F\."),
    ("from safetensors.torch import load_file", "load_file"), ("from torch import Tensor, nn", "Tensor"),
    ("from torch import nn", r"nn\.(?!functional)(?s:(?!.*Tensor))"),
)  # fmt: skip
MODEL_PY = '''"""A tuned vision transformer that timm has no form for: `load(FOLDER)` needs torch and timm alone."""

{imports}


{parts}
'''


def load(folder):
    """The model in evaluation mode; its label names, size, mean and std are in `model.pretrained_cfg`."""
    folder = Path(folder).resolve()
    how = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_py")
    if how is None:
        return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    return assemble(folder, ADD[how["add"]])


def assemble(folder, add):
    """The model in evaluation mode; its label names, size, mean and std are in `model.pretrained_cfg`. It is timm's
    with its own weights, and what `add` makes of that with the tensors that timm has no place for."""
    folder = Path(folder).resolve()
    how = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_py"]
    state = load_file(folder / "model.safetensors")
    added = {name.removeprefix("added."): state.pop(name) for name in list(state) if name.startswith("added.")}
    model = timm.create_model(f"local-dir:{folder}", pretrained=False)
    model.load_state_dict(state)
    if how["pool"]:  # another than the model's own
        model.global_pool, model.attn_pool = how["pool"], None
    whole = add(model, added, **how["with"])
    whole.pretrained_cfg = model.pretrained_cfg
    return whole.eval()


def model_py(name):
    """The text of a model.py whose `load` calls `name`, one of `ADD`."""
    parts = "\n\n".join(inspect.getsource(part) for part in (*PARTS[ADD[name]], ADD[name], assemble))
    parts = parts.strip().replace("def assemble(folder, add):", f"def load(folder, add={name}):")
    words = [line for line, word in IMPORTS if not word or re.search(rf"\b{word}", parts)]
    return MODEL_PY.format(imports="\n".join(words), parts=parts)
