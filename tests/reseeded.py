"""Simulations with other random numbers: a coverage or an error rate that one seed alone gives was luck.

A plugin of pytest. Every generator that a test, or what it tests, seeds gets another seed, which RESEED picks.

    RESEED=7 python -m pytest -p tests.reseeded tests/vptcore/analysis/test_paired.py
"""

from __future__ import annotations

import os

import numpy as np

_plain, _other = np.random.default_rng, int(os.environ.get("RESEED", "1"))


def _reseeded(seed=None):
    return _plain([_other, seed] if isinstance(seed, int | np.integer) else seed)


np.random.default_rng = _reseeded
