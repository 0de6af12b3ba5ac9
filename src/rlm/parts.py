"""Joins core to concrete parts: what lives as long as an RLM, and what is made for each run."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rlm import repl
from rlm.core.budget import Budget, CallEstimate, Ledger
from rlm.core.dialects import choose
from rlm.core.events import VERSION, RunStart, SandboxReady, Warned
from rlm.core.exceptions import RecordError
from rlm.core.memo import Memo
from rlm.core.orchestrator import Orchestrator
from rlm.core.recorder import Recorder, new_run_id
from rlm.core.run import Model, Run, Task
from rlm.core.slots import SandboxSlots
from rlm.core.types import RLMResult
from rlm.inputs import prepare, read_images
from rlm.models import RunModels
from rlm.store.replies import SqliteReplies, cache_path
from rlm.tools.builtin import file_tools
from rlm.tools.registry import ToolRegistry
from rlm.tools.worker import WorkerPool
from rlm.trajectory.artifacts import Artifacts
from rlm.trajectory.writer import TrajectoryWriter
from rlm.validation import validator_for
from rlm.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.core.config import Config
    from rlm.core.context import Context
    from rlm.core.events import Body
    from rlm.core.interfaces import ReplyCache, Sandbox, Sink, Tool, Validator
    from rlm.core.run import Outcome
    from rlm.core.types import Image
    from rlm.inputs import GivenImages
    from rlm.models import BackendPool

LANDING_SHARE = 10
"""One part in so many of the token budget is set aside for the landing call, but at most:"""
LANDING_TOKENS = 16_000
LANDING_LEAST_TOKENS = 2_000
"""Room for the instructions, a task and a short answer, where half of the budget has it."""
LAST_SHARE = 10
"""Sub-calls are cut short when one part in so many of the time is left, but at most:"""
LAST_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `completion` was asked."""

    prompt: str
    context: Any
    output_type: Any
    config: Config
    images: GivenImages = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the request gave, read and ready."""

    context: Context
    images: tuple[Image, ...]


@dataclass(slots=True, kw_only=True)
class Parts:
    """What lives as long as an RLM; used on its event loop only."""

    backends: BackendPool
    tools: tuple[Tool, ...]
    sinks: tuple[Sink, ...]
    workers: WorkerPool = field(default_factory=WorkerPool)
    running: set[asyncio.Task[Any]] = field(default_factory=set)
    sandboxes: dict[str, Sandbox] = field(default_factory=dict)
    replies: ReplyCache | None = None

    async def complete(self, request: Request) -> RLMResult:
        """Make one run, from its context to its result."""
        task = asyncio.current_task()
        assert task is not None
        self.running.add(task)
        try:
            models = RunModels.choose(request.config, self.backends)
            sandbox = self._sandbox(request.config)
            context, images, _ = await asyncio.gather(
                asyncio.to_thread(prepare, request.context),
                asyncio.to_thread(read_images, request.images),
                sandbox.start(),
            )
            return await self._run(request, models, sandbox, Given(context=context, images=images))
        finally:
            self.running.discard(task)

    def cancel(self) -> None:
        """Cancel every run in progress; each ends with a result."""
        for task in self.running:
            task.cancel()

    async def aclose(self) -> None:
        """Cancel what runs and close everything."""
        self.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)
        for sandbox in self.sandboxes.values():
            await sandbox.aclose()
        await self.backends.aclose()
        await self.workers.aclose()

    def _sandbox(self, config: Config) -> Sandbox:
        if config.environment not in self.sandboxes:
            self.sandboxes[config.environment] = repl.load(config.environment).from_config(config)
        return self.sandboxes[config.environment]

    async def _run(self, request: Request, models: RunModels, sandbox: Sandbox, given: Given) -> RLMResult:
        config, run_id, log_dir = request.config, new_run_id(), Path(request.config.log_dir)
        validator = None if request.output_type is None else validator_for(request.output_type)
        tools = ToolRegistry((*file_tools(config.allowed_paths, self.workers), *self.tools))
        guest_tools = _guest_tools(config, tools)
        journal = TrajectoryWriter(log_dir, run_id)
        recorder = Recorder(run_id, journal, self.sinks)
        try:
            warnings = (*given.context.warnings, *_unreachable(config, models, tools, guest_tools))
            for body in _opening(config, models, sandbox, warnings):
                recorder.record(recorder.root, body)
            run = Run(
                config=config,
                recorder=recorder,
                find_model=models.find,
                sandbox=sandbox,
                tools=tools,
                guest_tools=guest_tools,
                validator_for=validator_for,
                make_context=prepare,
                save_artifact=Artifacts(log_dir / f"{run_id}.artifacts").save,
                requests=asyncio.Semaphore(config.budget.max_concurrency),
                slots=SandboxSlots(config.max_sandboxes),
                memo=Memo(self._cache(config)) if config.memoise else None,
            )
            outcome = await _completed(run, _task(request, models, given, recorder, validator))
        finally:
            recorder.close()
        return _result(outcome, recorder, journal.path)

    def _cache(self, config: Config) -> ReplyCache | None:
        """The replies of earlier runs, opened once."""
        if config.cache and self.replies is None:
            self.replies = SqliteReplies(cache_path(os.environ))
        return self.replies if config.cache else None


async def _completed(run: Run, task: Task) -> Outcome:
    async with run.slots.slot(task.ledger):
        return await Orchestrator(run).complete(task)


def _task(request: Request, models: RunModels, given: Given, recorder: Recorder, validator: Validator | None) -> Task:
    """The root's task."""
    budget = request.config.budget
    return Task(
        prompt=request.prompt,
        context=given.context,
        model=models.main,
        ledger=_ledger(budget, models.main),
        span=recorder.root,
        timeout_s=budget.timeout_s,
        answer_by=_answer_by(budget),
        validator=validator,
        images=given.images,
    )


