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
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vptcore.analysis.statistics import percent
from vptcore.jobs import manifest
from vptcore.records import digest, read_provenance, write_text
from vptstudy.advise import again, floor, ladder, matrices, rungs, say
from vptstudy.advise.answer import tell
from vptstudy.advise.ladder import Tried
from vptstudy.advise.look import Look, lines
from vptstudy.advise.parting import Parted, part
from vptstudy.advise.rungs import ARMS, Arm, Budget, Runs, Setting
from vptstudy.config.resolve import load_study
from vptstudy.graph import flow
from vptstudy.run import launch
from vptstudy.study import Study

RUNGS = 10  # times that Snakemake is started after the first answer
MODEST = 60.0  # seconds of computing that a cluster's login node bears
OVERHEAD = 120.0  # seconds that all of them take beside training, where jobs wait in a queue and it cannot be timed


@dataclass(frozen=True)
class Time:
    """`minutes` asked for, seconds `spent` by the first answer, and those that all that is no training will take."""

    minutes: float
    spent: float
    around: float

    @property
    def left(self) -> float:
        """Seconds for training."""
        return max(0.0, 60 * self.minutes - self.spent - self.around)

    def told(self, epochs: int, epoch: float) -> str:
        """How long full schedules of so many epochs take, at `epoch` seconds each."""
        takes = max(1, math.ceil((self.around + epochs * epoch) / 60))
        about = f"about {takes} more minute{'s' * (takes > 1)}"
        if epochs == rungs.SHORT * rungs.LEAST and takes > self.minutes:
            return f"full schedules of {epochs} epochs, the shortest there are, take longer than you said: {about}"
        return f"full schedules of {epochs} epochs: {about}"


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
    started = time.monotonic()
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
    before = time.monotonic()
    first = _shared(images, rungs.probe(setting, budget), run, searches)
    around = OVERHEAD if run.is_cluster else RUNGS * _beside(first, time.monotonic() - before, run)
    linear = matrices.tried(first)[Arm("linear")]
    near = _floor(setting, first, run)
    nearest = f"nearest neighbours {percent(near['val'])} %, " if near else ""
    print(f"  val: {nearest}linear probe {percent(linear.accuracy)} %")
    budget = _planned(setting, budget, first, parted, Time(minutes, time.monotonic() - started, around), run)
    _title(3, f"rates, on schedules of {budget.short} epochs")
    tried = _rates(setting, budget, run, first)
    _title(4, f"methods, on schedules of {budget.epochs} epochs")
    searched, full, choice = _methods(setting, budget, run, first, tried)
    _title(5, f"{say.listed(map(say.name_of, choice.finalists))}: {len(budget.seeds)} seeds, then test")
    chosen = {arm: one.best for arm, one in full.items() if arm.id in (*choice.finalists, *ladder.FREE)}
    config = rungs.study(setting, budget, chosen, run.sharing(_is_gpu(first)))
    done = _shared(first, config, run, finals, searched)
    words = tell(done, setting, near, full, choice, parted, here=not run.is_cluster)
    run(config)  # tables, figures and the report, which says the advice first
    print(words)
    return 0


def _title(number: int, words: str) -> None:
    print(f"\n[{number}/5] {words}", flush=True)


def _beside(first: Study, took: float, run: Runner) -> float:
    """Of the seconds that a rung took, those that its jobs did not."""
    records = (manifest.record_path(first.root, manifest.known_as(first.path("search", cell))) for cell in first.cells)
    trained = sum(manifest.read_record(record)["seconds"] for record in records)
    return max(1.0, took - trained / min(len(first.cells), run.at_once(_is_gpu(first))))


def _planned(setting: Setting, budget: Budget, first: Study, parted: Parted, time_: Time, run: Runner) -> Budget:
    """The schedule that fits into the minutes, timed once: a run that goes on keeps the first one's.

    Of a cluster the plan's rate is taken, as this machine says nothing of it.
    """
    file = Path(setting.root) / "budget.json"
    asked = {"minutes": time_.minutes, "backbone": setting.backbone, "train": parted.train, "folds": parted.folds}
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if known.get("asked") == asked:
        print(f"  full schedules of {known['epochs']} epochs, as when it was started")
        return replace(budget, epochs=int(known["epochs"]))
    pace = (floor.assumed_seconds if run.is_cluster else floor.seconds_per_image)(first, first.cells[0])
    workers = min(len(ARMS) * parted.folds, run.at_once(_is_gpu(first)))
    epoch = rungs.epoch_seconds(pace, parted.train, parted.val, workers, Runs(len(budget.seeds), parted.folds))
    epochs = rungs.epochs_within(time_.left, epoch)
    write_text(file, json.dumps({"asked": asked, "epochs": epochs, "seconds_per_image": pace}, indent=1))
    where = f" on {first.config['plan']['device']}s, time in the queue not counted" if run.is_cluster else " here"
    print(f"  {time_.told(epochs, epoch)}{where}")
    return replace(budget, epochs=epochs)


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
        rates = " or ".join(f"{rungs.as_config(rate, budget):g}" for rate in sorted(set(one.best)))
        best = f"best of {len(one.rates)} learning rates {rates}"
        print(f"  {say.name_of(arm.id)}: {best}, val {percent(one.accuracy)} %")
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


def _floor(setting: Setting, first: Study, run: Runner) -> dict[str, float]:
    """Accuracy of nearest neighbours, computed once; nothing where that is too much for the machine that sends jobs."""
    file = Path(setting.root) / "neighbours.json"
    made_of = [_made_of(read_provenance(first.path("search", cell))) for cell in first.cells]
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if known.get("made_of") == made_of:
        return known
    if run.is_cluster and (seconds := floor.seconds_of_neighbours(first)) > MODEST:
        print(f"  nearest neighbours are left out: their features would take {seconds / 60:,.0f} minutes here")
        return {}
    known = {"made_of": made_of, **floor.neighbours(first)}
    write_text(file, json.dumps(known))
    return known


def _made_of(note: Mapping) -> str:
    """What a job read: its slice, and its images and splits by what they hold."""
    return digest([note["job_hash"], sorted(read["sha256"] for read in note["inputs"].values())])
