"""`vptcore advise`: the rungs, one after the other, each an ordinary study run by the same Snakefile.

In: where the images are, how many minutes, which backbone. Out: `results/<name>` with config.yaml, the report,
`model/`, `advice.json` and `advice.html`, and one paragraph on the terminal. Every rung is in `results/<name>/rungs`
and is a study: what is finished is not done again, so that a killed advice goes on with the configuration it was in.

    vptcore advise photos/leaves --minutes 30
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from vptcore.analysis.release import Crossed, release
from vptcore.analysis.statistics import percent
from vptcore.records import read_provenance, read_rows, write_text
from vptstudy.advise import again, decide, floor, ladder, matrices, rungs, say
from vptstudy.advise.ladder import Tried
from vptstudy.advise.look import Look, lines
from vptstudy.advise.parting import Parted, part
from vptstudy.advise.rungs import ARMS, Arm, Budget, Runs, Setting
from vptstudy.advise.weigh import Weight, weigh
from vptstudy.config.resolve import load_study
from vptstudy.graph import flow
from vptstudy.run import launch
from vptstudy.study import Study

OVERHEAD = 120.0  # seconds of starting Snakemake, of tables and figures
SHOWN = 12  # images named where the two finalists differ


class Stopped(Exception):
    """A rung's run did not finish; its own lines have said why. `status` is Snakemake's."""

    def __init__(self, status: int):
        super().__init__(status)
        self.status = status


@dataclass(frozen=True)
class Runner:
    """How a rung is run: Snakemake's profile and cores."""

    profile: str
    cores: str

    @property
    def is_cluster(self) -> bool:
        return launch.is_cluster(launch.find_profile(self.profile))

    def at_once(self, on_gpu: bool) -> float:
        """How many jobs run at a time: any number on a cluster, one on a GPU."""
        if self.is_cluster:
            return math.inf
        here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return 1 if on_gpu else int(self.cores) if self.cores.isdecimal() else here

    def sharing(self, on_gpu: bool) -> bool:
        """Whether a finalist's seeds are jobs of their own: on a GPU, one job trains them all in the time of one."""
        return not on_gpu and not self.is_cluster and self.at_once(on_gpu) > 1

    def __call__(self, config: Mapping, targets: Sequence[str] | None = None) -> Study:
        """Run a rung's config up to the files that are wanted (None: all, and the report)."""
        study = load_study(config)
        file = Path(study.root) / "config.yaml"
        write_text(file, rungs.as_text(config))
        wanted = list(targets(study)) if callable(targets) else []
        status = launch.run(self.profile, wanted, self.cores, file)
        if status:
            raise Stopped(status)
        return study


def searches(study: Study) -> list[str]:
    return [study.path("search", cell) for cell in study.searches]


def finals(study: Study) -> list[str]:
    return [study.path(kind, cell) for kind in ("final", "predictions") for cell in study.cells]


def advise(look: Look, minutes: float, setting: Setting, run: Runner, by: str = "") -> int:
    """All rungs; Snakemake's exit status. `by` is what images are grouped by."""
    try:
        return _advise(look, minutes, setting, run, by)
    except Stopped as stopped:
        return stopped.status


def _advise(look: Look, minutes: float, setting: Setting, run: Runner, by: str) -> int:
    _title(1, "look")
    for line in lines(look):
        print(f"  {line}")
    images = run(rungs.images(setting), lambda study: [flow.task_files(study, look.name, "train")["index"]])
    parted = part(images, look, by, Path(setting.root))
    for line in parted.lines:
        print(f"  {line}")
    setting = replace(setting, splits=parted.files)
    budget = Budget(rungs.SHORT, rungs.batch_for(parted.train), "train", rungs.seeds_for(parted.folds))
    _title(2, "first answer: nearest neighbours and a linear probe on frozen features")
    first = _shared(images, rungs.probe(setting, budget), run, searches)
    linear = matrices.tried(first)[Arm("linear")]
    near = _floor(setting, first)
    print(f"  val: nearest neighbours {percent(near['val'])} %, linear probe {percent(linear.accuracy)} %")
    budget = _planned(setting, budget, first, parted, minutes, run)
    _title(3, f"rates, on schedules of {budget.short} epochs")
    tried = _rates(setting, budget, run, first)
    _title(4, f"methods, on schedules of {budget.epochs} epochs")
    searched, full, choice = _methods(setting, budget, run, first, tried)
    _title(5, f"{say.listed(map(say.name_of, choice.finalists))}: {len(budget.seeds)} seeds, then test")
    chosen = {arm: one.best for arm, one in full.items() if arm.id in (*choice.finalists, *ladder.FREE)}
    config = rungs.study(setting, budget, chosen, run.sharing(_is_gpu(first)))
    words = _tell(_shared(first, config, run, finals, searched), setting, near, full, choice, parted)
    run(config)  # tables, figures and the report, which says the advice first
    print(words)
    return 0


def _title(number: int, words: str) -> None:
    print(f"\n[{number}/5] {words}", flush=True)


