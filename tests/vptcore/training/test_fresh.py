"""A model handed out again is the model as built: every method, after training, without a second build."""

import pytest
import torch

from tests.vptcore.training.small import image_set, vit
from vptcore.training.fit import History, fit
from vptcore.training.fresh import Models, how, taken_out
from vptcore.training.recipe import Recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize("method", ["vpt", "full", "mixed", "lora"])
def test_handed_out_again_it_is_as_built(method):
    builds = []

    def make():
        builds.append(method)
        return vit(method)

    models = Models(make, CPU)
    built = {name: value.clone() for name, value in models.fresh().state_dict().items()}
    model = models.fresh()
    fit(model, image_set(20), Recipe("sgd", 2.0, 0.01, 8, 2, 0), seed=1)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, built[name])}
    assert changed >= {"head.weight", "head.bias"}
    again = models.fresh().state_dict()
    assert builds == [method]
    assert again.keys() == built.keys()
    for name, value in again.items():
        assert torch.equal(value, built[name]), name


def test_the_counts_of_a_norm_are_as_built_too():
    models = Models(lambda: torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)), CPU)
    models.fresh().train()(torch.randn(8, 2))
    norm = models.fresh()[1]
    assert int(norm.num_batches_tracked) == 0
    assert norm.running_mean.tolist() == [0.0] * 3


def test_how_a_run_was_computed_goes_from_rows_to_their_files_metadata():
    runs = [History(compiled="yes", captured="yes"), History(compiled="no (InductorError: no gcc)", captured="yes")]
    rows = [{"seed": seed} | how(history) for seed, history in enumerate(runs)]
    assert taken_out(rows) == {"compiled": "no (InductorError: no gcc), yes", "captured": "yes"}
    assert rows == [{"seed": 0}, {"seed": 1}]
