"""Names beside the points of a figure, placed so that they cover nothing.

In: an axis that has been laid out, and each point's name. Out: the names on the axis, with thin lines where they stand
off.

    python -m pytest tests/vptstudy/report/test_plane.py
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from vptstudy.report.figures.style import NEUTRAL

# Where a point's name may be, in points from it: beside, above, below, then further off in rings.
PLACES = [(5, 0), (-5, 0), (0, 6), (0, -6), (5, 6), (-5, 6), (5, -6), (-5, -6)]
PLACES += [(round(r * np.cos(a)), round(r * np.sin(a))) for r in (13, 20, 28, 38) for a in np.arange(24) * np.pi / 12]
PLACES_P2 = np.array(PLACES)
LED = 10  # points from which on a thin line leads back to the point
PASSES, TRIES = 4, 40
AIR = 1.5  # points on either side of a line
# What a square point of area is worth that sticks out, or covers another name, or a point or a line from bottom to top,
# against one that covers anything else and against a point of distance; and what a place on the way to a point is worth
# that crosses a name or another point.
OUTSIDE, NAMED, MARKED, OFF, CROSSED = 5.0, 8.0, 5.0, 1.0, 20.0
ON_THE_WAY = np.linspace(0.2, 0.95, 8)


def name_points(axis: Axes, xs: Sequence[float], ys: Sequence[float], names: Sequence[str]) -> None:
    """Each point's name where it covers no words, point, interval or edge, as near as it can; after the layout.

    The names take no part in later layouts, which must not move the axis.
    """
    if not names:
        return
    scale = axis.figure.dpi / 72
    dots_N2 = axis.transData.transform(np.column_stack([xs, ys]))
    boxes_NP4 = np.stack([_boxes(dot, _size(axis, name), scale) for dot, name in zip(dots_N2, names, strict=True)])
    for i, place in enumerate(_places(boxes_NP4, dots_N2, _taken(axis, dots_N2, scale), axis.bbox.extents, scale)):
        led = {"arrowprops": {"arrowstyle": "-", "lw": 0.4, "color": NEUTRAL, "shrinkA": 0}}
        style = _aligned(*PLACES[place]) | (led if np.hypot(*PLACES[place]) > LED else {})
        words = axis.annotate(names[i], (xs[i], ys[i]), PLACES[place], textcoords="offset points", **style)
        words.set(in_layout=False, path_effects=[withStroke(linewidth=1.5, foreground="white", alpha=0.8)])


def _places(
    boxes_NP4: np.ndarray, dots_N2: np.ndarray, taken: tuple[np.ndarray, np.ndarray], frame: np.ndarray, scale: float
) -> np.ndarray:
    """The place of each name: one after the other takes its best given all others', from several orders; (N,)."""
    N, area_NP = len(boxes_NP4), np.prod(boxes_NP4[..., 2:] - boxes_NP4[..., :2], -1)
    leads_NPK4, (taken_M4, worth_M) = _leads(dots_N2, scale), taken
    alone_NP = OUTSIDE * (area_NP - _common(boxes_NP4, frame[None])[..., 0]) + _common(boxes_NP4, taken_M4) @ worth_M
    alone_NP = alone_NP / scale**2 + OFF * np.hypot(*PLACES_P2.T) + _crossed(leads_NPK4, taken_M4).sum(-1)
    rng, best, least = np.random.default_rng(0), np.zeros(N, int), np.inf
    for _ in range(TRIES):
        chosen = np.argmin(alone_NP, 1)
        for order in [rng.permutation(N) for _ in range(PASSES)]:
            before = chosen.copy()
            for i in order:
                others_M4 = np.delete(boxes_NP4[np.arange(N), chosen], i, 0)
                theirs_MK4 = np.delete(leads_NPK4[np.arange(N), chosen], i, 0)
                covered_P = NAMED * _common(boxes_NP4[i], others_M4).sum(-1) / scale**2
                crossed_P = _crossed(leads_NPK4[i], others_M4).sum(-1) + _crossed(theirs_MK4, boxes_NP4[i]).sum(0)
                chosen[i] = np.argmin(alone_NP[i] + covered_P + crossed_P)
            if np.array_equal(chosen, before):
                break
        mine_N4, leads_NK4 = boxes_NP4[np.arange(N), chosen], leads_NPK4[np.arange(N), chosen]
        pairs = NAMED * np.triu(_common(mine_N4, mine_N4), 1).sum() / scale**2
        total = alone_NP[np.arange(N), chosen].sum() + pairs + _crossed(leads_NK4, mine_N4).sum()
        if total < least:
            best, least = chosen, total
    return best


