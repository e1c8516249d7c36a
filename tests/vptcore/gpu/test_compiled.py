"""What Inductor and Triton compile for a card: an H100's own code, on one that only counts."""

import pytest

from tests.vptcore.gpu.test_host_side import SETUP

pytestmark = pytest.mark.slow

JOB = (
    SETUP
    + """
from torch._dynamo.utils import counters

def job(method, optimizer, classes):
    model = vit(method)
    model.head = torch.nn.Linear(24, classes)
    train = image_set(50, device="cuda")
    history = fit(model.to("cuda"), train, sgd(2, optimizer), seed=1, compile="auto")
    graphs, autograd = counters["inductor"], counters["aot_autograd"]
    answer(said=[history.compiled, history.captured],
           missed=graphs["fxgraph_cache_miss"] + autograd["autograd_cache_miss"],
           found=min(graphs["fxgraph_cache_hit"], autograd["autograd_cache_hit"]))
"""
)


@pytest.mark.parametrize(("method", "optimizer", "drawn"), [("vpt", "sgd", False), ("full", "adamw", True)])
def test_a_second_job_finds_all_that_it_compiles(card, tmp_path, method, optimizer, drawn):
    """Of a task with more classes: the head is outside. `drawn`: its blocks have dropout, which the compiler draws."""
    caches = {"TORCHINDUCTOR_CACHE_DIR": f"{tmp_path}/inductor", "TRITON_CACHE_DIR": f"{tmp_path}/triton"}
    first, second = (card(f"{JOB}\njob({method!r}, {optimizer!r}, {n})", **caches) for n in (3, 7))
    assert first["said"] == second["said"] == ["yes, dropout drawn by the compiler" if drawn else "yes", "yes"]
    assert first["missed"] > 0 == second["missed"]
    assert first["found"] == 0 < second["found"]
