"""The adapters of the library peft: which can be put into an encoder of images, and why the others cannot.

In: what a config says below `peft`. Out: one line for what cannot train. A test holds the two tables to the types that
the installed peft has, so that a new one shows up; peft itself is not imported here.

    python -m pytest tests/vptcore/models/test_peft_types.py
"""

from __future__ import annotations

from collections.abc import Mapping

# Each of them trains on every family of models that prompts can be put into.
TRAINS = (
    "ADALORA", "ADAMSS", "BEFT", "BOFT", "C3A", "DEFT", "DELORA", "FOURIERFT", "FROD", "GLORA", "GRALORA", "HIRA",
    "HRA", "IA3", "LN_TUNING", "LOHA", "LOKR", "LORA", "MISS", "OFT", "OSF", "PEANUT", "PSOFT", "PVERA", "RANDLORA",
    "ROAD", "SHIRA", "SUPERTUNING", "TINYLORA", "UNILORA", "VBLORA", "VERA", "WAVEFT",
)  # fmt: skip
_TOKENS = "it adds tokens to a language model's input; the prompts of an encoder of images are the method vpt"
REFUSED = {
    "PROMPT_TUNING": _TOKENS,
    "MULTITASK_PROMPT_TUNING": _TOKENS,
    "P_TUNING": _TOKENS,
    "PREFIX_TUNING": _TOKENS,
    "CPT": _TOKENS,
    "CARTRIDGE": _TOKENS,
    "ADAPTION_PROMPT": "it is made for the attention of Llama, Mistral and GPT-2",
    "TRAINABLE_TOKENS": "it trains rows of a word embedding, which an encoder of images does not have",
    "SHADOW": "it builds a second network beside a decoder of the library transformers",
    "XLORA": "it mixes LoRAs that were trained before it",
    "POLY": "it learns a mix of adapters over several tasks, and a cell has one task; take LORA",
    "LILY": "it weighs its experts by a mean over the batch, so an image's label would depend on the images beside it",
}
# Arguments of peft's config classes that reach what is outside the layers, or need data that peft is not shown here.
ELSEWHERE = {
    "modules_to_save": "the head trains anyway, and everything else stays as it is",
    "target_parameters": "name layers in target_modules",
    "trainable_token_indices": "an encoder of images has no word embedding",
}
NEEDS_DATA = ("eva", "corda", "loftq", "lora_ga")


def refusal(peft: Mapping[str, object]) -> str:
    """The key of a type or an argument that cannot train here, and why; '' for none."""
    kind = peft.get("peft_type", "")
    if kind in REFUSED:
        return f"peft_type: {kind} cannot be put into an encoder of images: {REFUSED[kind]}"
    for name, why in ELSEWHERE.items():
        if peft.get(name):
            return f"{name}: is not used here ({why}); leave it out"
    start = peft.get("init_lora_weights")
    if isinstance(start, str) and start.lower() in NEEDS_DATA:
        return (
            f"init_lora_weights: {start} is computed from images that peft is not shown here; leave it out, or take "
            "pissa, olora or gaussian"
        )
    return ""
