"""Says what a run would send and may cost, before it costs anything: the data is read, the sandbox started, and the
first messages written, as a run does it; no model is called and no record kept.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NoReturn, TypeVar

import msgspec

from rlm.core import dialects
from rlm.core.budget import estimate_message
from rlm.core.loop.completion import Completion
from rlm.core.loop.instructions import system_prompt, task_prompt
from rlm.core.types import Message, TokenUsage
from rlm.runtime.opening import open_run
from rlm.trajectory.index.folder import Index
from rlm.trajectory.index.rows import RunQuery
from rlm.trajectory.places import log_folder

if TYPE_CHECKING:
    from rlm.core.config import Config
    from rlm.core.run import Model, Task
    from rlm.core.types import Price
    from rlm.runtime.opening import OpenRun
    from rlm.runtime.request import Request
    from rlm.runtime.wiring import Parts

N = TypeVar("N", int, float)
LIKE_RUNS = 3
"""So many earlier runs tell better than an assumption."""
TURNS = 8
"""How many turns a run is taken to have of which nothing is known."""
TURN_TOKENS = 1_500
"""How much a turn is taken to add to the conversation, a third of it written by the model."""
_WRITTEN_TOKENS = TURN_TOKENS // 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Spend:
    """What a run may use."""

    tokens: int | None
    """None where nothing bounds it."""
    cost_usd: float | None
    """None where nothing bounds it, or the price is unknown."""
    basis: str
    """What it is based on, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a run would be."""

    model: str
    environment: str
    context: str
    """What the model would be told of the data."""
    warnings: tuple[str, ...]
    messages: tuple[Message, ...]
    """The first messages."""
    input_tokens: int
    """An estimate of the first request."""
    worst: Spend
    likely: Spend


async def forecast(parts: Parts, request: Request) -> Forecast:
    """Read and check what a run needs, and say what it would be.

    Raises:
        RLMError: as `open_run`.
    """
    with tempfile.TemporaryDirectory(prefix="rlm-forecast-") as folder, parts.in_progress():
        config = msgspec.structs.replace(request.config, log_dir=folder)
        opened = await open_run(parts, replace(request, config=config))
        try:
            return _of(opened, request.config)
        finally:
            opened.close()


def _of(opened: OpenRun, config: Config) -> Forecast:
    run, task = opened.run, opened.task
    completion = Completion(run, task, _nobody)
    dialect = dialects.choose(config.dialect, native_tools=task.model.native_tools)
    system = Message(role="system", content=system_prompt(run, task, dialect))
    messages = (system, Message(role="user", content=task_prompt(task), images=task.images))
    first_tokens = completion.conversation.input_tokens + sum(map(estimate_message, messages))
    models = [task.model, run.find_model(None), *map(run.find_model, config.allowed_models)]
    worst = _worst(config, [model.price for model in models])
    choice = run.sandbox.traits.choice
    return Forecast(
        model=task.model.label,
        environment=config.environment if choice is None else choice.environment,
        context=task.context.describe(),
        warnings=tuple(opened.record.recorder.warnings),
        messages=messages,
        input_tokens=first_tokens,
        worst=worst,
        likely=_likely(config, task.model, first_tokens, worst),
    )


def _worst(config: Config, prices: list[Price | None]) -> Spend:
    """The most that the caps allow, at the dearest of the prices."""
    tokens, cap_usd = config.budget.token_budget, config.budget.cost_budget_usd
    bought = None
    if tokens is not None and None not in prices:
        uses = (TokenUsage(input_tokens=tokens), TokenUsage(output_tokens=tokens))
        bought = max(price.worst_usd(use) for price in prices if price is not None for use in uses)
    bounds = [usd for usd in (bought, cap_usd) if usd is not None]
    return Spend(tokens=tokens, cost_usd=min(bounds, default=None), basis="the caps, all of them used")


def _likely(config: Config, model: Model, first_tokens: int, worst: Spend) -> Spend:
    runs = _like_runs(config, model)
    if len(runs) >= LIKE_RUNS:
        tokens = int(statistics.median(tokens for tokens, _usd in runs))
        costs = [usd for _tokens, usd in runs if usd is not None]
        cost_usd = statistics.median(costs) if costs else None
        basis = f"the median of {len(runs)} earlier runs of this project with this model"
    else:
        requests = [first_tokens + number * TURN_TOKENS for number in range(TURNS)]
        uses = [TokenUsage(input_tokens=each, output_tokens=_WRITTEN_TOKENS) for each in requests]
        tokens = sum(use.total_tokens for use in uses)
        cost_usd = None if model.price is None else sum(map(model.price.cost_usd, uses))
        basis = f"{TURNS} turns without sub-calls, for there are no {LIKE_RUNS} earlier runs with this model here"
    return Spend(tokens=_least(tokens, worst.tokens), cost_usd=_least(cost_usd, worst.cost_usd), basis=basis)


def _least(value: N | None, cap: N | None) -> N | None:
    return value if value is None or cap is None else min(value, cap)


def _like_runs(config: Config, model: Model) -> list[tuple[int, float | None]]:
    """The tokens and costs of earlier runs that completed with this model."""
    index = Index.open(log_folder(config.log_dir))
    try:
        index.refresh()
        found = index.runs(RunQuery(status=("completed",), model=model.label))
        return [(run.tokens, run.cost_usd) for run in found.rows if run.model == model.label and run.tokens]
    finally:
        index.close()


async def _nobody(_task: Task) -> NoReturn:
    raise AssertionError("a forecast begins no child")
