"""The label rules of the Structured tasks: from a scene's metadata to a class, as task_adaptation defines them.

In: one scene's objects, or the raw classes of dSprites. Out: integer labels from 0.

    python -m pytest tests/vptcore/data/test_labels.py
"""

from __future__ import annotations

import numpy as np

CLEVR_DISTANCES = (0.0, 8.0, 8.5, 9.0, 9.5, 10.0)  # the original's last threshold, 100, is beyond every object
KITTI_DISTANCES = (-100.0, 8.0, 20.0, 999.0)
KITTI_NO_VEHICLE = 1000.0  # stands in for the distance of a scene without a vehicle: its own class
KITTI_VEHICLES = 3  # types 0, 1, 2: car, van, truck
DSPRITES_BINS = 16


def clevr_count(objects: int) -> int:
    """3 to 10 objects -> class 0 to 7 (task_adaptation data/clevr.py)."""
    if not 3 <= objects <= 10:
        raise ValueError(f"a CLEVR scene with {objects} objects; expected 3 to 10")
    return objects - 3


def clevr_distance(pixel_coords_O3: np.ndarray) -> int:
    """Class 0 to 5 of the object nearest to the camera; the depth is the third coordinate (data/clevr.py:46-52).

    In float32, as TFDS stores it: a depth that is a hair above a threshold there is on it, in the class below.
    """
    return _last_below(CLEVR_DISTANCES, float(np.asarray(pixel_coords_O3, np.float32)[:, 2].min()))


def kitti_distance(types_O: np.ndarray, locations_O3: np.ndarray) -> int:
    """Class 0 to 2 of the nearest car, van or truck, 3 if there is none (data/kitti.py:93-105)."""
    depth_O = np.asarray(locations_O3, float).reshape(-1, 3)[np.asarray(types_O, int) < KITTI_VEHICLES, 2]
    return _last_below(KITTI_DISTANCES, float(np.append(depth_O, KITTI_NO_VEHICLE).min()))


def dsprites_bins(labels_N: np.ndarray | int, classes: int) -> np.ndarray:
    """Raw classes (32 positions, 40 orientations) -> 16 of nearly equal width (data/dsprites.py:69)."""
    # Integers all the way: floor(label / (classes / 16)) without the rounding of a float division.
    return np.asarray(labels_N) * DSPRITES_BINS // classes


def _last_below(thresholds: tuple[float, ...], value: float) -> int:
    """The largest index whose threshold lies below `value`."""
    below = np.flatnonzero(np.asarray(thresholds) < value)
    if not len(below):
        raise ValueError(f"a distance of {value:g}; expected more than {thresholds[0]:g}")
    return int(below[-1])
