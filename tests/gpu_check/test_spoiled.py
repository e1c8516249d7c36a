"""What the check writes NaN into, on the pretended card: all that the allocator holds free, and nothing else."""

import pytest

from tests.vptcore.gpu.conftest import card  # noqa: F401

pytestmark = pytest.mark.slow


def test_all_of_the_memory_that_holds_nothing_is_written(card):  # noqa: F811
    """Two allocations freed, one kept, and a captured step with memory of its own."""
    found = card(
        """
from gpu_check.grid import SMALL
from gpu_check.memory import spoil
from gpu_check.models import Case, images, model, recipe
from vptcore.training.fit import fit
from vptcore.training.prepared import Prepared

prepared, case = Prepared(), Case("vpt")
history = fit(model(case, SMALL).to("cuda"), images(SMALL, "cuda"), recipe(case, 8), seed=1, prepared=prepared)
kept, *freed = [torch.empty(size, device="cuda") for size in (1 << 20, 1 << 21, 1 << 10)]
del freed
free, before = torch.cuda.memory_reserved() - torch.cuda.memory_allocated(), counts()
graphs = sum(s["total_size"] for s in torch.cuda.memory_snapshot() if tuple(s["segment_pool_id"]) != (0, 0))
answer(captured=history.captured, free=free, graphs=graphs, spoiled=spoil("cuda"), launched=since(before)["launches"])
"""
    )
    assert found["captured"] == "yes"
    assert found["graphs"] > 0
    assert found["spoiled"] == found["free"] >= (4 << 21) + (4 << 10)
    assert found["launched"] > 1
