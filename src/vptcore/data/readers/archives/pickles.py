"""The pickle of CIFAR's python version, read as data: nothing that it names is ever looked up, called or imported.

In: the bytes of a batch file. Out: plain lists, dicts, bytes, text and numbers, and numpy arrays of bytes. numpy's own
machinery for arrays in a pickle is four names; each stands for a small record here, and every other name ends the
reading in one line.

    python -m pytest tests/vptcore/data/test_archives_cifar.py
"""

from __future__ import annotations

import io
import math
import pickle

import numpy as np


class _DType:
    """Stands for numpy.dtype: keeps the type's name, 'u1' or '|u1'."""

    def __init__(self, name, *_):
        self.name = name.decode("latin-1") if isinstance(name, bytes) else name

    def __setstate__(self, state):
        """Byte order and the like, which one-byte pixels do not have."""


class _Array:
    """Stands for numpy.ndarray: keeps what the pickle says of it."""

    def __setstate__(self, state):
        self.shape, self.dtype, self.fortran, self.data = state[-4:]

    def pixels(self) -> np.ndarray:
        """The array, if it is what a batch of images is: whole bytes in C order."""
        if not isinstance(self.dtype, _DType) or self.dtype.name.lstrip("|") != "u1" or self.fortran:
            raise ValueError("an array that is not of bytes in C order")
        data = self.data.encode("latin-1") if isinstance(self.data, str) else self.data
        if math.prod(self.shape) != len(data):
            raise ValueError(f"an array of shape {self.shape} with {len(data)} bytes")
        return np.frombuffer(data, np.uint8).reshape(self.shape)


def _reconstruct(*_) -> _Array:
    return _Array()


def _encode(text, encoding="latin1", *_) -> bytes:
    """How newer pickles of protocol 2 write bytes: text, and the name of an encoding that is one byte a letter."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"text in {encoding!r}")
    return text.encode("latin-1")


ADMITTED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("_codecs", "encode"): _encode,
}


class _DataOnly(pickle.Unpickler):
    def find_class(self, module, name):
        try:
            return ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which plain data does not need") from None


def load(data: bytes, where: str) -> dict:
    """The dict in a pickle, its keys as text and its arrays as numpy's. Raises ValueError (one line) that names it."""
    try:
        loaded = _DataOnly(io.BytesIO(data), encoding="bytes").load()
        if not isinstance(loaded, dict):
            raise pickle.UnpicklingError(f"it holds {type(loaded).__name__}, expected a dict")
        return {_text(key): value.pixels() if isinstance(value, _Array) else value for key, value in loaded.items()}
    # Whatever a crafted file makes of the records above; none of it is worth more than a line.
    except (pickle.UnpicklingError, ValueError, TypeError, AttributeError, IndexError, KeyError, EOFError,
            MemoryError, OverflowError, UnicodeError, RecursionError, ImportError) as error:  # fmt: skip
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{where}: not a pickle of plain data and arrays ({reason}); download it again") from None


def _text(key) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else str(key)
