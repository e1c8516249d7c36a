"""The end of an advice: the verdict of the finalists' rows, told on the terminal, as data and as a page, and the model.

In: the finals' study and what the rungs before it found. Out: advice.json, advice.html and `model/` in its folder, and
the words for the terminal.

    python -m pytest tests/vptstudy/advise
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from vptcore.analysis.release import Crossed, release
from vptcore.analysis.statistics import percent
from vptcore.records import read_provenance, read_rows, write_text
from vptstudy.advise import decide, ladder, matrices, say
from vptstudy.advise.ladder import Tried
from vptstudy.advise.look import lines
from vptstudy.advise.parting import Parted
from vptstudy.advise.rungs import Arm, Setting
from vptstudy.advise.weigh import Weight, weigh
from vptstudy.graph import flow
from vptstudy.study import Study

SHOWN = 12  # images named where the two finalists differ


def tell(
    study: Study,
    setting: Setting,
    near: Mapping,
    full: Mapping[Arm, Tried],
    choice: decide.Choice,
    parted: Parted,
    here: bool = True,
) -> str:
    """The verdict from test in files, and the model of the method to take; returns what the terminal says.

    `near` may lack nearest neighbours. `here`: whether this machine trained, so that its memory and speed are the ones
    to measure.
    """
    found = {arm.id: one for arm, one in matrices.finished(study).items()}
    verdict = decide.decide({arm: found[arm].right_SN for arm in choice.finalists}, ladder.cost_of(full), ladder.FREE)
    if not verdict.other:
        verdict = replace(verdict, same=choice.alike)
    weights = _weighed(study, found) if here else {}
    arms = {arm: say.told(one, arm, weights.get(arm)) for arm, one in found.items()}
    labels_N = found[verdict.take].labels_N
    floor = {"nearest neighbours": near["test"]} if near else {}
    below = floor | {arm.name: arm.accuracy for arm in reversed(arms.values())}
    most = float(np.bincount(labels_N).max() / len(labels_N))
    basis = say.Basis(len(labels_N), setting.look.classes, parted.folds, most, setting.look.is_skewed)
    text = say.paragraph(verdict, arms, below, basis, {arm.id: one.accuracy for arm, one in full.items()})
    root, cell = Path(study.root), found[verdict.take].cell
    saved = release(root, cell.folder, root / "model", crossed=_crossed(arms[verdict.take], basis))
    tables = _tables(study, verdict, found)
    images = [*lines(setting.look), *parted.lines]
    advice = _as_data(verdict, arms, choice, near, full, tables, text) | _of_parts(parted) | {"images": images}
    write_text(root / "advice.json", json.dumps(advice, indent=1, ensure_ascii=False))
    links = {"The report: tables and figures of the finalists": "report/index.html", "The model": "model/README.md"}
    title = f"Advice for {setting.look.path}"
    write_text(root / "advice.html", say.page(title, text, list(arms.values()), tables, links, images))
    where = f"Model: {saved}\nAdvice: {root / 'advice.html'}, {root / 'advice.json'}"
    return f"\n{text}\n\n{where}\nLabel photographs: vptcore predict {root / 'model'} PHOTOS"


def _crossed(take: say.Told, basis: say.Basis) -> Crossed | None:
    if basis.folds == 1:
        return None
    return Crossed(take.accuracy, take.low, take.high, basis.images, basis.folds, take.seeds)


def _of_parts(parted: Parted) -> dict:
    return {"duplicates": list(map(asdict, parted.shared)), "folds": parted.folds, "splits": list(parted.files)}


def _weighed(study: Study, found: Mapping[str, matrices.Finished]) -> dict[str, Weight]:
    """Memory and speed of each arm, measured once."""
    file = Path(study.root) / "weights.json"
    made_of = {arm: read_provenance(study.path("final", one.cell))["job_hash"] for arm, one in found.items()}
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if known.get("made_of") != made_of:
        measured = {arm: asdict(weigh(study, one.cell)) for arm, one in found.items()}
        known = {"made_of": made_of, "measured": measured}
        write_text(file, json.dumps(known, indent=1))
    return {arm: Weight(**values) for arm, values in known["measured"].items()}


def _as_data(verdict, arms, choice, near, full, tables, text) -> dict:
    contrast = verdict.contrast and {
        name: getattr(verdict.contrast, name) for name in ("difference", "low", "high", "p", "seeds", "images")
    }
    return {
        "advice": text, "take": verdict.take, "instead_of": verdict.other or None, "clear": verdict.clear,
        "same": verdict.same, "points": contrast, "more_test_images": verdict.more,
        "methods": {arm: asdict(one) | {"bytes": one.bytes} for arm, one in arms.items()},
        "val": {"chance_of_best": dict(choice.chances), "dropped": {d.arm: d.why for d in choice.dropped},
                "accuracy": {arm.id: one.accuracy for arm, one in full.items()}, "nearest_neighbours": near.get("val")},
        "test": {"nearest_neighbours": near.get("test")},
        **{name.lower().replace(" ", "_"): [dict(zip(head, row, strict=True)) for row in body]
           for name, (head, body) in tables.items()},
    }  # fmt: skip


def _tables(study: Study, verdict: decide.Verdict, found: Mapping[str, matrices.Finished]) -> dict:
    """Per class, what is mistaken for what, and the images that the two finalists label differently."""
    files = flow.task_files(study, (cell := found[verdict.take].cell).task, cell.train)
    index = read_rows(files["index"], "index").set_index("row")
    names = dict(zip(index["label"], index["class_name"], strict=True))
    take = found[verdict.take]
    arms = [verdict.take, *([verdict.other] if verdict.other else [])]
    per_class = [
        (names[label], int((take.labels_N == label).sum()),
         *(f"{percent(found[arm].right_SN[:, take.labels_N == label].mean())} %" for arm in arms))
        for label in sorted(set(take.labels_N.tolist()))
    ]  # fmt: skip
    tables = {"Per class": (("class", "test images", *map(say.name_of, arms)), per_class)}
    tables["Mistaken most often"] = (("class", "taken for", "share of the class"), _confused(take, names))
    if verdict.other:
        other = found[verdict.other]
        gap_N = take.right_SN.mean(0) - other.right_SN.mean(0)
        order = [i for i in (-abs(gap_N)).argsort(kind="stable") if gap_N[i]][:SHOWN]
        shares = [[f"{percent(found[arm].right_SN[:, i].mean(), 0)} %" for arm in arms] for i in order]
        images = [(index.loc[take.rows_N[i], "key"], names[int(take.labels_N[i])]) for i in order]
        deciding = [(*image, *share) for image, share in zip(images, shares, strict=True)]
        heading = ("image", "class", *(f"right by {say.name_of(arm)}" for arm in arms))
        tables["Images that decide"] = (heading, deciding)
    return tables


def _confused(take: matrices.Finished, names: Mapping[int, str]) -> list[tuple]:
    """(class, taken for, share) of the most frequent mistakes over all seeds."""
    pairs: dict[tuple[int, int], float] = {}
    for label in set(take.labels_N.tolist()):
        answers = take.answers_SN[:, take.labels_N == label].ravel()
        for answer in set(answers.tolist()) - {label}:
            pairs[label, answer] = float((answers == answer).mean())
    worst = sorted(pairs.items(), key=lambda pair: -pair[1])[:SHOWN]
    return [(names[a], names.get(b, str(b)), f"{percent(share, 0)} %") for (a, b), share in worst]
