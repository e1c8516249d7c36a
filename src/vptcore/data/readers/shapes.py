"""Three Structured tasks drawn by a seeded renderer, after dSprites and CLEVR: where, which way, how many.

In: a task, a seed and an image's index. Out: its 32x32 RGB pixels; every other property of the scene (background,
colour, size, shape, the properties that the other tasks ask for) is random. An image depends on (seed, task, index)
alone.

    python -m vptcore.data.readers.shapes shapes.png
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from vptcore.choices import choose_one
from vptcore.data.item import Item, Request, Source
from vptcore.data.reader import Reader

SIZE, SUPERSAMPLE = 32, 4
TRAIN, TEST = 1000, 500
LOCATION_RANGE = (4.0, 28.0)  # of the object's centre, in pixels: it stays inside the frame
COLUMNS, MOST_OBJECTS = 4, 4
COMPASS = ("east", "south", "west", "north")


def _polar(radius: Callable[[np.ndarray], np.ndarray], corners: int = 40) -> np.ndarray:
    angle = np.arange(corners) * (2 * np.pi / corners)
    return radius(angle)[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _heart() -> np.ndarray:
    t = np.arange(40) * (2 * np.pi / 40)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y], axis=1) / 17


def _teardrop() -> np.ndarray:
    t = np.arange(40) * (2 * np.pi / 40)
    return np.stack([1.15 * np.cos(t), 0.95 * np.sin(t) * np.sin(t / 2) ** 1.5], axis=1)


# Outlines as polygons around the origin, within a circle of radius about 1. The pointed ones look east.
OUTLINES = {
    "ellipse": _polar(np.ones_like) * (1.0, 0.72),
    "square": np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.8,
    "triangle": _polar(np.ones_like, 3) * 1.05,
    "heart": _heart(),
}
POINTED = {
    "arrow": np.array([(1.2, 0), (0.1, 0.95), (0.1, 0.36), (-1.1, 0.36), (-1.1, -0.36), (0.1, -0.36), (0.1, -0.95)]),
    "teardrop": _teardrop(),
    "dart": np.array([(1.25, 0), (-1.0, 0.85), (-0.5, 0), (-1.0, -0.85)]),
}


def render(task: str, seed: int, index: int) -> tuple[np.ndarray, int]:
    """Image `index` of a task as uint8 (32, 32, 3), and its label. Labels take turns, so that classes are balanced."""
    number = list(TASKS).index(task)
    rng = np.random.default_rng(np.random.SeedSequence((seed, number, index)))
    classes, draw = TASKS[task]
    label = index % classes
    canvas_HW3 = _background(rng)
    draw(canvas_HW3, label, rng)
    canvas_HW3 += rng.normal(0, 0.012, canvas_HW3.shape)
    return np.rint(np.clip(canvas_HW3, 0, 1) * 255).astype(np.uint8), label


def images(task: str, seed: int) -> Iterator[tuple[str, np.ndarray, int]]:
    """(split, pixels, label) of the 1,000 train and 500 test images of a task."""
    for index in range(TRAIN + TEST):
        yield ("train" if index < TRAIN else "test", *render(task, seed, index))


def _location(canvas_HW3: np.ndarray, label: int, rng: np.random.Generator) -> None:
    low, high = LOCATION_RANGE
    # A tenth of a bin is left free on both sides, so that no image lies on a border.
    x = low + (label + rng.uniform(0.1, 0.9)) * (high - low) / COLUMNS
    centre = (x, rng.uniform(low, high))
    _object(canvas_HW3, _pick(OUTLINES, rng), centre, rng.uniform(4.5, 6.5), rng.uniform(0, 360), rng)


def _orientation(canvas_HW3: np.ndarray, label: int, rng: np.random.Generator) -> None:
    degrees = label * 90 + rng.uniform(-30, 30)
    radius = rng.uniform(7.0, 11.0)
    centre = rng.uniform(radius, SIZE - radius, 2)
    _object(canvas_HW3, _pick(POINTED, rng), tuple(centre), radius, degrees, rng)


def _count(canvas_HW3: np.ndarray, label: int, rng: np.random.Generator) -> None:
    radii = rng.uniform(2.6, 4.6, label + 1)
    for centre, radius in zip(_apart(radii, rng), radii, strict=True):
        _object(canvas_HW3, _pick(OUTLINES, rng), tuple(centre), radius, rng.uniform(0, 360), rng)


# task: number of classes, and what draws a label onto a canvas. The order is part of every image's seed.
TASKS: dict[str, tuple[int, Callable[[np.ndarray, int, np.random.Generator], None]]] = {
    "shapes_location": (COLUMNS, _location),
    "shapes_orientation": (len(COMPASS), _orientation),
    "shapes_count": (MOST_OBJECTS, _count),
}
CLASS_NAMES: dict[str, tuple[str, ...]] = {
    "shapes_location": tuple(f"column {i + 1} of {COLUMNS}" for i in range(COLUMNS)),
    "shapes_orientation": COMPASS,
    "shapes_count": tuple(f"{n} object{'s' * (n > 1)}" for n in range(1, MOST_OBJECTS + 1)),
}


def _apart(radii_O: np.ndarray, rng: np.random.Generator, gap: float = 1.5) -> np.ndarray:
    """Centres (O, 2) of circles that keep `gap` pixels apart: each takes the first free of 40 random places."""
    while True:
        centres_O2 = np.empty((0, 2))
        for radius in radii_O:
            places_T2 = rng.uniform(radius + 0.5, SIZE - radius - 0.5, (40, 2))
            away_TO = np.linalg.norm(places_T2[:, None] - centres_O2, axis=2)
            free_T = (away_TO >= radius + radii_O[: len(centres_O2)] + gap).all(axis=1)
            if not free_T.any():
                break
            centres_O2 = np.vstack([centres_O2, places_T2[free_T.argmax()]])
        if len(centres_O2) == len(radii_O):
            return centres_O2


def _object(
    canvas_HW3: np.ndarray,
    outline_P2: np.ndarray,
    centre: tuple[float, float],
    radius: float,
    degrees: float,
    rng: np.random.Generator,
) -> None:
    """Blend one shaded object into the canvas; bright on a dark place, dark on a bright one."""
    cover_HW = _cover(outline_P2, centre, radius, degrees)
    behind = np.vdot(canvas_HW3.sum(axis=2), cover_HW) / (3 * cover_HW.sum())
    colour = _colour(rng, rng.uniform(0.78, 0.98) if behind < 0.5 else rng.uniform(0.02, 0.2), rng.uniform(0, 0.6))
    slope = rng.uniform(-0.012, 0.012, 2)
    across_S = np.arange(SIZE)
    shade_HW = slope[0] * (across_S - centre[0]) + slope[1] * (across_S[:, None] - centre[1])
    canvas_HW3 += cover_HW[:, :, None] * (colour + shade_HW[:, :, None] - canvas_HW3)


def _cover(outline_P2: np.ndarray, centre: tuple, radius: float, degrees: float) -> np.ndarray:
    """Share of every pixel that a turned and moved outline covers (H, W), from 4x4 samples. Angles run clockwise."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    points = outline_P2 @ np.array([(cos, sin), (-sin, cos)]) * radius + centre
    mask = Image.new("L", (SIZE * SUPERSAMPLE,) * 2)
    ImageDraw.Draw(mask).polygon((points * SUPERSAMPLE - 0.5).ravel().tolist(), fill=255)
    return np.asarray(mask.reduce(SUPERSAMPLE), float) / 255