def _taken(axis: Axes, dots_N2: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """What is there already, as boxes (M, 4) in pixels, and what their area is worth (M,): points, words, and upright
    and level lines but faint bars.

    A line has no area of its own: with air on both sides it has one that a name can cover.
    """
    points = np.hstack([dots_N2 - 3 * scale, dots_N2 + 3 * scale])
    words = [text.get_window_extent().extents for text in axis.texts]
    thin = [line for line in axis.lines if line.get_marker() == "None" and _is_thin(line)]
    lines = [line.get_window_extent() for line in thin]
    through = [box.height >= axis.bbox.height for box in lines]
    worth = [MARKED] * len(points) + [1.0] * len(words) + [MARKED if whole else 1.0 for whole in through]
    return np.vstack([points, *words, *(box.padded(AIR * scale).extents for box in lines)]), np.array(worth)


def _is_thin(line) -> bool:
    return line.get_linewidth() < 2 and min(map(len, (set(line.get_xdata()), set(line.get_ydata())))) == 1


def _size(axis: Axes, name: str) -> tuple[float, float]:
    """(width, height) of words in pixels, with a little air."""
    words: Text = axis.text(0, 0, name)
    box = words.get_window_extent()
    words.remove()
    air = axis.figure.dpi / 72
    return box.width + 3 * air, box.height


def _boxes(dot: np.ndarray, size: tuple[float, float], scale: float) -> np.ndarray:
    """A name's box at every place, (P, 4): left, bottom, right, top in pixels."""
    shares = {"left": 0.0, "bottom": 0.0, "center": 0.5, "right": 1.0, "top": 1.0}
    share_P2 = np.array([[shares[way] for way in _aligned(*place).values()] for place in PLACES])
    corner_P2 = dot + scale * PLACES_P2 - share_P2 * size
    return np.hstack([corner_P2, corner_P2 + size])


def _leads(dots_N2: np.ndarray, scale: float) -> np.ndarray:
    """Places on the line from each name's place back to its point, as boxes without area; none where no line is drawn.

    (N, P, K, 4); NaN for none, which lies in no box.
    """
    far_P = np.where(np.hypot(*PLACES_P2.T) > LED, 1.0, np.nan)
    way_PK2 = (PLACES_P2 * far_P[:, None])[:, None] * ON_THE_WAY[:, None] * scale
    at_NPK2 = dots_N2[:, None, None] + way_PK2
    return np.concatenate([at_NPK2, at_NPK2], -1)


def _crossed(leads_XK4: np.ndarray, boxes_M4: np.ndarray) -> np.ndarray:
    """What it costs that each line runs through each box: (X…, M)."""
    x, y = leads_XK4[..., None, 0], leads_XK4[..., None, 1]
    left, bottom, right, top = boxes_M4.T
    inside = (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
    return CROSSED * inside.sum(-2)


def _aligned(right: int, up: int) -> dict[str, str]:
    return {
        "ha": "left" if right > 1 else "right" if right < -1 else "center",
        "va": "bottom" if up > 1 else "top" if up < -1 else "center",
    }


def _common(a_X4: np.ndarray, b_M4: np.ndarray) -> np.ndarray:
    """The area that each box of one set shares with each of another: (X…, M)."""
    low_x, low_y, high_x, high_y = np.moveaxis(a_X4[..., None, :], -1, 0)
    left, bottom, right, top = b_M4.T
    width = np.minimum(high_x, right) - np.maximum(low_x, left)
    return np.clip(width, 0, None) * np.clip(np.minimum(high_y, top) - np.maximum(low_y, bottom), 0, None)
