"""The renderer: each image on its own seed, balanced labels, and scenes that a threshold on brightness can read."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from scipy import ndimage

from vptcore.data.readers import shapes

TASKS = list(shapes.TASKS)


def figure(pixels: np.ndarray) -> np.ndarray:
    """Where the image is far from its usual brightness: the drawn objects, whatever the background."""
    grey = pixels.mean(axis=2)
    return np.abs(grey - np.median(grey)) > 50


@pytest.mark.parametrize("task", TASKS)
def test_an_image_depends_on_seed_task_and_index_alone(task):
    for index, (split, pixels, label) in enumerate(islice(shapes.images(task, 3), 12)):
        again, label_again = shapes.render(task, 3, index)
        assert (split, label) == ("train", label_again)
        assert np.array_equal(pixels, again)
    classes = shapes.TASKS[task][0]
    different = [shapes.render(task, 3, 0), shapes.render(task, 4, 0), shapes.render(task, 3, classes)]
    assert len({pixels.tobytes() for pixels, _ in different}) == 3
    assert {label for _, label in different} == {0}


@pytest.mark.parametrize("task", TASKS)
def test_the_splits_are_balanced(task):
    drawn = list(shapes.images(task, 0))
    for split, count in (("train", 1000), ("test", 500)):
        sizes = np.bincount([label for part, _, label in drawn if part == split], minlength=shapes.TASKS[task][0])
        assert sizes.sum() == count
        assert sizes.max() - sizes.min() <= 1
    assert all(pixels.shape == (32, 32, 3) and pixels.dtype == np.uint8 for _, pixels, _ in drawn)
    assert len({pixels.tobytes() for _, pixels, _ in drawn}) == len(drawn)


def test_the_object_stands_in_the_column_of_its_label():
    right = 0
    for index in range(160):
        pixels, label = shapes.render("shapes_location", 0, index)
        x = ndimage.center_of_mass(figure(pixels))[1] + 0.5
        right += int((x - 4) // 6) == label
    assert right > 0.95 * 160


def test_the_objects_can_be_counted():
    right = 0
    for index in range(120):
        pixels, label = shapes.render("shapes_count", 0, index)
        areas = np.bincount(ndimage.label(figure(pixels))[0].ravel())[1:]
        right += (areas > 4).sum() == label + 1
    assert right > 0.95 * 120


@pytest.mark.parametrize("outline", shapes.POINTED.values(), ids=shapes.POINTED)
def test_pointed_outlines_point_east_and_turn_clockwise(outline):
    tip = outline[outline[:, 0].argmax()]
    assert tip[0] > 1.1
    assert abs(tip[1]) < 1e-9
    east, south = (shapes._cover(outline, (16, 16), 8, degrees) for degrees in (0, 90))
    assert np.abs(np.rot90(east, -1) - south).mean() < 0.02
    assert np.abs(np.rot90(east, 1) - south).mean() > 0.05
    assert np.abs(east - east[::-1]).mean() < 0.02
    assert np.abs(east - east[:, ::-1]).mean() > 0.05


def test_the_contact_sheet_shows_every_class():
    sheet = shapes.contact_sheet(rows=1, zoom=1)
    assert sheet.size == (4 * 36, 3 * 36)
