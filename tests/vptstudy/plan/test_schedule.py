"""Chains and schedules of small random graphs against every path and every order."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vptstudy.plan.schedule import Step, longest_chain, makespan, tails


@st.composite
def graphs(draw, most=6):
    count = draw(st.integers(1, most))
    tasks = {}
    for i in range(count):
        needs = [f"t{j}" for j in range(i) if draw(st.booleans())]
        tasks[f"t{i}"] = Step(float(draw(st.integers(1, 9))), needs)
    return tasks


def all_paths(tasks):
    """Every chain of the graph, by plain recursion."""

    def ending_with(id):
        yield [id]
        for need in tasks[id].needs:
            for path in ending_with(need):
                yield [*path, id]

    return [path for id in tasks for path in ending_with(id)]


def best_of_all_orders(tasks, gpus):
    """The shortest schedule: some order of the tasks, each started as soon as its needs and a GPU are free, is it."""
    best = float("inf")
    for order in itertools.permutations(tasks):
        if any(order.index(need) > order.index(id) for id in tasks for need in tasks[id].needs):
            continue
        ends, free = {}, [0.0] * gpus
        for id in order:
            gpu = min(range(gpus), key=free.__getitem__)
            begins = max([free[gpu], *(ends[need] for need in tasks[id].needs)])
            ends[id] = free[gpu] = begins + tasks[id].seconds
        best = min(best, max(ends.values()))
    return best


@given(graphs())
def test_the_longest_chain_is_the_longest_of_all_paths(tasks):
    longest = max(sum(tasks[id].seconds for id in path) for path in all_paths(tasks))
    assert max(tails(tasks).values()) == longest
    assert sum(tasks[id].seconds for id in longest_chain(tasks)) == longest
    assert longest_chain(tasks) in all_paths(tasks)


@settings(max_examples=60, deadline=None)
@given(graphs(5), st.integers(1, 3))
def test_a_schedule_is_no_better_than_the_best_and_within_grahams_bound(tasks, gpus):
    best, ours = best_of_all_orders(tasks, gpus), makespan(tasks, gpus)
    assert best <= ours <= (2 - 1 / gpus) * best


@given(graphs())
def test_one_gpu_takes_the_sum_and_many_the_chain(tasks):
    assert makespan(tasks, 1) == sum(task.seconds for task in tasks.values())
    assert makespan(tasks, len(tasks)) == max(tails(tasks).values())


def test_cpu_jobs_run_beside():
    tasks = {"a": Step(5, (), on_gpu=False), "b": Step(5), "c": Step(1, ("a", "b"))}
    assert makespan(tasks, 1) == 6


def test_nothing_takes_no_time():
    assert makespan({}, 4) == pytest.approx(0)
    assert longest_chain({}) == []
