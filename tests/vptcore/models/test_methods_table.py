"""Every row of METHODS, finished: what it says of itself is what the built model does."""

import pytest
import torch

from tests.vptcore.models.tiny import SWIN, VIT, job_of, without_weights
from vptcore.models.backbones import BACKBONES
from vptcore.models.changes import changes_of, count_tuned
from vptcore.models.methods import build, count_parameters, spec_of, start_state
from vptcore.models.methods_table import METHODS
from vptcore.training.protocol import CHOICES, PROTOCOLS
from vptcore.training.recipe import OPTIMIZERS, Recipe, expand_grid


@pytest.fixture(autouse=True)
def unpretrained(monkeypatch):
    without_weights(monkeypatch)


@pytest.mark.parametrize("backbone", [VIT, SWIN], ids=["vit", "swin"])
@pytest.mark.parametrize("method", METHODS)
def test_counts_on_paper_are_those_of_the_built_model(method, backbone):
    job = job_of(backbone, method)
    model = build(spec_of(job), seed=0)
    assert count_tuned(job) == count_parameters(model)
    names = {name for name, p in model.encoder.backbone.named_parameters() if p.requires_grad}
    assert changes_of(job)[0] <= names or changes_of(job)[1]  # what is added may rename what it wraps
    if METHODS[method].probe:
        assert {n for n, p in model.named_parameters() if p.requires_grad and not n.startswith("head.")} == set()


@pytest.mark.parametrize("method", METHODS)
def test_one_step_changes_what_is_tuned_and_nothing_else(method):
    model = build(spec_of(job_of(VIT, method)), seed=0).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0, momentum=0.9)
    for _ in range(2):  # what starts behind a zero moves in the second step
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.randn(6, 3, 32, 32)), torch.arange(6)).backward()
        optimizer.step()
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    tuned = {name for name, p in model.named_parameters() if p.requires_grad}
    # A bias of keys cancels in the softmax, and what no token reads gets no gradient.
    assert changed <= tuned
    assert len(changed) >= 0.9 * len(tuned)


@pytest.mark.parametrize("method", METHODS)
def test_a_row_can_be_trained_shown_and_told_apart(method):
    row = METHODS[method]
    assert row.id == method
    assert row.title
    assert row.needs in ("", *METHODS)
    assert row.optimizer in OPTIMIZERS or CHOICES[row.optimizer]
    assert row.optimizer_under(PROTOCOLS["sound"]) in OPTIMIZERS
    assert len({other.title for other in METHODS.values()}) == len(METHODS)
    assert len({other.colour for other in METHODS.values()}) == len(METHODS)
    row.check(f"methods.{method}", row.settings)
    if row.grid:
        assert row.batch > 0
        assert expand_grid(Recipe(row.optimizer_under(PROTOCOLS["paper"]), 0.0, 0.0, row.batch, 10, 1), row.grid)


def test_a_probe_and_prompts_on_the_papers_backbone_by_hand():
    """Table 1's VPT on CIFAR-100: 10 prompts in 12 layers of 768, and the head."""
    vit = BACKBONES["vit_b16_sup21k"]
    assert count_tuned(job_of(vit, "vpt", prompt_length=10, classes=100))[0] == 12 * 10 * 768 + 769 * 100
    assert count_tuned(job_of(vit, "vpt", prompt_length=10, classes=100, deep=False))[0] == 10 * 768 + 769 * 100
    assert count_tuned(job_of(vit, "mlp", classes=100))[0] == 2 * (768 * 768 + 3 * 768) + 769 * 100
    assert count_tuned(job_of(vit, "partial", classes=100))[0] == 7_087_872 + 2 * 768 + 769 * 100
    # A block's biases: two norms, qkv (3), projection, fc1 (4), fc2, in 768s; then the patches' and the last norm's.
    assert count_tuned(job_of(vit, "bitfit", classes=100))[0] == (12 * 11 + 2) * 768 + 769 * 100
    assert count_tuned(job_of(vit, "layernorm", classes=100))[0] == (12 * 2 + 1) * 2 * 768 + 769 * 100
    assert count_tuned(job_of(vit, "full", classes=100)) == (85_798_656 + 76_900,) * 2


def test_a_probes_head_is_taken_over():
    job = job_of(VIT, "lp_ft")
    head = build(spec_of(job_of(VIT, "linear")), seed=9).head.state_dict()
    torch.manual_seed(4)
    model = build(spec_of(job), seed=0, base_state=start_state(METHODS["lp_ft"], head))
    assert torch.equal(model.head.weight, head["weight"])
    torch.manual_seed(4)
    plain = build(spec_of(job_of(VIT, "full")), seed=0)
    assert torch.equal(model.encoder.vit.blocks[0].attn.qkv.weight, plain.encoder.vit.blocks[0].attn.qkv.weight)
