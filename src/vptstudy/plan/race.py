"""What `search: racing` saves and risks, as `vptcore plan` and `vptcore check` say it.

In: a study. Out: lines; none where no grid of it is raced. The risk is that of the recorded grids that
`python -m bench.racing_replay` replays; tests/test_racing_replay.py holds the sentence to it.

    vptcore plan --config mine.yaml
"""

from __future__ import annotations

from vptcore.training.recipe import recipes_of
from vptstudy import slices
from vptstudy.plan.workload import trainings_of
from vptstudy.study import Study

RISK = (
    "on 8 recorded grids like the study's it chose another configuration in 12%, for 0.1 points less on val "
    "and 0.1 on images outside, on average; on 549 smaller ones in 42%, for 4.0 and 1.0"
)


def race_lines(study: Study) -> list[str]:
    """How many searches are raced and what is trained of them, and the risk."""
    if study.racing is None:
        return []
    jobs = [slices.search(study, cell) for cell in study.searches]
    raced = [job for job in jobs if "racing" in job]
    if not raced:
        return ["search: racing: no grid is long enough to be raced; all are trained whole"]
    whole = sum(len(recipes_of(job)) * job["recipe"]["epochs"] for job in raced)
    left = sum(trainings_of(job).epochs(job) for job in raced) / whole
    head = f"search: racing: {len(raced)} of {len(jobs)} searches, which take {left:.0%} of their grids' epochs"
    return [head, f"risk of racing: {RISK}"]
