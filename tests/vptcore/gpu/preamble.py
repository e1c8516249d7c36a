"""What every script on the pretended card begins with: its counters, and checks of values switched off, which mean
nothing there."""

import ctypes
import json
import os

import torch

_KINDS = (
    "launches", "products", "uploads", "downloads", "moves", "fills", "stream_waits", "device_waits", "event_waits",
    "captures", "replays",
)  # fmt: skip
_library = ctypes.CDLL(os.environ["PRETENDED_LIBRARY"])
_library.pretended.restype = _library.pretended_bytes.restype = ctypes.c_long

# cuDNN brings a runtime of its own; torch's products and attention need none of it.
torch.backends.cudnn.enabled = False
torch.backends.cuda.enable_cudnn_sdp(False)
torch.isfinite = lambda x: torch.ones(x.shape, dtype=torch.bool)


def counts():
    return {name: _library.pretended(i) for i, name in enumerate(_KINDS)}


def since(before):
    return {name: now - before[name] for name, now in counts().items() if now != before[name]}


def most_bytes():
    return _library.pretended_bytes()


def answer(**values):
    print(json.dumps(values))
