"""The GPUs that CUDA_VISIBLE_DEVICES leaves a process, without torch.

In: the variable's value. Out: the devices' ids in their order.

    CUDA_VISIBLE_DEVICES=-1 vptcore run      # on the CPU
"""

from __future__ import annotations

NONE = ("-1", "NoDevFiles")  # what users and schedulers write for no device at all


def ids(value: str) -> list[str]:
    """The ids before the first that is none: CUDA sees no device behind it."""
    found: dict[str, None] = {}
    for word in value.split(","):
        if word.strip() in NONE:
            break
        if word.strip():
            found[word.strip()] = None
    return list(found)
