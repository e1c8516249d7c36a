"""Every test stands alone: it works in a clean clone of its own, with a home of its own and without a network.

The clone is a folder of links to what the repository ships. What a run leaves there (results, data, .snakemake) is not
in it, so that no test reads it by accident.
"""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LEFT_BY_RUNS = {"results", "data", ".snakemake", ".venv", ".pytest_cache", ".ruff_cache", ".hypothesis"}


@pytest.fixture(scope="session", autouse=True)
def clean_clone(tmp_path_factory):
    """The working directory and the home of the whole session."""
    clone, home = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("home")
    for path in ROOT.iterdir():
        if path.name not in LEFT_BY_RUNS:
            (clone / path.name).symlink_to(path)
    before = Path.cwd()
    patched = {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "HF_HOME": str(home / ".cache/huggingface")}
    saved = {key: os.environ.get(key) for key in patched}
    os.environ.update(patched)
    os.chdir(clone)
    yield clone
    os.chdir(before)
    for key, value in saved.items():
        os.environ.pop(key) if value is None else os.environ.__setitem__(key, value)


@pytest.fixture(scope="session", autouse=True)
def no_network():
    """A connection to anything but this machine fails the test that makes it."""
    connect = socket.socket.connect

    def guarded(self, address):
        host = address[0] if isinstance(address, tuple) else ""
        if self.family in (socket.AF_INET, socket.AF_INET6) and host not in ("localhost", "127.0.0.1", "::1"):
            raise AssertionError(f"a test connects to {host}")
        return connect(self, address)

    socket.socket.connect = guarded
    yield
    socket.socket.connect = connect


# Tests send Ctrl-C to what they start, which a shell's background jobs and all below them would ignore.
signal.signal(signal.SIGINT, signal.default_int_handler)

# One tiny study is run for all of them.
OF_WHOLE_STUDIES = ("tests/workflow/", "tests/vptstudy/advise/test_killed.py")


def pytest_collection_modifyitems(items):
    """Whole studies first: they take one worker's time in turn, and everything else fills the others'."""
    items.sort(key=lambda item: not item.nodeid.startswith(OF_WHOLE_STUDIES))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests in one worker, so that what they share is made once; whole studies are one file here."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "whole studies" if nodeid.startswith(OF_WHOLE_STUDIES) else nodeid.split("::")[0]

    return ByFile(config, log)