def _background(rng: np.random.Generator) -> np.ndarray:
    """Smooth noise in several octaves between two colours of about one brightness, with faint streaks over it."""
    level = rng.uniform(0.15, 0.42) if rng.random() < 0.5 else rng.uniform(0.58, 0.85)
    noise_HW = np.zeros((SIZE, SIZE))
    for octave, amplitude in zip((3, 5, 9, 17), 0.5 ** (np.arange(4) * rng.uniform(0.5, 1.5)), strict=True):
        noise_HW += amplitude * _smooth(rng.uniform(-1, 1, (octave, octave)))
    mix_HW1 = (0.5 + 0.5 * np.tanh(1.5 * noise_HW))[:, :, None]
    one, two = (_colour(rng, level + shift, rng.uniform(0.1, 0.8)) for shift in rng.uniform(-0.12, 0.12, 2))
    canvas_HW3 = one + mix_HW1 * (two - one)
    for _ in range(rng.integers(0, 4)):
        streak = np.array([(-4, -0.09), (4, -0.06), (4, 0.09), (-4, 0.06)])
        cover_HW = _cover(streak, tuple(rng.uniform(0, SIZE, 2)), rng.uniform(3, 8), rng.uniform(0, 360))
        canvas_HW3 += cover_HW[:, :, None] * rng.uniform(-0.08, 0.08)
    return np.clip(canvas_HW3, 0, 1)


def _smooth(grid_GG: np.ndarray) -> np.ndarray:
    """A square grid stretched bilinearly to (32, 32), corners on corners."""
    weights_SG = _stretch(len(grid_GG))
    return weights_SG @ grid_GG @ weights_SG.T


@cache
def _stretch(corners: int) -> np.ndarray:
    at_S = np.linspace(0, corners - 1, SIZE)
    return np.maximum(0, 1 - np.abs(at_S[:, None] - np.arange(corners)))


def _colour(rng: np.random.Generator, brightness: float, saturation: float) -> np.ndarray:
    """A random hue (3,) whose channels average to about `brightness`."""
    hue = rng.uniform(-1, 1, 3)
    hue -= hue.mean()
    room = min(brightness, 1 - brightness)
    return np.clip(brightness + saturation * room * hue / max(np.abs(hue).max(), 1e-6), 0, 1)


def _pick(outlines: dict[str, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    return list(outlines.values())[rng.integers(len(outlines))]


def contact_sheet(seed: int = 0, rows: int = 6, zoom: int = 4) -> Image.Image:
    """The first images of each task, one column per class, to look at."""
    step, bands, widest = SIZE * zoom + 4, [], max(classes for classes, _ in TASKS.values())
    for task, (classes, _) in TASKS.items():
        band = Image.new("RGB", (widest * step, rows * step), "white")
        for index in range(rows * classes):
            tile = Image.fromarray(render(task, seed, index)[0]).resize((SIZE * zoom,) * 2, Image.Resampling.NEAREST)
            band.paste(tile, (index % classes * step, index // classes * step))
        bands.append(np.asarray(band))
    return Image.fromarray(np.concatenate(bands))


def open_shapes(request: Request) -> Source:
    choose_one("shapes task", request.task, TASKS)
    drawn = images(request.task, request.seed)
    items = (Item(f"{split}/{i:05d}", split, label, pixels) for i, (split, pixels, label) in enumerate(drawn))
    return Source("vptcore.data.readers.shapes", CLASS_NAMES[request.task], items)


READER = Reader(
    "shapes", "nothing: they are drawn", open_shapes, count=lambda _: TRAIN + TEST, ships="vptcore.data.readers.shapes"
)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m vptcore.data.readers.shapes OUT.png")
    contact_sheet().save(sys.argv[1])
