"""One compilation for all blocks; its failure, going forth or back, is said and survived; compiled equals plain."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch._dynamo.backends.common import aot_autograd

from tests.vptcore.training.small import TINY, image_set, vit
from vptcore.training import compiling
from vptcore.training.compiling import compile_blocks, plain_blocks, plainly
from vptcore.training.fit import FEW_IMAGES, fit, predict
from vptcore.training.recipe import Recipe

SGD = Recipe("sgd", 2.0, 0.01, 16, 2, 0)
compile_ = torch.compile


@pytest.fixture(autouse=True)
def forgotten():
    yield
    compiling._compiled.cache_clear()
    torch._dynamo.reset()


def counted(graphs: list):
    """torch.compile with a compiler that only notes how often it is asked."""

    def compiler(graph, inputs):
        graphs.append(len(inputs))
        return graph

    backend = aot_autograd(fw_compiler=compiler)
    return lambda function, **options: compile_(function, backend=backend, **options)


def failing(where: str):
    def compiler(graph, inputs):
        raise RuntimeError("Failed to find C compiler.\nMore lines")

    backend = aot_autograd(**{"fw_compiler": lambda graph, inputs: graph, f"{where}_compiler": compiler})
    return lambda function, **options: compile_(function, backend=backend, **options)


def test_auto_is_a_gpus():
    wanted = {
        (m, d): compiling.is_wanted(m, torch.device(d)) for m in ("auto", "always", "never") for d in ("cpu", "cuda")
    }
    assert {key for key, value in wanted.items() if value} == {("always", "cpu"), ("always", "cuda"), ("auto", "cuda")}


@pytest.mark.parametrize("depth", [3, 6])
def test_all_blocks_but_the_first_and_the_last_share_one_graph(monkeypatch, depth):
    """The first's tokens need no gradient, the last computes the class token alone. A second model needs none more."""
    graphs = []
    monkeypatch.setattr(torch, "compile", counted(graphs))
    row = replace(TINY, depth=depth, options=TINY.options | {"depth": depth})
    for _ in range(2):
        model = vit("vpt", backbone=row).train()
        compile_blocks(model)
        model(torch.randn(4, 3, 16, 16)).sum().backward()
    assert len(graphs) == 2 * 3, "forward and backward of three"


def test_paths_that_are_dropped_at_a_rate_each_share_their_graphs(monkeypatch):
    """Rates rise from block to block; a graph for each would be more than Dynamo compiles."""
    graphs = {}
    for depth in (4, 8):
        graphs[depth] = []
        monkeypatch.setattr(torch, "compile", counted(graphs[depth]))
        row = replace(TINY, drop_path=0.4, options=TINY.options | {"depth": depth}, depth=depth)
        model = vit("full", backbone=row).train()
        compile_blocks(model)
        model(torch.randn(4, 3, 16, 16)).sum().backward()
        compiling._compiled.cache_clear()
        torch._dynamo.reset()
    assert len(graphs[4]) == len(graphs[8]) > 0


@pytest.mark.parametrize("where", ["fw", "bw"])
def test_a_compilation_that_fails_is_said_and_training_goes_on_plainly(monkeypatch, where):
    expected = fit(vit("vpt"), image_set(50), SGD, seed=1)
    monkeypatch.setattr(torch, "compile", failing(where))
    lines, model = [], vit("vpt")
    history = fit(model, image_set(50), SGD, seed=1, compile="always", say=lines.append)
    assert len(lines) == 1
    assert lines[0].startswith("torch.compile failed (")
    assert "Failed to find C compiler." in lines[0]
    assert "\n" not in lines[0]
    assert history.compiled.startswith("no (")
    assert "Failed to find C compiler." in history.compiled
    assert torch.equal(history.epochs[-1]["train_loss"], expected.epochs[-1]["train_loss"])
    assert predict(model, image_set(5)).shape == (5, 3)


