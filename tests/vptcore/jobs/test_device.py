"""The device a job gets: auto is the CPU where no GPU is there or none is left visible; a handed one must be there."""

from __future__ import annotations

import pytest
import torch

from vptcore.jobs import visible
from vptcore.jobs.device import open_device

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="these are about machines without a GPU")


@pytest.mark.parametrize("value", [None, "", "-1", " -1", "NoDevFiles", ","])
@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_without_a_visible_gpu_it_is_the_cpu_and_nothing_is_said_of_gpus(monkeypatch, capfd, value, name):
    if value is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    lines = []
    assert open_device(name, lines.append) == torch.device("cpu")
    assert lines[0].endswith("no GPU handed out")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("value", "name"), [("0", "auto"), ("GPU-5ab3", "auto"), (None, "cuda"), ("-1", "cuda:0")])
def test_a_gpu_that_was_asked_for_or_handed_out_must_be_there(monkeypatch, value, name):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if value is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    with pytest.raises(ValueError, match=r"device: .* sees no GPU") as error:
        open_device(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("value", "ids"),
    [("", []), ("-1", []), ("0", ["0"]), ("2, GPU-5ab3,2", ["2", "GPU-5ab3"]), ("0,-1,1", ["0"]), ("NoDevFiles", [])],
)
def test_the_ids_before_the_first_that_is_none(value, ids):
    """The driver's rule: devices behind an invalid one are not seen."""
    assert visible.ids(value) == ids
