"""What the event loop does without a pause: in random trees, and where cells and models ask for much. During a piece of
work no time limit is looked at, no cancel comes through, and no other run goes on."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from benchmarks.figures import Figure
from benchmarks.fixture import USAGE, budget, cell, running, scripted
from benchmarks.watchdog import Watchdog, watching
from rlm import Budget, tool
from rlm.backends.scripted import ScriptedBackend
from rlm.core.types import ModelReply, ModelRequest
from tests.support.faulty_trees import grow_over_http
from tests.support.tree_checks import check
from tests.support.tree_runs import grow
from tests.support.trees import draw_plan

LIMIT_MS = 50.0
TREES = 1_000
FAULTY_TREES = 100
_SERVER = ("RequestHandler._handle_request", "RequestHandler.start")
"""The work of the test's own server, which is on the same loop."""

HOSTILE: Mapping[str, str] = {
    "an answer of 400,000 keys": "FINAL({f'k{n}': n for n in range(400_000)})",
    "an answer of 400,000 short texts": "FINAL({f'key{n}': f'v=a{n}' for n in range(400_000)})",
    "a tool call of 400,000 keys": "FINAL(len(take({f'k{n}': 'v' for n in range(400_000)})))",
    "a tool result of 400,000 keys": "FINAL(len(give(400_000)))",
    "an answer of 9 MB of names": "FINAL('key=abc; ' * 1_000_000)",
    "an answer of 9 MB of names in lines": "FINAL('key=abc;\\n' * 1_000_000)",
    "an answer of 60 MB": "FINAL('x' * 60_000_000)",
    "output of a million characters": "print('key=abc; ' * 110_000)\nFINAL(1)",
    "output of many lines": "for n in range(200_000): print(n)\nFINAL(1)",
    "990,000 prompts": "try:\n    llm_query_batched(['x'] * 990_000)\nexcept ValueError as e:\n    FINAL(str(e))",
    "10,000 prompts beyond the budget": "llm_query_batched([f'x{n}' for n in range(10_000)])\nFINAL(1)",
    "a prompt of 10 MB": "FINAL(llm_query('key=abc; ' * 1_000_000)[:9])",
    "a child over a large value": "FINAL(len(rlm_query('x', context=[str(n) for n in range(300_000)])))",
    "a traceback of long lines": "raise ValueError('key=abc; ' * 100_000)",
    "a schema without end": (
        "s = {'properties': {'a': True}}\n"
        "for _ in range(22): s = {'allOf': [s], 'unevaluatedProperties': False}\n"
        "try:\n    llm_query('x', output_type={'type': 'object', **s})\nexcept Exception as e:\n    FINAL(str(e))"
    ),
}
"""Cells that ask the host for much work."""

REPLIES: Mapping[str, str] = {
    "a reply of a million lines": "\n" * 1_000_000,
    "a reply of fences": "```repl\n" * 120_000,
    "a reply of thoughts": "<think>\n" * 120_000,
    "a reply of FINALs": "FINAL(<\n" * 120_000,
    "a reply of parentheses": "FINAL(" + "(" * 1_000_000,
    "a reply of names": "key=abc; " * 110_000,
    "a reply of backslashes": '```repl\nx = "' + "\\" * 190_000 + '"\n```',
}
"""Texts that a model, or who poses as one, may send."""


@tool(reads_only=True)
def take(values: dict[str, str]) -> list[str]:
    """Take values and return their names."""
    return list(values)


@tool(reads_only=True)
def give(count: int) -> dict[str, str]:
    """Return many values."""
    return {f"name {number}": f"value {number}" for number in range(count)}


def trees() -> list[Figure]:
    """The longest piece of work in a thousand random trees of completions, where what would run in a thread runs in
    place and is left out; then in trees over a server that cuts, hangs and misreports, and over one that overruns.
    """
    with tempfile.TemporaryDirectory() as folder, watching("_settle") as dog:
        for seed in range(TREES):
            check(grow(draw_plan(random.Random(seed)), Path(folder)))
    return [_figure(f"{TREES:,} random trees", dog), _faulty("cuts and hangs", 0.0), _faulty("overruns", 0.3)]


def _faulty(name: str, overruns: float) -> Figure:
    with tempfile.TemporaryDirectory() as folder, watching(*_SERVER) as dog:
        for seed in range(FAULTY_TREES):
            grow_over_http(seed, Path(folder), overruns=overruns)
    return _figure(f"{FAULTY_TREES} trees over a server that {name}", dog)


def hostile_cells() -> list[Figure]:
    """The longest piece of work for each cell that asks for much."""
    return [_cell(name, code) for name, code in HOSTILE.items()]


def hostile_replies() -> list[Figure]:
    """The longest piece of work for each reply that is made to be slow."""
    return [_reply(name, text) for name, text in REPLIES.items()]


def _cell(name: str, code: str) -> Figure:
    def answer(request: ModelRequest) -> ModelReply:
        return cell(code) if request.tools else ModelReply(text='{"a": 1}', usage=USAGE)

    return _watched(name, scripted(answer))


def _reply(name: str, text: str) -> Figure:
    replies = iter([ModelReply(text=text, usage=USAGE)])
    return _watched(name, scripted(lambda _request: next(replies, None) or cell("FINAL(1)")))


def _watched(name: str, model: ScriptedBackend) -> Figure:
    with running(model, _caps(), tools=(take, give)) as rlm, watching() as dog:
        rlm.completion("x")
    return _figure(name, dog)


def _caps() -> Budget:
    """Caps that leave room for one hostile reply and another, and for fewer sub-calls than some ask for."""
    return msgspec.structs.replace(budget(max_turns=2), subcall_budget=1_000)


def _figure(name: str, dog: Watchdog) -> Figure:
    print(*dog.lines(LIMIT_MS), sep="\n", end="\n" if dog.lines(LIMIT_MS) else "")
    if dog.longest_collection_s * 1e3 > LIMIT_MS:
        print(f"{name}: a collection of garbage took {dog.longest_collection_s * 1e3:.0f} ms, counted apart")
    return Figure(name=f"loop, {name}: longest piece", value=dog.longest_ms, unit="ms", limit=LIMIT_MS)