def _opening(config: Config, models: RunModels, sandbox: Sandbox, warnings: Iterable[str]) -> Iterator[Body]:
    """The first events of a run."""
    yield _run_start(config, models)
    yield SandboxReady(environment=config.environment, layers=list(sandbox.traits.layers))
    for warning in warnings:
        yield Warned(message=warning)


def _unreachable(config: Config, models: RunModels, tools: ToolRegistry, guest_tools: tuple[str, ...]) -> Iterator[str]:
    """What to say of tools that nobody can call: in fenced code only functions of the REPL are there."""
    native_tools = models.main.traits.native_tools
    names = [tool.spec.name for tool in tools if tool.spec.name not in guest_tools]
    if names and not choose(config.dialect, native_tools=native_tools).native_tools:
        yield (
            f"{models.main.label} writes fenced code and can't call {', '.join(names)}: "
            "name them in guest_tools, or mark those that change nothing with @tool(reads_only=True)"
        )


def _guest_tools(config: Config, tools: ToolRegistry) -> tuple[str, ...]:
    if config.guest_tools is None:
        return tuple(tool.spec.name for tool in tools if tool.reads_only)
    for name in config.guest_tools:
        tools.get(name)
    return config.guest_tools


def _answer_by(budget: Budget) -> float | None:
    if budget.timeout_s is None:
        return None
    return asyncio.get_running_loop().time() + budget.timeout_s - min(LAST_S, budget.timeout_s / LAST_SHARE)


def _ledger(budget: Budget, model: Model) -> Ledger:
    """The ledger of the root, with what its landing may need set aside."""
    tokens, cap_usd = budget.token_budget or 0, budget.cost_budget_usd or 0.0
    most_usd, least_usd = (_landing_usd(model, size) for size in (LANDING_TOKENS, LANDING_LEAST_TOKENS))
    return Ledger(
        budget,
        landing_tokens=min(LANDING_TOKENS, max(tokens // LANDING_SHARE, min(LANDING_LEAST_TOKENS, tokens // 2))),
        landing_usd=min(most_usd, max(cap_usd / LANDING_SHARE, min(least_usd, cap_usd / 2))),
    )


def _landing_usd(model: Model, tokens: int) -> float:
    """The most that a landing of that size costs, half of it prompt."""
    return CallEstimate(input_tokens=tokens // 2, max_output_tokens=tokens // 2, price=model.price).cost_usd(
        tokens // 2
    )


def _run_start(config: Config, models: RunModels) -> RunStart:
    return RunStart(
        version=VERSION,
        rlm_version=__version__,
        model=models.main.label,
        sub_model=models.sub.label,
        environment=config.environment,
        budget=msgspec.structs.asdict(config.budget),
        config={name: value for name, value in msgspec.to_builtins(config).items() if name != "budget"},
    )


def _result(outcome: Outcome, recorder: Recorder, path: Path) -> RLMResult:
    """The outcome of the root as users get it; an answer whose record was lost is not a success."""
    status, error = outcome.status, outcome.error
    if status == "completed":
        try:
            recorder.check()
        except RecordError as lost:
            status, error = "failed", lost
    return RLMResult(
        response=outcome.response,
        value=outcome.value,
        status=status,
        limit=outcome.limit,
        error=error,
        usage=outcome.usage,
        cost_usd=outcome.cost_usd,
        duration_s=outcome.duration_s,
        run_id=recorder.run_id,
        trajectory=path,
    )
