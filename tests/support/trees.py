"""Random trees of completions: what is drawn for one, and the model that makes one grow.

Every prompt carries a mark of its own, `#17#`, and every text that answers it repeats the mark, so that an answer at a
wrong place is found.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from rlm.backends.estimate import estimate_usage
from rlm.backends.retry import RetryPolicy, call_with_retries
from rlm.backends.scripted import tool_call
from rlm.core.budget import Budget
from rlm.core.calls.model import note_retry
from rlm.core.exceptions import BackendConnectionError, BadRequestError, ContextOverflowError, RateLimitError
from rlm.core.types import ModelReply, ModelTraits, Price, TokenUsage

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence

    from rlm.core.types import ModelRequest, ToolCall

QUESTIONS = ("llm_query", "llm_query_batched", "rlm_query", *["rlm_query_batched"] * 3, "ping")
MARK = re.compile(r"#\d+#")
PRICES = {
    "main": Price(input_usd=3.0, output_usd=15.0, cached_usd=0.3),
    "sub": Price(input_usd=2.0, output_usd=12.0),
}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One random tree: its caps, and how its model and its cells behave."""

    seed: int
    """Of everything that is decided while the tree grows."""
    budget: Budget
    max_sandboxes: int
    max_output_tokens: int
    native_tools: bool
    priced: tuple[str, ...]
    """The models whose price is known."""
    width: int
    """The most items of a batch."""
    greed: float
    """The share of replies that use their whole output cap."""
    misjudged: float
    """Prompts hold up to so many times the tokens of their estimate."""
    passing_faults: float
    """The share of attempts that fail and may be repeated."""
    final_faults: float
    latency_s: float
    sandbox_s: float
    """The longest a REPL takes to open or close."""
    window_tokens: int | None
    """Of both models."""
    repeats: float
    """The share of questions that were asked before."""
    memoise: bool
    cache: bool
    cancel_at: tuple[tuple[int, float], ...]
    """The run is cancelled so many seconds after the event of that number."""


def draw_plan(rng: random.Random) -> Plan:
    """Draw a tree; with Hypothesis's `randoms()` it shrinks."""
    costly = rng.random() < 0.3
    priced = ("main", "sub") if costly or rng.random() < 0.5 else rng.choice([(), ("main",), ("sub",)])
    return Plan(
        seed=rng.randint(0, 2**32),
        budget=_draw_budget(rng, costly=costly),
        max_sandboxes=rng.choice([1, 2, 3, 5, 5, 32, 32, 32]),
        max_output_tokens=rng.choice([100, 600, 2_000, 8_192]),
        native_tools=rng.random() < 0.6,
        priced=priced,
        width=rng.choice([1, 3, 8, 8]),
        greed=rng.choice([0.0, 0.5, 1.0]),
        misjudged=rng.choice([1.0, 1.3]),
        passing_faults=rng.choice([0.0, 0.0, 0.1, 0.4]),
        final_faults=rng.choice([0.0, 0.0, 0.05]),
        latency_s=rng.choice([0.0, 0.05, 1.0]),
        sandbox_s=rng.choice([0.0, 0.1]),
        window_tokens=rng.choice([None, None, 4_000, 12_000]),
        repeats=rng.choice([0.0, 0.3]),
        memoise=rng.random() < 0.7,
        cache=rng.random() < 0.2,
        cancel_at=tuple(_draw_moment(rng) for _ in range(rng.choice([0, 0, 0, 0, 1, 2]))),
    )


def _draw_budget(rng: random.Random, *, costly: bool) -> Budget:
    return Budget(
        max_depth=rng.choice([0, 1, 2, 2, 3, 3, 4, 4]),
        max_turns=rng.choice([1, 2, 3, 6, 6]),
        token_budget=_draw_tokens(rng),
        cost_budget_usd=rng.choice([0.02, 0.5, 2.0, 5.0]) * rng.uniform(0.3, 1.0) if costly else None,
        tool_budget=rng.choice([None, rng.randint(0, 6)]),
        subcall_budget=rng.choice([rng.randint(0, 8), rng.randint(8, 60), rng.randint(60, 300)]),
        timeout_s=rng.choice([None, None, rng.uniform(0.01, 6.0)]),
        max_concurrency=rng.choice([1, 2, 5, 64]),
    )


def _draw_moment(rng: random.Random) -> tuple[int, float]:
    return rng.randint(3, rng.choice([20, 300])), rng.choice([0.0, 0.001, 0.1])


def _draw_tokens(rng: random.Random) -> int | None:
    drawn = rng.choice(["none", "small", "tight", "tight", "wide", "wide", "wide"])
    bounds = {"none": (0, 0), "small": (500, 5_000), "tight": (5_000, 60_000), "wide": (60_000, 10**6)}
    return None if drawn == "none" else rng.randint(*bounds[drawn])


@dataclass(kw_only=True)
class Made:
    """What the model did, in its own books."""

    usage: TokenUsage = field(default_factory=TokenUsage)
    cost_usd: float | None = 0.0
    replies: int = 0
    peak_in_flight: int = 0


