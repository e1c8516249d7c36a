"""Whether `vptcore audit` finds every damage, cries at none, and `--fix` with a run gives the study back.

In: an undisturbed study and a seed. Out: an outcome for every damage, for clean studies, and for the mending of a study
with many damages at once. Every damage is alone when it is looked for: it must be found in the file it was done to, not
in those that follow from it.

    python -m faults damages --seed 1
"""

from __future__ import annotations

import contextlib
import io
import json
import random
from pathlib import Path

from faults.compare import differences
from faults.damages import DAMAGES, Damage, inflict
from faults.outcome import Outcome, judged
from faults.small import Trial

PART = "damages"
CLEAN = "no alarm on a clean study"
MENDED = "audit --fix and a run"


def run(folder: Path, undisturbed: Trial, seed: int, quick: bool, say) -> list[Outcome]:
    """150 damages, 15 of each kind, and two studies mended; in the quick form 30 and one."""
    trial = undisturbed.copy(folder / "damaged")
    outcomes = [judged(PART, CLEAN, "before", alarms(trial))]
    rng = random.Random(f"damages {seed}")
    for number in range(30 if quick else 150):
        kind = list(DAMAGES)[number % len(DAMAGES)]
        damage = inflict(kind, trial.root, rng)
        outcomes.append(judged(PART, kind, f"{damage.files[0]}, {damage.what}", not_found(damage, trial)))
        damage.undo()
        if (number + 1) % 10 == 0:
            say(f"{number + 1} damages looked for")
    outcomes.append(judged(PART, CLEAN, "after every damage is undone", alarms(trial)))
    for number in range(1 if quick else 2):
        outcomes.append(mended(undisturbed.copy(folder / f"mended_{number}"), undisturbed, rng))
        say(outcomes[-1].line)
    return outcomes


def audit(trial: Trial, *options: str) -> tuple[int, dict]:
    """`vptcore audit --json` of a trial: its exit code and what it says."""
    from vptstudy.cli.main import main

    printed = io.StringIO()
    words = ["audit", str(trial.root.relative_to(trial.folder)), "--configfile", "study.yaml", "--json", *options]
    with contextlib.chdir(trial.folder), contextlib.redirect_stdout(printed):
        status = main(words)
    text = printed.getvalue()
    return status, json.loads(text[text.index("{") :]) if "{" in text else {}


def wrong_files(said: dict) -> dict[str, str]:
    """Name -> first finding of the files that are wrong."""
    return {
        file["file"]: next((f["text"] for f in file["findings"] if f["wrong"]), "")
        for file in said.get("files", ())
        if file["state"] == "wrong"
    }


def alarms(trial: Trial) -> list[str]:
    """What the audit says against a study that is right and whole."""
    status, said = audit(trial, "--complete")
    found = [f"{name}: {text}" for name, text in wrong_files(said).items()]
    return found or ([] if status == 0 else [f"exit code {status}"])


def not_found(damage: Damage, trial: Trial) -> list[str]:
    """What is missing from the audit's account of one damage."""
    status, said = audit(trial)
    wrong = wrong_files(said)
    problems = [] if status == 1 else [f"exit code {status}"]
    if damage.kind == "stale config":
        return problems + ([] if wrong else ["no file is wrong"])
    return problems + [f"{name} passes" for name in damage.files if name not in wrong]


def mended(trial: Trial, undisturbed: Trial, rng: random.Random) -> Outcome:
    """Every kind of damage at once (but a stale config, which is no damage to mend), `--fix`, and a run."""
    damages = [inflict(kind, trial.root, rng) for kind in DAMAGES if kind != "stale config"]
    what = f"{sum(len(damage.files) for damage in damages)} files damaged in {len(damages)} ways"
    try:
        audit(trial, "--fix", "--yes")
    except SystemExit as error:
        return Outcome(PART, MENDED, what, "skipped", f"no --fix ({error})")
    status, printed = trial.run()
    problems = [] if status == 0 else [f"the run ended with {status}: {printed[-200:]!r}"]
    problems += [f"still wrong: {alarm}" for alarm in alarms(trial)]
    return judged(PART, MENDED, what, problems + differences(trial.root, undisturbed.root))
