"""Heads: shapes, the authors' initial values, and a stack against its heads one by one."""

import math

import torch

from vptcore.models.heads import MlpHead, StackedHeads, linear_head


def test_linear_head_starts_as_the_authors():
    torch.manual_seed(0)
    head = linear_head(64, 100, bias=-math.log(99))
    assert torch.allclose(head.bias, torch.full((100,), -4.59512))
    assert abs(head.weight.std().item() - (2 / 100) ** 0.5) < 0.005  # Kaiming-normal, fan out


def test_stack_equals_heads_one_by_one():
    x_BD = torch.randn(7, 16)
    stack = StackedHeads(lambda: linear_head(16, 5), seed=3, count=4)
    torch.manual_seed(3)
    alone = linear_head(16, 5)
    assert stack(x_BD).shape == (4, 7, 5)
    for g in range(4):
        assert torch.allclose(stack(x_BD)[g], alone(x_BD), atol=1e-6)


def test_mlp_head_has_two_hidden_layers():
    head = MlpHead(16, 5)
    assert head(torch.randn(4, 16)).shape == (4, 5)
    assert sum(p.numel() for p in head.parameters()) == 2 * (16 * 16 + 16 + 2 * 16) + 16 * 5 + 5


def test_an_mlp_head_without_its_batch_norms_scores_the_same():
    torch.manual_seed(0)
    head = MlpHead(16, 5).double()
    for _ in range(9):  # running means and variances of their own
        head(3 * torch.randn(50, 16, dtype=torch.float64) + 1)
    hidden, last = head.eval().folded()
    x_BD = torch.randn(7, 16, dtype=torch.float64)
    y_BD = x_BD
    for index in range(2):
        y_BD = (y_BD @ hidden[f"{index}.weight"].T + hidden[f"{index}.bias"]).relu()
    torch.testing.assert_close(y_BD @ last["weight"].T + last["bias"], head(x_BD), rtol=1e-12, atol=1e-12)
