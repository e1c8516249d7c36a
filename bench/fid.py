"""Fréchet distances of all 24 sets from cached features: the distance, its interval, its limit, the kernel distance.

In: nothing but sizes. Out: seconds on the terminal, for random features of 2,048 dimensions whose variances decay.
Beside it one distance by `sqrtm`, as pytorch-fid computes it. CPU seconds, so that other work on the machine does not
count.

    python -m bench.fid --sets 24 --workers 2
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial

import numpy as np
import scipy.linalg
import yaml

from vptcore.analysis.fid import distances
from vptcore.analysis.frechet import Reference
from vptcore.analysis.reference import SAMPLE, Found

BAR = 60.0


@cache
def reference(width: int) -> Found:
    features_MD = random_features(width, 3 * width, seed=0)
    sample_MD = features_MD[:SAMPLE].astype(np.float32)
    return Found(Reference(features_MD.mean(0), np.cov(features_MD, rowvar=False), len(features_MD), sample_MD), "")


def random_features(width: int, count: int, seed: int) -> np.ndarray:
    """Correlated features whose variances fall like a power of their rank."""
    rng = np.random.default_rng(seed)
    scale_D = np.arange(1, width + 1) ** -0.5
    turn_DD = np.linalg.qr(np.random.default_rng(1).normal(size=(width, width)))[0]
    return (rng.normal(size=(count, width)) * scale_D) @ turn_DD + 0.01 * seed


def one_set(seed: int, width: int, images: int, repeats: int) -> float:
    """Seconds of one task's numbers."""
    features_ND, found = random_features(width, images, seed).astype(np.float32), reference(width)
    started = time.process_time()
    distances(features_ND, found, repeats)
    return time.process_time() - started


def by_sqrtm(width: int, images: int) -> float:
    """Seconds of one distance alone in the plain form."""
    features_ND, covariance_DD = random_features(width, images, 1), reference(width).reference.covariance_DD
    started = time.process_time()
    scipy.linalg.sqrtm(np.cov(features_ND, rowvar=False) @ covariance_DD)
    return time.process_time() - started


def main() -> None:
    with open("config.yaml", encoding="utf-8") as file:
        repeats = yaml.safe_load(file)["fid"]["bootstrap"]
    parser = argparse.ArgumentParser(prog="python -m bench.fid", description="Fréchet distances from cached features.")
    parser.add_argument("--sets", type=int, default=24)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--bootstrap", type=int, default=repeats, help="resamples (default: config.yaml's)")
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--plain", action="store_true", help="one distance by sqrtm as well")
    options = parser.parse_args()
    job = partial(one_set, width=options.width, images=options.images, repeats=options.bootstrap)
    # Spawned, not forked: a fork of a process whose numpy has started threads can wait for them for ever.
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(reference, [options.width] * options.workers))
        started = time.perf_counter()
        seconds = list(pool.map(job, range(1, options.sets + 1)))
        whole = time.perf_counter() - started
    print(
        f"{options.sets} sets of {options.images:,} images, {options.width:,} dimensions, {options.bootstrap} resamples"
    )
    print(f"numbers of one set  {np.median(seconds):6.2f} CPU s (median; one thread)")
    each = sum(seconds) / options.workers
    print(f"all sets            {each:6.1f} CPU s on each of {options.workers} workers (bar: {BAR:g})")
    print(f"by the clock        {whole:6.1f} s, with making the features")
    if options.plain:
        print(f"sqrtm of one set    {by_sqrtm(options.width, options.images):6.2f} s, the distance alone")


if __name__ == "__main__":
    # Before numpy starts its threads in the workers.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
