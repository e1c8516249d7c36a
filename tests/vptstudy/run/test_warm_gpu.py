"""What a fork of the server can do with a GPU, whatever is asked while torch's compiler is imported before it."""

from __future__ import annotations

import pytest

from tests.vptcore.gpu.conftest import card  # noqa: F401

pytestmark = pytest.mark.slow

FORK = """
import sys
from vptstudy.run import server

def forked(act):
    ours, its = os.pipe()
    if not os.fork():
        os.write(its, json.dumps(act()).encode())
        os._exit(0)
    return json.loads(os.read(ours, 1000))

def opened():
    try:
        return torch.zeros(3, device="cuda").device.type
    except RuntimeError as error:
        return str(error).split(".")[0]

server._import_for_gpus()
answer(said=getattr(sys.modules.get("asks"), "THERE", None), opened=forked(opened), none=forked(server._opens_none))
"""


def after(card, folder, text):  # noqa: F811
    """What a fork finds where a module of this text is imported in Inductor's place."""
    (folder / "asks.py").write_text(f"import torch\nTHERE = {text}\n")
    first = f"import sys; sys.path.insert(0, {str(folder)!r}); from vptstudy.run import server"
    return card(f"{first}; server.PRELOAD_GPU = ('asks',)\n{FORK}")


def test_a_fork_opens_the_gpu_after_inductor_is_imported(card):  # noqa: F811
    assert card(FORK) == {"said": None, "opened": "cuda", "none": False}


def test_who_asks_whether_there_is_a_gpu_is_told_without_the_driver(card, tmp_path):  # noqa: F811
    found = after(card, tmp_path, "torch.cuda.is_available()")
    assert found == {"said": True, "opened": "cuda", "none": False}


def test_a_fork_that_can_open_none_leaves_the_job_to_its_script(card, tmp_path):  # noqa: F811
    found = after(card, tmp_path, "torch._C._cuda_getDeviceCount() > 0")
    assert found["none"] is True
    assert found["opened"].startswith("Cannot re-initialize CUDA in forked subprocess")