def _planned(setting: Setting, budget: Budget, first: Study, parted: Parted, minutes: float, run: Runner) -> Budget:
    """The schedule that fits into the minutes, timed once: a run that goes on keeps the first one's.

    Of a cluster the plan's rate is taken, as this machine says nothing of it.
    """
    file = Path(setting.root) / "budget.json"
    asked = {"minutes": minutes, "backbone": setting.backbone, "train": parted.train, "folds": parted.folds}
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if known.get("asked") != asked:
        pace = (floor.assumed_seconds if run.is_cluster else floor.seconds_per_image)(first, first.cells[0])
        workers = min(len(ARMS) * parted.folds, run.at_once(_is_gpu(first)))
        left, runs = max(60.0, minutes * 60 - OVERHEAD), Runs(len(budget.seeds), parted.folds)
        epochs = rungs.epochs_within(left, pace, parted.train, parted.val, workers, runs)
        known = {"asked": asked, "epochs": epochs, "seconds_per_image": pace}
        write_text(file, json.dumps(known, indent=1))
    where = f" on {first.config['plan']['device']}s, time in the queue not counted" if run.is_cluster else " here"
    print(f"  full schedules of {known['epochs']} epochs fit into {minutes:g} minutes{where}")
    return replace(budget, epochs=int(known["epochs"]))


def _is_gpu(study: Study) -> bool:
    import torch

    return study.config["device"] != "cpu" and torch.cuda.is_available()


def _shared(first: Study, config: Mapping, run: Runner, targets=None, searched: Study | None = None) -> Study:
    """Run a config whose images an earlier rung has decoded already, and whose searches `searched` may have done."""
    study = load_study(config)
    again.share(first, study)
    if searched:
        again.share_searches(searched, study)
    return run(config, targets)


def _rates(setting: Setting, budget: Budget, run: Runner, first: Study) -> dict[Arm, Tried]:
    """Arm -> its search on short schedules; of the lengths of prompts, the better one."""

    def short(arms: Mapping[Arm, tuple[float, ...]], suffix: str) -> dict[Arm, Tried]:
        configs = rungs.rates(setting, budget, arms, suffix)
        return {arm: one for c in configs for arm, one in matrices.tried(_shared(first, c, run, searches)).items()}

    found = ladder.search(short)
    for arm, one in sorted(found.items()):
        rates = " or ".join(f"{rate:.2g}" for rate in sorted(set(one.best)))
        print(f"  {say.name_of(arm.id)}: best of {len(one.rates)} rates {rates}, val {percent(one.accuracy)} %")
    return ladder.better_length(found)


def _methods(setting: Setting, budget: Budget, run: Runner, first: Study, tried: Mapping[Arm, Tried]):
    """Each method on a full schedule, and a linear probe at all of its rates: the study, its searches, the choice."""
    config = rungs.schedules(setting, budget, {arm: one.best for arm, one in tried.items()})
    study = _shared(first, config, run, searches)
    found = matrices.tried(study)
    full = {next((arm for arm in tried if arm.method == a.method), a): one for a, one in found.items()}
    choice = ladder.finalists(full)
    for arm, one in sorted(full.items(), key=lambda pair: -pair[1].accuracy):
        why = next((f": {drop.why}" for drop in choice.dropped if drop.arm == arm.id), ", goes on")
        print(f"  {say.name_of(arm.id)}: val {percent(one.accuracy)} %{why}")
    return study, full, choice


def _floor(setting: Setting, first: Study) -> dict[str, float]:
    """Accuracy of nearest neighbours, computed once."""
    file = Path(setting.root) / "neighbours.json"
    made_of = [read_provenance(first.path("search", cell))["job_hash"] for cell in first.cells]
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if known.get("made_of") != made_of:
        known = {"made_of": made_of, **floor.neighbours(first)}
        write_text(file, json.dumps(known))
    return known


def _tell(
    study: Study,
    setting: Setting,
    near: Mapping,
    full: Mapping[Arm, Tried],
    choice: decide.Choice,
    parted: Parted,
) -> str:
    """The verdict from test in files, and the model of the method to take; returns what the terminal says."""
    found = {arm.id: one for arm, one in matrices.finished(study).items()}
    verdict = decide.decide({arm: found[arm].right_SN for arm in choice.finalists}, ladder.cost_of(full), ladder.FREE)
    if not verdict.other:
        verdict = replace(verdict, same=choice.alike)
    weights = _weighed(study, found)
    arms = {arm: say.told(one, arm, weights[arm]) for arm, one in found.items()}
    test = found[verdict.take].right_SN.shape[1]
    below = {"nearest neighbours": near["test"]} | {arm.name: arm.accuracy for arm in reversed(arms.values())}
    basis = say.Basis(test, setting.look.classes, parted.folds)
    text = say.paragraph(verdict, arms, below, basis, {arm.id: one.accuracy for arm, one in full.items()})
    root, cell = Path(study.root), found[verdict.take].cell
    saved = release(root, cell.folder, root / "model", crossed=_crossed(arms[verdict.take], basis))
    tables = _tables(study, verdict, found)
    advice = _as_data(verdict, arms, choice, near, full, tables, text) | _of_parts(parted)
    write_text(root / "advice.json", json.dumps(advice, indent=1, ensure_ascii=False))
    links = {"The report: tables and figures of the finalists": "report/index.html", "The model": "model/README.md"}
    write_text(root / "advice.html", say.page(setting.look.name, text, list(arms.values()), tables, links))
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
                "accuracy": {arm.id: one.accuracy for arm, one in full.items()}, "nearest_neighbours": near["val"]},
        "test": {"nearest_neighbours": near["test"]},
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
