"""Distances between two sets of features: Fréchet, its interval and its limit for many images, and the kernel distance.

In: features (N, D) of a task and a `Reference`. Out: numbers. All of it is linear algebra on inner products that are
taken once: a resample or a subset of images is a vector of weights, and no feature is touched again.

The Fréchet distance is |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2) (Heusel et al., 2017). With A the centred
features / sqrt(n - 1), S1 = A' A and S2 = R R', the last trace is the sum of the singular values of A R: exact, never
complex, and without `sqrtm`. Their squares are the eigenvalues of A S2 A' (N x N) and of R' S1 R (D x D); the smaller
is taken, because 1,000 images give 2,048 features a covariance of rank 999 at most.

Shapes: N images, M images of the reference, D dimensions of the feature, B subsets.

    python -m pytest tests/vptcore/analysis/test_frechet.py
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Binkowski et al. (2018): averages over random subsets of this many images, drawn so many times.
KERNEL_SUBSET, KERNEL_SUBSETS = 1000, 100
# Chong and Forsyth (2020): a line through the distances of so many sizes, against 1 / size.
LINE_SIZES = 15


@dataclass(frozen=True)
class Reference:
    """Mean (D,) and covariance (D, D) of the reference's features, and the number of images behind them.

    `sample_MD` are the features of some of its images, for the kernel distance; None where only statistics are known.
    """

    mean_D: np.ndarray
    covariance_DD: np.ndarray
    count: int
    sample_MD: np.ndarray | None = None


class Comparison:
    """One set of features beside a reference: inner products, taken once, from which every resample is computed."""

    def __init__(self, features_ND: np.ndarray, reference: Reference):
        features_ND = np.asarray(features_ND, dtype=np.float64)
        if len(features_ND) < 2:
            raise ValueError(f"{len(features_ND)} images: a covariance needs at least 2")
        self.shifted_ND = features_ND - reference.mean_D
        self.squares_N = np.square(self.shifted_ND).sum(1)
        # |x - m|^2 on average over the reference's images: its distance to one image at its mean, repeated.
        self.trace = float(np.trace(reference.covariance_DD))
        N, D = features_ND.shape
        self.is_wide = 2 * D > N
        if self.is_wide:
            self.cross_NN = self.shifted_ND @ reference.covariance_DD @ self.shifted_ND.T
        else:
            self.rooted_ND = self.shifted_ND @ root_of(reference.covariance_DD)

    def __len__(self) -> int:
        return len(self.shifted_ND)

    def distance(self, weights_N: np.ndarray | None = None) -> float:
        """The Fréchet distance where image i is there weights_N[i] times (once each, if none are given)."""
        weights_N = np.ones(len(self)) if weights_N is None else np.asarray(weights_N, dtype=np.float64)
        n = weights_N.sum()
        gap_D = weights_N @ self.shifted_ND / n
        squared = gap_D @ gap_D
        own = (weights_N @ self.squares_N - n * squared) / (n - 1)
        product = self._wide(weights_N, n) if self.is_wide else self._narrow(weights_N, n)
        return float(squared + own + self.trace - 2 * _sum_of_roots(product))

    def _wide(self, weights_N: np.ndarray, n: float) -> np.ndarray:
        """A S2 A' of the drawn images. An image drawn k times is one row times the root of k."""
        drawn = np.flatnonzero(weights_N)
        share = weights_N[drawn] / n
        cross = self.cross_NN[np.ix_(drawn, drawn)]
        row = cross @ share
        cross += share @ row - row[:, None] - row
        scale = np.sqrt(weights_N[drawn] / (n - 1))
        cross *= scale[:, None]
        cross *= scale
        return cross

    def _narrow(self, weights_N: np.ndarray, n: float) -> np.ndarray:
        """R' S1 R."""
        mean_D = weights_N @ self.rooted_ND / n
        centred_ND = self.rooted_ND - mean_D
        return (centred_ND * weights_N[:, None]).T @ centred_ND / (n - 1)


def root_of(covariance_DD: np.ndarray) -> np.ndarray:
    """R with R R' = the covariance."""
    values, vectors = np.linalg.eigh(np.asarray(covariance_DD, dtype=np.float64))
    return vectors * np.sqrt(np.clip(values, 0, None))


def _sum_of_roots(product: np.ndarray) -> float:
    """The singular values of A R, summed, from the eigenvalues of their Gram matrix; rounding below 0 counts as 0."""
    values = np.linalg.eigvalsh(product)
    noise = len(values) * np.finfo(float).eps * max(values[-1], 0)
    return float(np.sqrt(values[values > noise]).sum())


