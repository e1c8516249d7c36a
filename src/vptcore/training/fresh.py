"""What every run of a job starts from: a probe's features, and a model as it was built, without building it again.

In: a job slice and its images, or a function that builds a model. Out: features in fp32, models on the device, and how
a run was computed, for the metadata of its rows.

    python -m pytest tests/vptcore/training/test_fresh.py
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from vptcore.data.tensors import ImageSet
from vptcore.models.methods import build, build_encoder, build_head, halve_frozen, spec_of
from vptcore.training.fit import History, predict
from vptcore.training.prototypes import start_from_prototypes


def as_features(job: Mapping, *parts: ImageSet) -> tuple[tuple[ImageSet, ...], tuple[int, int]]:
    """Each part turned into the frozen backbone's features in fp32, once, and the probe's parameters: its head's, and
    those with the backbone's."""
    spec = spec_of(job)
    encoder = build_encoder(spec, seed=0).to(parts[0].device)
    head = sum(p.numel() for p in build_head(spec, seed=0).parameters())
    features = tuple(ImageSet(predict(encoder, part, half=False), part.labels_N) for part in parts)
    return features, (head, head + sum(p.numel() for p in encoder.parameters()))


def placed(model: nn.Module, device: torch.device) -> nn.Module:
    """The model on the device; on a GPU what is frozen is kept in bf16."""
    return halve_frozen(model.to(device)) if device.type == "cuda" else model


def built(
    job: Mapping, train: ImageSet, *, seed: int, base_state: Mapping[str, Tensor] | None = None,
    backbone: nn.Module | None = None,
) -> nn.Module:  # fmt: skip
    """The model of a job as training begins: prompts that start from prototypes have seen the train images."""
    spec = spec_of(job)
    model = build(spec, seed=seed, base_state=base_state, backbone=backbone)
    if spec.row.prompts and spec.prompt_init == "prototypes":
        start_from_prototypes(model.to(train.device), train, seed)
    return model


class Models:
    """One model on the device that is handed out again and again as it was built: `make` runs once."""

    def __init__(self, make: Callable[[], nn.Module], device: torch.device):
        self._make, self._device = make, device
        self._model: nn.Module | None = None
        self._built: list[tuple[Tensor, Tensor]] = []

    def fresh(self) -> nn.Module:
        """The model with every weight and buffer as built; only what training changes is copied back."""
        if self._model is None:
            self._model = placed(self._make(), self._device)
            changing = [p for p in self._model.parameters() if p.requires_grad] + list(self._model.buffers())
            self._built = [(tensor, tensor.detach().clone()) for tensor in changing]
        with torch.no_grad():
            for tensor, value in self._built:
                tensor.copy_(value)
        return self._model


class OneModel:
    """One model on the device that takes over each newly built one's values, so that what was captured serves all."""

    def __init__(self, device: torch.device):
        self._device = device
        self._model: nn.Module | None = None

    def take(self, built: nn.Module) -> nn.Module:
        """The model on the device, with every weight and buffer as `built` has it; all are of one kind."""
        if self._model is None:
            self._model = placed(built, self._device)
            return self._model
        with torch.no_grad():
            for own, new in zip(_tensors(self._model), _tensors(built), strict=True):
                own.copy_(new)
        return self._model


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


HOW = ("compiled", "captured")


def how(history: History) -> dict[str, str]:
    """How a run was computed, beside its row until the rows are written."""
    return {name: getattr(history, name) for name in HOW}


def taken_out(rows: list[dict]) -> dict[str, str]:
    """The same, taken out of the rows, for the metadata of their file."""
    return {name: ", ".join(sorted({row.pop(name, "") for row in rows} - {""})) for name in HOW}
