"""Optimizers as the methods need them: SGD and AdamW on the parameters that train, and SGD for a stack of heads.

In: a model, a recipe (or one per configuration of a stack). Out: an optimizer whose `set_lr` takes one learning rate
per configuration.

    python -m pytest tests/vptcore/training/test_optimizers.py
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vptcore.data.tensors import upload
from vptcore.models.outline import places_of
from vptcore.training.recipe import Recipe

EPS = 1e-6  # of AdamW, as in the authors' own class


def make_optimizer(model: nn.Module, recipe: Recipe | Sequence[Recipe]):
    """The optimizer of `recipe` over the parameters of `model` that require gradients."""
    if not isinstance(recipe, Recipe):
        return StackedSGD(model, recipe)
    fused = all(p.dtype.is_floating_point for p in model.parameters())
    groups = parameter_groups(model, recipe)
    device = next(model.parameters()).device
    if recipe.optimizer == "sgd":
        return _Sgd(groups, lr=recipe.scaled_lr, momentum=recipe.momentum, fused=fused).on(device)
    make, on_gpu = _AdamW, device.type == "cuda"
    if recipe.adamw == "authors":
        make = _AuthorsAdamWOnGpu if on_gpu else _AuthorsAdamW
    made = make(groups, lr=recipe.scaled_lr, betas=(0.9, 0.999), eps=EPS, fused=fused, capturable=on_gpu)
    return made.on(device)


def parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict]:
    """Two groups: with and without weight decay; under `layer_decay` two for every block, each with its `scale`.

    Under SGD everything but the head's bias is decayed (KMnP/vpt src/solver/optimizer.py:60-62). Under AdamW biases
    are not, Swin's relative position biases among them (optimizer.py:36-47); norm weights are, as in the authors'
    code, unless `decay_norms` is false (their list of exceptions names modules that the model does not have).
    """
    named = dict(model.named_parameters())
    groups: dict[tuple, dict] = {}
    for place, parameter in zip(places_of(list(named)), named.values(), strict=True):
        if not parameter.requires_grad:
            continue
        spared = _is_spared(place.name, recipe)
        # The head and the last norm learn at the full rate, the last block at `layer_decay` of it.
        scale = recipe.layer_decay ** (place.blocks - place.block) if place.blocks else 1.0
        group = {"params": [], "weight_decay": 0.0 if spared else recipe.weight_decay, "scale": scale}
        groups.setdefault((spared, scale), group)["params"].append(parameter)
    return [groups[key] for key in sorted(groups)]


def _is_spared(name: str, recipe: Recipe) -> bool:
    if recipe.optimizer == "sgd":
        # A probe's head is the whole model: its bias is called "bias" and nothing more.
        return name in ("bias", "head.bias") or name.endswith(".head.bias")
    is_norm_weight = "norm" in name.rsplit(".", 2)[-2:][0] and name.endswith("weight")
    return "bias" in name or (is_norm_weight and not recipe.decay_norms)


class _OneLr:
    """On a GPU the learning rate is a tensor there, so that a captured step reads what `set_lr` wrote."""

    def on(self, device: torch.device):
        if device.type == "cuda":
            for group in self.param_groups:
                group["lr"] = torch.tensor(group["lr"], device=device)
        return self

    def set_lr(self, lrs: Sequence[float]) -> None:
        for group in self.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lrs[0] * group["scale"])
            else:
                group["lr"] = lrs[0] * group["scale"]

    def start_anew(self, model: nn.Module, recipe: Recipe) -> None:
        """As newly made for a recipe of another lr and weight decay, its state zero where it is."""
        for group, new in zip(self.param_groups, parameter_groups(model, recipe), strict=True):
            group["weight_decay"] = new["weight_decay"]
        for tensor in self.tensors():
            tensor.zero_()

    def tensors(self) -> list[Tensor]:
        """The state that steps change."""
        return [v for state in self.state.values() for v in state.values() if isinstance(v, Tensor)]

    def load_state_dict(self, state: dict) -> None:
        super().load_state_dict(state)
        for group in self.param_groups:
            device = group["params"][0].device
            group.update({k: v.to(device) for k, v in group.items() if isinstance(v, Tensor)})


class _Sgd(_OneLr, torch.optim.SGD):
    """torch's SGD with `set_lr`."""


class _AdamW(_OneLr, torch.optim.AdamW):
    """torch's AdamW with `set_lr`."""