def frechet_distance(features_ND: np.ndarray, reference: Reference | np.ndarray) -> float:
    """Distance between the Gaussian of the features (N, D), N >= 2, and the reference (Heusel et al., NeurIPS 2017).

    `reference`: statistics, or the other set's own features (M, D), M >= 2. Raises ValueError for a single row.
    """
    if not isinstance(reference, Reference):
        theirs_MD = np.asarray(reference, dtype=np.float64)
        if len(theirs_MD) < 2:
            raise ValueError(f"{len(theirs_MD)} rows in the reference: a covariance needs at least 2")
        reference = Reference(theirs_MD.mean(0), np.cov(theirs_MD, rowvar=False), len(theirs_MD))
    return Comparison(features_ND, reference).distance()


def bootstrap_interval(comparison: Comparison, repeats: int, seed: int = 0) -> tuple[float, float]:
    """95 % normal interval from the spread of resampled distances; (nan, nan) with fewer than two repeats.

    The spread only: a resample has fewer distinct images, which shifts its distance upwards.
    """
    if repeats < 2:
        return float("nan"), float("nan")
    rng, N = np.random.default_rng(seed), len(comparison)
    draws = [comparison.distance(np.bincount(rng.integers(0, N, N), minlength=N)) for _ in range(repeats)]
    half = 1.96 * float(np.std(draws, ddof=1))
    centre = comparison.distance()
    return centre - half, centre + half


def limit(comparison: Comparison, seed: int = 0, sizes: int = LINE_SIZES) -> float:
    """The distance for ever more images: the intercept of a line through the distances of subsets against 1 / size.

    Sizes run from half of the images to all of them, one random subset each (Chong and Forsyth, 2020, section 4, with
    plain draws). NaN with fewer than 20 images. With fewer images than dimensions the distance is not yet a line in
    1 / size, and the limit is a hint, not a measurement.
    """
    N = len(comparison)
    if N < 20:
        return float("nan")
    rng = np.random.default_rng(seed)
    counts = np.unique(np.linspace(N // 2, N, sizes).round().astype(int))
    found = []
    for count in counts:
        weights_N = np.zeros(N)
        weights_N[rng.permutation(N)[:count]] = 1
        found.append(comparison.distance(weights_N))
    return float(np.polyfit(1 / counts, found, 1)[1])


def kernel_distance(
    features_ND: np.ndarray, reference_MD: np.ndarray, seed: int = 0, subsets: int = KERNEL_SUBSETS
) -> tuple[float, float]:
    """Kernel distance (KID): mean and standard deviation over subsets of the unbiased squared MMD.

    Kernel (x'y / D + 1)^3 (Binkowski et al., 2018, section 4). A subset has 1,000 images of each side, or half of the
    smaller side where that is less, so that subsets differ; the estimate is unbiased at every size. NaN with fewer than
    four images on a side.
    """
    x_ND, y_MD = (np.asarray(side, dtype=np.float64) for side in (features_ND, reference_MD))
    size = min(KERNEL_SUBSET, len(x_ND) // 2, len(y_MD) // 2)
    if size < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    x_BN, y_BM = _drawn(rng, subsets, size, len(x_ND)), _drawn(rng, subsets, size, len(y_MD))
    within = sum(_within(subset, side, size) for subset, side in ((x_BN, x_ND), (y_BM, y_MD)))
    between_B = np.einsum("bn,bn->b", x_BN @ _kernel(x_ND, y_MD), y_BM) / size**2
    found_B = within - 2 * between_B
    return float(found_B.mean()), float(found_B.std(ddof=1))


def _drawn(rng: np.random.Generator, subsets: int, size: int, of: int) -> np.ndarray:
    """(B, of): 1 where an image is in the subset."""
    inside = np.zeros((subsets, of))
    for row in inside:
        row[rng.permutation(of)[:size]] = 1
    return inside


def _within(inside_BN: np.ndarray, side_ND: np.ndarray, size: int) -> np.ndarray:
    """The mean kernel over pairs of different images of each subset."""
    kernel_NN = _kernel(side_ND, side_ND)
    whole_B = np.einsum("bn,bn->b", inside_BN @ kernel_NN, inside_BN)
    return (whole_B - inside_BN @ np.diag(kernel_NN)) / (size * (size - 1))


def _kernel(x_ND: np.ndarray, y_MD: np.ndarray) -> np.ndarray:
    kernel_NM = x_ND @ y_MD.T
    kernel_NM /= x_ND.shape[1]
    kernel_NM += 1
    return kernel_NM * kernel_NM * kernel_NM