class TreeModel:
    """A backend whose replies are drawn: programs that call on, answers, nonsense, faults."""

    def __init__(self, plan: Plan, rng: random.Random) -> None:
        self._plan = plan
        self._rng = rng
        self._marks = count(1)
        self._asked: list[str] = []
        self._in_flight = 0
        self._policy = RetryPolicy(max_retries=2, base_s=0.0)
        self.made = Made()

    def traits(self, model: str) -> ModelTraits:
        price = PRICES[model] if model in self._plan.priced else None
        return ModelTraits(
            native_tools=self._plan.native_tools, price=price, context_window_tokens=self._plan.window_tokens
        )

    async def call(self, request: ModelRequest) -> ModelReply:
        self._in_flight += 1
        self.made.peak_in_flight = max(self.made.peak_in_flight, self._in_flight)
        try:
            return await call_with_retries(lambda: self._attempt(request), self._policy, note_retry)
        finally:
            self._in_flight -= 1

    async def aclose(self) -> None:
        return

    def new_mark(self) -> str:
        return f"#{next(self._marks)}#"

    async def _attempt(self, request: ModelRequest) -> ModelReply:
        await asyncio.sleep(self._rng.random() * self._plan.latency_s)
        if self._rng.random() < self._plan.passing_faults:
            error = self._rng.choice([RateLimitError, BackendConnectionError])
            raise error("come again", retry_after_s=self._rng.random() * self._plan.latency_s)
        if self._rng.random() < self._plan.final_faults:
            raise BadRequestError("no")
        if estimate_usage(request, "").input_tokens > (self._plan.window_tokens or 10**9):
            raise ContextOverflowError("too long")
        return self._book(request, *self._reply(request))

    def _book(self, request: ModelRequest, text: str, calls: tuple[ToolCall, ...]) -> ModelReply:
        cap = request.max_output_tokens
        prompt = estimate_usage(request, "").input_tokens
        input_tokens = int(prompt * self._rng.uniform(0.5, self._plan.misjudged))
        usage = TokenUsage(
            input_tokens=input_tokens,
            output_tokens=cap if self._rng.random() < self._plan.greed else self._rng.randint(1, cap),
            cached_tokens=self._rng.choice([0, input_tokens // 2]),
        )
        price = self.traits(request.model).price
        cost_usd = None if price is None else price.cost_usd(usage)
        self.made.usage += usage
        self.made.replies += 1
        if self.made.cost_usd is not None:
            self.made.cost_usd = None if cost_usd is None else self.made.cost_usd + cost_usd
        return ModelReply(text=text, usage=usage, tool_calls=calls, finish="tool_calls" if calls else "stop")

    def _reply(self, request: ModelRequest) -> tuple[str, tuple[ToolCall, ...]]:
        mark = first_mark(request)
        if "The run ends here" in request.messages[-1].content:
            return self._rng.choice(["", f"best {mark}", f"FINAL(best {mark})", "FINAL_VAR(nothing)"]), ()
        if request.messages[0].role != "system":
            return self._answer(request, mark), ()
        return self._turn(mark)

    def _answer(self, request: ModelRequest, mark: str) -> str:
        if request.response_schema is None or self._rng.random() < 0.4:
            return f"answer {mark}"
        return json.dumps(f"answer {mark}")

    def _turn(self, mark: str) -> tuple[str, tuple[ToolCall, ...]]:
        drawn = self._rng.random()
        if drawn < 0.05:
            return "", ()
        if drawn < 0.1:
            return f"FINAL(the answer is {mark})", ()
        programs = [json.dumps(self._program(mark)) for _ in range(self._rng.choice([1, 1, 2]))]
        if not self._plan.native_tools:
            return "\n".join([f"now {mark}", *(f"```repl\n{code}\n```" for code in programs)]), ()
        calls = [tool_call("execute_code", code=code) for code in programs]
        if self._rng.random() < 0.2:
            calls.insert(0, tool_call("ping", text=mark))
        return f"now {mark}", tuple(calls)

    def _program(self, mark: str) -> list[list[Any]]:
        steps = [self._step(mark) for _ in range(self._rng.randint(1, 6))]
        ending: list[list[list[Any]]] = [[["final", f"done {mark}"]], [["fail"]], [["join"]], []]
        return steps + self._rng.choices(ending, [3, 1, 3, 3])[0]

    def _step(self, mark: str) -> list[Any]:
        kind = self._rng.choices(["ask", "say", "sleep"], [8, 1, 1])[0]
        if kind == "say":
            return ["say", f"seen {mark} " * self._rng.choice([1, 300])]
        if kind == "sleep":
            return ["sleep", self._rng.random() * self._plan.latency_s]
        return [self._rng.choice(["call", "call", "spawn"]), *self._question(mark)]

    def _question(self, mark: str) -> tuple[str, list[Any], Mapping[str, Any]]:
        """A call of guest code, drawn: the name, the arguments."""
        name = self._rng.choice(QUESTIONS)
        if name == "ping":
            return name, [mark], {}
        prompts = [self._prompt() for _ in range(self._rng.randint(1, self._plan.width))]
        given: Sequence[Any] = [self._rng.choice([None, "some data", {"k": [1]}]) for _ in prompts]
        typed = {"output_type": {"type": "string"}} if self._rng.random() < 0.2 else {}
        if name.startswith("llm"):
            return (name, [prompts], typed) if name.endswith("batched") else (name, [prompts[0]], typed)
        return (name, [prompts, list(given)], {}) if name.endswith("batched") else (name, [prompts[0], given[0]], {})

    def _prompt(self) -> str:
        if self._asked and self._rng.random() < self._plan.repeats:
            return self._rng.choice(self._asked)
        self._asked.append(f"ask {self.new_mark()} " + "x" * self._rng.choice([0, 0, 300, 6_000]))
        return self._asked[-1]


def first_mark(request: ModelRequest) -> str:
    """The mark of the task or question that a request is about."""
    for message in request.messages:
        if message.role == "user" and (found := MARK.search(message.content)):
            return found[0]
    raise AssertionError(f"no mark in {request.messages}")
