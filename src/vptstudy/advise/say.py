"""The advice in words: one paragraph that claims no more than the rows, the same as data, and as a page.

In: a `Verdict`, the finalists' answers on test, the floor, and what each costs. Out: text, a mapping for advice.json,
and a page that opens without a network.

    python -m pytest tests/vptstudy/advise
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vptcore.analysis.release import wilson
from vptcore.analysis.statistics import MISSING, number, percent
from vptstudy.advise.decide import ROPE, Verdict, balanced
from vptstudy.advise.matrices import Finished
from vptstudy.advise.weigh import Weight

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}.lead{font-size:1.2rem}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}"
    "td,th{padding:.2rem .7rem;text-align:left;border-bottom:1px solid #ccc}"
)
BYTES = 4  # of a number in float32
NAMES = {"vpt": "visual prompt tuning", "lora": "LoRA", "full": "full fine-tuning", "linear": "a linear probe"}


@dataclass(frozen=True)
class Told:
    """One arm as it is told of: accuracy of its mean over seeds on test, its interval over test images, its price.

    `memory` is its peak in bytes while training, `latency` ms for one image at a time, both on this device; None where
    it trained on another machine.
    """

    id: str
    name: str
    accuracy: float
    low: float
    high: float
    balanced: float
    seeds: int
    tuned: int
    share: float
    seconds: float
    rate: float
    memory: int | None
    latency: float | None

    @property
    def bytes(self) -> int:
        return BYTES * self.tuned


def told(one: Finished, arm: str, weight: Weight | None) -> Told:
    accuracy = float(one.right_SN.mean())
    even = float(np.mean([balanced(right_N, one.labels_N) for right_N in one.right_SN]))
    low, high = wilson(accuracy, one.right_SN.shape[1])
    return Told(
        arm, name_of(arm), accuracy, low, high, even, len(one.right_SN), one.tuned, one.tuned / one.total, one.seconds,
        one.rate, weight and weight.memory, weight and weight.latency,
    )  # fmt: skip


def name_of(arm: str) -> str:
    """'visual prompt tuning (5 prompts a layer)' of vpt_5."""
    method, _, length = arm.partition("_")
    return NAMES.get(method, method) + (f" ({length} prompts a layer)" if length else "")


def listed(names: Iterable[str]) -> str:
    """'A', 'A and B', 'A, B and C'."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def size_text(count: int) -> str:
    """'52 kB', '4.9 MB', '1.2 GB'."""
    if count >= 1e9:
        return f"{count / 1e9:,.1f} GB"
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"


def share_text(share: float) -> str:
    """'0.032 %', '1.1 %', '100 %'."""
    value = 100 * share
    return f"{value:.2g} %" if value < 10 else f"{value:.0f} %"


