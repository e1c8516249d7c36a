"""The seven ways to tune: one row each. What a method is stands here; how it is built stands in `methods`.

python -m pytest tests/models
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """`title` as the paper prints it, `colour` in every figure (Okabe-Ito: told apart by colour-blind eyes and in
    print).

    `probe`: the backbone only computes features, which are cached. `needs`: the method whose tuned model it starts
    from.
    """

    id: str
    title: str
    colour: str
    trains_backbone: bool = False
    prompts: bool = False
    probe: bool = False
    needs: str = ""


METHODS: dict[str, Method] = {
    method.id: method
    for method in (
        Method("full", "FT", "#D55E00", trains_backbone=True),
        Method("vpt", "VPT", "#0072B2", prompts=True),
        Method("mixed", "Mixed", "#009E73", trains_backbone=True, prompts=True),
        Method("ft_then_pt", "FT-then-PT", "#CC79A7", prompts=True, needs="full"),
        Method("linear", "Linear", "#999999", probe=True),
        Method("mlp", "MLP probe", "#56B4E9", probe=True),
        Method("lora", "LoRA", "#E69F00"),
    )
}
