"""How long jobs take at so many GPUs: the longest chain, and a list schedule that starts the longest chain first.

In: seconds, needs and the kind of slot of each job. Out: seconds. A chain bounds every schedule from below (ft_then_pt
waits for full's finals); a list schedule is at most twice the best one.

    python -m pytest tests/vptstudy/plan/test_schedule.py
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    seconds: float
    needs: Sequence[str] = ()
    on_gpu: bool = True


def tails(tasks: Mapping[str, Step]) -> dict[str, float]:
    """For each task, the seconds of the longest chain that begins with it. `tasks` come in an order that can run."""
    tail = {id: task.seconds for id, task in tasks.items()}
    for id in reversed(list(tasks)):
        for need in tasks[id].needs:
            if need in tasks:
                tail[need] = max(tail[need], tasks[need].seconds + tail[id])
    return tail


def longest_chain(tasks: Mapping[str, Step]) -> list[str]:
    """The ids of the chain that takes longest, first to last."""
    tail = tails(tasks)
    if not tail:
        return []
    after: dict[str, list[str]] = {id: [] for id in tasks}
    for id, task in tasks.items():
        for need in task.needs:
            if need in after:
                after[need].append(id)
    chain = [max(tail, key=tail.__getitem__)]
    while after[chain[-1]]:
        chain.append(max(after[chain[-1]], key=tail.__getitem__))
    return chain


def makespan(tasks: Mapping[str, Step], gpus: int, cpus: int = 64) -> float:
    """Wall seconds with `gpus` GPUs, one job each, and `cpus` further jobs at a time beside them."""
    tail = tails(tasks)
    waits = {id: sum(need in tasks for need in task.needs) for id, task in tasks.items()}
    after: dict[str, list[str]] = {id: [] for id in tasks}
    for id, task in tasks.items():
        for need in task.needs:
            if need in after:
                after[need].append(id)
    ready: dict[bool, list[tuple[float, str]]] = {True: [], False: []}
    free, running, now = {True: gpus, False: cpus}, [], 0.0
    for id, count in waits.items():
        if not count:
            heapq.heappush(ready[tasks[id].on_gpu], (-tail[id], id))
    while True:
        for on_gpu, queue in ready.items():
            while queue and free[on_gpu]:
                _, id = heapq.heappop(queue)
                free[on_gpu] -= 1
                heapq.heappush(running, (now + tasks[id].seconds, id))
        if not running:
            return now
        now, done = heapq.heappop(running)
        free[tasks[done].on_gpu] += 1
        for id in after[done]:
            waits[id] -= 1
            if not waits[id]:
                heapq.heappush(ready[tasks[id].on_gpu], (-tail[id], id))
