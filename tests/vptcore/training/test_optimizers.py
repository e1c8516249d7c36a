"""Which parameters are decayed, as the authors' code does it and as it was meant."""

from torch import nn

from vptcore.training.optimizers import parameter_groups
from vptcore.training.recipe import Recipe


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1 = nn.LayerNorm(4)
        self.body = nn.Linear(4, 4)
        self.head = nn.Linear(4, 2)


def spared(optimizer, **more):
    model = Model()
    recipe = Recipe(optimizer, 1.0, 0.1, 8, 10, 1, **more)
    names = {id(p): n for n, p in model.named_parameters()}
    return {names[id(p)] for g in parameter_groups(model, recipe) if g["weight_decay"] == 0 for p in g["params"]}


def test_sgd_spares_the_heads_bias_alone():
    assert spared("sgd") == {"head.bias"}


def test_adamw_spares_biases_and_norms_if_asked():
    biases = {"norm1.bias", "body.bias", "head.bias"}
    assert spared("adamw") == biases
    assert spared("adamw", decay_norms=False) == biases | {"norm1.weight"}