class _AuthorsAdamW(_AdamW):
    """AdamW with eps added before the bias correction and weights decayed after the step (KMnP/vpt
    src/solver/optimizer.py:200-235).

    Theirs is w -= r u / (sqrt(v) + eps), then w -= lr d w, with r = sqrt(1 - beta2^t) and u, v, d as usual; torch's is
    w -= lr d w, then w -= u / (sqrt(v) / r + eps). They are one with eps / r for eps, lr (1 - lr d) for lr and
    d / (1 - lr d) for d. `steps` counts t and is saved with the groups.
    """

    def on(self, device: torch.device):
        for group in self.param_groups:
            group["steps"] = 0
        return super().on(device)

    def start_anew(self, model: nn.Module, recipe: Recipe) -> None:
        super().start_anew(model, recipe)
        for group in self.param_groups:
            group["steps"] = 0

    def step(self, closure=None):
        asked = [(group["lr"], group["weight_decay"]) for group in self.param_groups]
        for group, (lr, decay) in zip(self.param_groups, asked, strict=True):
            group["steps"] += 1
            group["eps"] = EPS / math.sqrt(1 - group["betas"][1] ** group["steps"])
            group["lr"], group["weight_decay"] = lr * (1 - lr * decay), decay / (1 - lr * decay)
        loss = super().step(closure)
        for group, (lr, decay) in zip(self.param_groups, asked, strict=True):
            group["lr"], group["weight_decay"] = lr, decay
        return loss


class _AuthorsAdamWOnGpu(_AdamW):
    """The same, of operations that a captured step can repeat: `taken` counts the steps on the device.

    torch's kernel divides by its own bias corrections; its `step` is set so high that they are 1, and ours,
    r / (1 - beta1^t), goes into the learning rate.
    """

    _DONE = 1e8  # beta^t is 0 there, and one more step adds nothing

    def on(self, device: torch.device):
        for group in self.param_groups:
            group["lr"] = torch.tensor(group["lr"], device=device)
            group["taken"] = torch.zeros((), dtype=torch.float64, device=device)
            for weight in group["params"]:
                self.state[weight] = {
                    "step": torch.zeros((), device=device),
                    "exp_avg": torch.zeros_like(weight),
                    "exp_avg_sq": torch.zeros_like(weight),
                }
        self._take_over()
        return self

    def start_anew(self, model: nn.Module, recipe: Recipe) -> None:
        super().start_anew(model, recipe)
        self._take_over()

    def _take_over(self) -> None:
        """What torch's kernel is not to do: decay, and count."""
        for group in self.param_groups:
            group["decay"], group["weight_decay"] = group["weight_decay"], 0.0
        for state in self.state.values():
            state["step"].fill_(self._DONE)

    def tensors(self) -> list[Tensor]:
        return [*super().tensors(), *(group["taken"] for group in self.param_groups)]

    @torch.no_grad()
    def step(self, closure=None):
        asked = [group["lr"] for group in self.param_groups]
        for group, lr in zip(self.param_groups, asked, strict=True):
            one, two = group["betas"]
            group["taken"] += 1
            corrected = (1 - two ** group["taken"]).sqrt() / (1 - one ** group["taken"])
            group["lr"] = (lr * corrected).to(lr.dtype)
        super().step(closure)
        for group, lr in zip(self.param_groups, asked, strict=True):
            group["lr"] = lr
            if group["decay"]:
                # Not times 1 - lr d, which in fp32 would round a small decay away.
                decays = torch._foreach_mul(group["params"], lr * group["decay"])
                torch._foreach_sub_(group["params"], decays)


class StackedSGD:
    """SGD with momentum for parameters (G, ...), where each of the G configurations has its own lr and weight decay.

    The step is torch's: buffer = momentum x buffer + (gradient + decay x weight); weight -= lr x buffer.
    """

    def __init__(self, model: nn.Module, recipes: Sequence[Recipe]) -> None:
        self.momentum = recipes[0].momentum
        self.param_groups: list[dict] = []  # as torch's optimizers have; lr and decay are tensors here
        self.parameters = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        self.buffers = [torch.zeros_like(parameter) for _, parameter in self.parameters]
        some = self.parameters[0][1]
        self.decay_G = torch.tensor([r.weight_decay for r in recipes], dtype=some.dtype, device=some.device)
        self.lr_G = torch.zeros_like(self.decay_G)

    def set_lr(self, lrs: Sequence[float]) -> None:
        self.lr_G.copy_(upload(torch.tensor(lrs, dtype=self.lr_G.dtype), self.lr_G.device))

    def start_anew(self, model: nn.Module, recipes: Sequence[Recipe]) -> None:
        """As newly made for as many recipes of other lrs and weight decays."""
        decays = torch.tensor([r.weight_decay for r in recipes], dtype=self.decay_G.dtype)
        self.decay_G.copy_(upload(decays, self.decay_G.device))
        for buffer in self.buffers:
            buffer.zero_()

    def tensors(self) -> list[Tensor]:
        """The state that steps change."""
        return self.buffers

    def zero_grad(self, set_to_none: bool = True) -> None:
        for _, parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        for (name, weight), buffer in zip(self.parameters, self.buffers, strict=True):
            shape = (-1, *[1] * (weight.dim() - 1))
            change = weight.grad
            if not name.endswith("bias"):
                change = change + self.decay_G.view(shape) * weight
            buffer.mul_(self.momentum).add_(change)
            weight.sub_(self.lr_G.view(shape) * buffer)

    def state_dict(self) -> dict:
        return {"buffers": self.buffers}

    def load_state_dict(self, state: dict) -> None:
        for buffer, value in zip(self.buffers, state["buffers"], strict=True):
            buffer.copy_(value)
