"""Same again: what a job's numbers may depend on beside its config and its seed.

On a CPU a sum that is split among threads adds in another order, so that the last bits follow the number of threads:
the config says it (`threads`, 1 where it says nothing), and neither OMP_NUM_THREADS nor a profile changes it. On a GPU
some kernels add in the order in which their blocks end: `deterministic: true` takes others, or stops where there are
none.

    python -m pytest tests/vptcore/jobs/test_determinism.py
"""

from __future__ import annotations

import os

import torch

# What cuBLAS asks for before its first call (its documentation, "Results reproducibility").
WORKSPACE = ":4096:8"


def settle(threads: int = 1, *, deterministic: bool = False) -> None:
    """Set this process's threads, and under `deterministic` kernels that give the same bits every time."""
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    # Not asked for: it would write every new tensor full of NaN first, a launch for each.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = deterministic
    # Its backward pass adds in no fixed order; the flash kernel has an ordered one and takes its place.
    torch.backends.cuda.enable_mem_efficient_sdp(not deterministic)
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", WORKSPACE)