def test_compiling_is_no_part_of_the_seconds(monkeypatch):
    """A compiler that takes its time shows in compile_seconds alone."""
    import time

    def slow(graph, inputs):
        time.sleep(1.5)
        return graph

    backend = aot_autograd(fw_compiler=slow)
    monkeypatch.setattr(torch, "compile", lambda function, **options: compile_(function, backend=backend, **options))
    history = fit(vit("vpt"), image_set(16), SGD, seed=1, compile="always")
    assert history.compiled == "yes"
    assert history.compile_seconds > 1.5
    assert history.compile_seconds > history.seconds


def test_dropout_inside_a_block_is_said_to_be_the_compilers(monkeypatch):
    monkeypatch.setattr(torch, "compile", counted([]))
    assert compile_blocks(vit("full")) == "yes, dropout drawn by the compiler"
    assert compile_blocks(vit("full", backbone=replace(TINY, full_dropout=0.0))) == "yes"
    assert compile_blocks(vit("vpt", prompted_dropout=0.0)) == "yes", "prompts are dropped outside"
    for adapted in ("adaptformer", "adapter_plus"):
        assert compile_blocks(vit(adapted, prompted_dropout=0.0)) == "yes, dropout drawn by the compiler"
    assert compile_blocks(torch.nn.Linear(2, 2)) == "no (no blocks)"


def test_few_images_go_through_the_plain_blocks(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: lambda *a, **k: pytest.fail("compiled"))
    model = vit("vpt")
    compile_blocks(model)
    assert predict(model, image_set(20)).shape == (20, 3)
    assert FEW_IMAGES > 200, "a search's val images are few"
    with plainly(model, False), pytest.raises(BaseException, match="compiled"):
        model(torch.randn(1, 3, 16, 16))
    plain_blocks(model)
    model(torch.randn(1, 3, 16, 16))


@pytest.mark.slow
@pytest.mark.parametrize(("method", "optimizer"), [("vpt", "sgd"), ("full", "adamw"), ("mixed", "sgd")])
def test_twenty_compiled_steps_equal_plain_ones(method, optimizer):
    """50 images in batches of 16: four steps an epoch, the last of 2 images."""
    recipe = Recipe(optimizer, 0.05, 0.01, 16, 5, 0)
    dry = {"backbone": replace(TINY, full_dropout=0.0), "prompted_dropout": 0.0, "prompt_dropout": 0.0}
    plain = fit(vit(method, **dry), image_set(50), recipe, seed=1)
    model = vit(method, **dry)
    compiled = fit(model, image_set(50), recipe, seed=1, compile="always")
    assert compiled.compiled == "yes"
    for a, b in zip(plain.epochs, compiled.epochs, strict=True):
        assert float(a["train_loss"]) == pytest.approx(float(b["train_loss"]), abs=1e-5)


@pytest.mark.slow
def test_the_next_job_compiles_nothing(tmp_path):
    """Processes with one cache folder: of another task's head on as many images, and of FT-then-PT, whose blocks are
    VPT's on other weights. Nothing misses in the caches of graphs, and of what autograd makes of them."""
    code = """
import sys
import torch
from torch._dynamo.utils import counters
from tests.vptcore.training.small import image_set, vit
from vptcore.training.fit import fit
from vptcore.training.recipe import Recipe
model, classes = vit(sys.argv[1]), int(sys.argv[2])
model.head = torch.nn.Linear(24, classes)
history = fit(model, image_set(20), Recipe("sgd", 0.1, 0.0, 16, 1, 0), seed=1, compile="always")
found, autograd = counters["inductor"], counters["aot_autograd"]
print(history.compiled, found["fxgraph_cache_miss"] + autograd["autograd_cache_miss"],
      found["fxgraph_cache_hit"] + autograd["autograd_cache_hit"])
"""

    def job(method, classes):
        words = [sys.executable, "-W", "ignore", "-c", code, method, str(classes)]
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        result = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
        *compiled, missed, hit = result.stdout.split()
        return " ".join(compiled), int(missed), int(hit)

    compiled, missed, _ = job("vpt", 3)
    assert compiled.startswith("yes")
    assert missed > 0
    for method, classes in (("vpt", 5), ("ft_then_pt", 5)):
        again, misses, hits = job(method, classes)
        assert (again, misses) == (compiled, 0)
        assert hits > 0