def time_text(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 1 else "less than a second"


@dataclass(frozen=True)
class Basis:
    """What the answer rests on. With several folds every image is tested once.

    `most` is the most frequent class's share of the tested images; `skewed`, whether accuracy alone misleads.
    """

    images: int
    classes: int
    folds: int = 1
    most: float = 0.0
    skewed: bool = False

    @property
    def more(self) -> str:
        return "test images" if self.folds == 1 else "images"

    @property
    def text(self) -> str:
        if self.folds == 1:
            return f"On {self.images:,} test images of {self.classes} classes"
        return f"On all {self.images:,} images of {self.classes} classes, each tested in one of {self.folds} folds,"


def paragraph(
    verdict: Verdict, arms: Mapping[str, Told], floor: Mapping[str, float], basis: Basis, val: Mapping[str, float]
) -> str:
    """What to take and why, how sure, and what it costs. `floor`: name -> accuracy on test; `val`: arm -> on val."""
    take = arms[verdict.take]
    found = f"{basis.text} it labels {_share(take)} right"
    sentences = [f"{_opening(verdict, arms)} {found}{_against(verdict, arms)}."]
    sentences += _warned(basis, *_held(verdict, arms))
    told = {one.name for one in _held(verdict, arms)}
    floors = [f"{name} {percent(value)} %" for name, value in floor.items() if name not in told]
    if floors:
        sentences.append(f"For comparison, {listed(floors)}.")
    if dropped := [f"{name_of(arm)} {percent(val[arm])} %" for arm in val if arm not in arms]:
        had = f"{take.name} had {percent(val[verdict.take])} %"
        sentences.append(f"Dropped after validation, where {had}: {', '.join(dropped)}.")
    sentences.append(_price(verdict, arms))
    if not verdict.clear and verdict.contrast is not None and not verdict.same:
        about = f"About {_rounded(verdict.more):,} more {basis.more}" if verdict.more else ""
        sentences.append(f"{about} would settle it." if about else f"More {basis.more} alone would hardly settle it.")
    return " ".join(sentences)


def _held(verdict: Verdict, arms: Mapping[str, Told]) -> list[Told]:
    """What is taken, and what it was held against."""
    return [arms[arm] for arm in (verdict.take, verdict.other) if arm]


def _warned(basis: Basis, *held: Told) -> Iterator[str]:
    """Where accuracy alone misleads, and where a model has learned nothing that helps."""
    if basis.skewed:
        even = listed(f"{one.name} {percent(one.balanced)} %" for one in held)
        yield f"With every class counting the same (balanced accuracy): {even}."
    if held[0].low <= basis.most:
        yield (
            f"Always naming the most frequent class would be right in {percent(basis.most)} %, and this is not clearly "
            "better: look at the classes in advice.html before you rely on it, and add images or name a larger "
            "backbone (--backbone)."
        )


def _opening(verdict: Verdict, arms: Mapping[str, Told]) -> str:
    take = arms[verdict.take].name
    if verdict.contrast is None and verdict.same:
        return f"Take {take}, the cheapest: the others are no better by more than {ROPE:g} point on validation images."
    if verdict.contrast is None:
        return f"Take {take}: no other method came near it on the validation images."
    other = arms[verdict.other].name
    if verdict.clear:
        return f"Take {take}, not {other}."
    if verdict.same:
        return f"{take[0].upper()}{take[1:]} and {other} differ by less than {ROPE:g} point: take {take}, the cheaper."
    return f"Cannot tell {take} from {other} on these images: take {take}, the cheaper."


def _share(one: Told) -> str:
    return f"{percent(one.accuracy)} % (95 % interval {percent(one.low)} to {percent(one.high)})"


def _against(verdict: Verdict, arms: Mapping[str, Told]) -> str:
    if verdict.contrast is None:
        return ""
    c, other = verdict.contrast, arms[verdict.other]
    gap = f"{number(c.difference, 1, True)} points [{number(c.low, 1, True)}, {number(c.high, 1, True)}]"
    return f", {other.name} {percent(other.accuracy)} %: {gap}, paired over images and {c.seeds} seeds"


def _price(verdict: Verdict, arms: Mapping[str, Told]) -> str:
    take = arms[verdict.take]
    own = f"It stores {size_text(take.bytes)} a task ({share_text(take.share)} of the numbers)"
    labels = "" if take.latency is None else f" It labels one image in {take.latency:.2g} ms here."
    trains = f"trains in {time_text(take.seconds)} a seed{_memory(' with ', take, ' of memory here')}"
    if not verdict.other:
        return f"{own} and {trains}.{labels}"
    other = arms[verdict.other]
    return (
        f"{own} where {other.name} stores {size_text(other.bytes)}, and {trains} where that takes "
        f"{time_text(other.seconds)}{_memory(' and ', other)}.{labels}"
    )


def _memory(before: str, one: Told, after: str = "") -> str:
    return "" if one.memory is None else f"{before}{size_text(one.memory)}{after}"


def _rounded(count: int) -> int:
    """Two digits: nobody knows it better."""
    digits = max(0, len(str(count)) - 2)
    return -(-count // 10**digits) * 10**digits


def page(title: str, text: str, arms: Sequence[Told], tables: Mapping[str, tuple[Sequence[str], Sequence[Sequence]]],
         links: Mapping[str, str], images: Iterable[str] = ()) -> str:  # fmt: skip
    """One HTML file: the paragraph, the arms, further tables (title -> heading, rows), and lines about the images."""
    heading = (
        "method",
        "accuracy",
        "95 % interval",
        "balanced",
        "seeds",
        "stored a task",
        "trained share",
        "time a seed",
        "peak memory",
        "ms an image",
    )
    rows = [
        (arm.name, f"{percent(arm.accuracy)} %", f"{percent(arm.low)} to {percent(arm.high)}",
         f"{percent(arm.balanced)} %", arm.seeds, size_text(arm.bytes), share_text(arm.share), time_text(arm.seconds),
         _memory("", arm) or MISSING, MISSING if arm.latency is None else f"{arm.latency:.2g}")
        for arm in arms
    ]  # fmt: skip
    parts = [f"<h1>{html.escape(title)}</h1>", f"<p class=lead>{html.escape(text)}</p>", _table(heading, rows)]
    for name, (head, body) in tables.items():
        parts += [f"<h2>{html.escape(name)}</h2>", _table(head, body)]
    if noted := "".join(f"<li>{html.escape(line)}</li>" for line in images):
        parts.append(f"<h2>The images</h2><ul>{noted}</ul>")
    parts += [f'<p><a href="{html.escape(where)}">{html.escape(name)}</a></p>' for name, where in links.items()]
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    return f"{head}<title>{html.escape(title)}</title><style>{STYLE}</style>{''.join(parts)}</html>\n"


def _table(heading: Sequence[str], rows: Sequence[Sequence]) -> str:
    head = "".join(f"<th>{html.escape(str(cell))}</th>" for cell in heading)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
