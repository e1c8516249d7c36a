"""The device a job gets: auto is the CPU where no GPU is there or none is left visible; a handed one must be there."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from vptcore.jobs import visible
from vptcore.jobs.device import open_device, peak_resident

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


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a started program may tell its parent's peak")
def test_a_started_process_tells_its_own_peak_and_not_its_parents():
    held = b"x" * 1_500_000_000
    assert peak_resident() > len(held)
    code = "from vptcore.jobs.device import peak_resident as peak; held = b'x' * 10**8; print(peak())"
    theirs = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert 10**8 < theirs < len(held)
