"""Sub-calls and children: whether many at a time are really in flight at one time, and what one costs."""

from __future__ import annotations

import time

from benchmarks.figures import Figure
from benchmarks.fixture import answering, budget, checked, running

BATCH = 1_000
LATENCY_S = 0.05
SEQUENTIAL = 100
BRANCHES = 4


def batch() -> list[Figure]:
    """One `llm_query_batched` over a thousand prompts; the root's own call of 50 ms included."""
    code = f"answers = llm_query_batched([f'question {{i}}' for i in range({BATCH})])\nFINAL(len(answers))"
    model = answering(code, LATENCY_S)
    with running(model, budget(max_concurrency=256)) as rlm:
        wall, cpu = time.perf_counter(), time.process_time()
        result = checked(rlm.completion("ask"))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    assert result.value == BATCH
    assert len(model.requests) == BATCH + 1
    return [
        Figure(name=f"{BATCH} batched sub-calls at 50 ms, wall", value=wall, unit="s", limit=0.9),
        Figure(name=f"{BATCH} batched sub-calls at 50 ms, CPU of the host", value=cpu, unit="s", limit=0.8),
        Figure(
            name=f"{BATCH} batched sub-calls, 256 / peak in flight",
            value=256 / model.peak_in_flight,
            unit="x",
            limit=1.0,
        ),
    ]


def sequential() -> list[Figure]:
    """A loop of `llm_query` in one cell, timed by the cell itself."""
    code = f"""
import time
begin = time.perf_counter()
for i in range({SEQUENTIAL}):
    llm_query(f"question {{i}}")
FINAL(time.perf_counter() - begin)
"""
    model = answering(code, 0.0)
    with running(model, budget()) as rlm:
        elapsed_s = float(checked(rlm.completion("ask")).value)
    assert len(model.requests) == SEQUENTIAL + 1
    each_ms = elapsed_s / SEQUENTIAL * 1e3
    return [Figure(name=f"{SEQUENTIAL} sequential sub-calls, each", value=each_ms, unit="ms", limit=0.8)]


def tree() -> list[Figure]:
    """21 completions over depths 0 to 2, each asking four times; the 16 leaves end in 64 plain calls."""
    # At the greatest depth `rlm_query` is a plain call: one cell serves all three levels.
    code = f"FINAL(rlm_query_batched([f'part {{i}}' for i in range({BRANCHES})]))"
    model = answering(code, LATENCY_S)
    with running(model, budget(max_depth=2)) as rlm:
        wall = time.perf_counter()
        result = checked(rlm.completion("split"))
        wall = time.perf_counter() - wall
    children = sum(BRANCHES**depth for depth in range(3))
    assert len(model.requests) == children + BRANCHES**3, f"{len(model.requests)} model calls: {result.usage}"
    return [Figure(name="tree of 21 completions and 64 plain calls at 50 ms", value=wall, unit="s", limit=0.4)]
