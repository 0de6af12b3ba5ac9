"""Joins core to concrete parts: what lives as long as an RLM, and what is made for each run."""

from __future__ import annotations

import asyncio
import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rlm import repl
from rlm.core.dialects import choose
from rlm.core.events import VERSION, RunStart, SandboxReady, SessionCarried, Warned
from rlm.core.exceptions import RecordError, ResumeError
from rlm.core.loop.landing_reserve import answer_by, root_ledger
from rlm.core.loop.orchestrator import Orchestrator
from rlm.core.memo import Memo
from rlm.core.record.recorder import Recorder, new_run_id
from rlm.core.replay.scope import Scope
from rlm.core.replay.serving import Recall
from rlm.core.run import Run, Task
from rlm.core.slots import SandboxSlots
from rlm.core.types import Choice, RLMResult
from rlm.helpers.opening import guest_helpers
from rlm.processes.worker import WorkerPool
from rlm.repl.guest.wire import encode_value
from rlm.runtime.inputs import prepare, read_images
from rlm.runtime.models import RunModels
from rlm.runtime.validation import validator_for
from rlm.secrets import masker
from rlm.sessions.sandbox import RunSession, SessionSandbox, session_begins, session_store
from rlm.skills.tool import offered_skills
from rlm.store.replies import SqliteReplies, cache_path
from rlm.tools.builtin import file_tools
from rlm.tools.mcp.connected_tools import ConnectedTools, within_reach
from rlm.tools.registry import ToolRegistry
from rlm.trajectory.artifacts import Artifacts
from rlm.trajectory.chain import receipt_key
from rlm.trajectory.exact import ExactFile, context_path, exact_path, forget, keep_context
from rlm.trajectory.writer import TrajectoryWriter
from rlm.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.core.config import Config
    from rlm.core.contexts.context import Context
    from rlm.core.events import Body
    from rlm.core.interfaces import Helpers, Masker, ReplyCache, Sandbox, Sink, Tool, Validator
    from rlm.core.outcome import Outcome
    from rlm.core.replay.serving import ReplayReport
    from rlm.core.types import Image, Traits
    from rlm.runtime.inputs import GivenImages
    from rlm.runtime.models import BackendPool
    from rlm.sessions.store import Revision
    from rlm.trajectory.resume import Resumption


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `completion` was asked."""

    prompt: str
    context: Any
    output_type: Any
    config: Config
    images: GivenImages = ()
    resumption: Resumption | None = None
    """What it resumes, forks or replays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the request gave, read and ready."""

    context: Context
    images: tuple[Image, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """What a run works with, checked before there is a record of it."""

    config: Config
    models: RunModels
    sandbox: Sandbox
    tools: ToolRegistry
    guest_tools: tuple[str, ...]
    helpers: Helpers | None
    begins: Revision | None = None
    """What the REPL of the root begins with; None without a session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRecord:
    """The files that a run writes."""

    recorder: Recorder
    path: Path
    exact: ExactFile
    masker: Masker | None

    def close(self) -> None:
        self.recorder.close()
        self.exact.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What a run came to."""

    result: RLMResult
    report: ReplayReport
    """What was served from a record, and what came out otherwise."""


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
    connected: ConnectedTools = field(default_factory=ConnectedTools)

    async def complete(self, request: Request) -> RLMResult:
        """Make one run, from its context to its result."""
        return (await self._complete(request)).result

    async def replay(self, request: Request) -> ReplayReport:
        """Run the cells of a record again, with no record of their own, and report the differences."""
        with tempfile.TemporaryDirectory(prefix="rlm-replay-") as folder:
            config = msgspec.structs.replace(request.config, log_dir=folder)
            finished = await self._complete(replace(request, config=config))
        error = finished.result.error
        if finished.result.status == "failed" and error is not None and not isinstance(error, ResumeError):
            raise error
        return finished.report

    async def _complete(self, request: Request) -> Finished:
        task = asyncio.current_task()
        assert task is not None
        self.running.add(task)
        try:
            models = RunModels.choose(request.config, self.backends)
            sandbox = self._sandbox(request.config)
            context, images, *_ = await asyncio.gather(
                asyncio.to_thread(prepare, request.context),
                asyncio.to_thread(read_images, request.images),
                sandbox.start(),
                self.connected.start(request.config),
            )
            return await self._run(request, models, Given(context=context, images=images))
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
        await self.connected.aclose()
        await self.backends.aclose()
        await self.workers.aclose()

    def kit(self, config: Config, models: RunModels) -> Kit:
        """What a run under `config` works with.

        Raises:
            ConfigError: guest_tools or skills name what there isn't, or an allowed path doesn't exist.
            StoreError: skills are named, and the store can't be used.
        """
        given = (*file_tools(config.allowed_paths, self.workers), *self.tools, *self.connected.tools)
        skills = offered_skills(config)
        tools = ToolRegistry(given, own=skills)
        return Kit(
            config=config,
            models=models,
            sandbox=self._sandbox(config),
            tools=tools,
            guest_tools=tuple(dict.fromkeys((*_guest_tools(config, tools), *(each.spec.name for each in skills)))),
            helpers=guest_helpers(config, self.workers),
        )

    def open_record(self, config: Config, root: str | None = None) -> OpenRecord:
        """Begin the record of a new run; `root` is the id of its root's span, None for a new one.

        Raises:
            RecordError: it can't be written.
        """
        run_id, masking = new_run_id(), masker(config.mask)
        journal = TrajectoryWriter(Path(config.log_dir), run_id, receipt_key(os.environ))
        exact = ExactFile(exact_path(journal.path), encode_value)
        recorder = Recorder(run_id, journal, self.sinks, masking, keeper=exact, root=root)
        return OpenRecord(recorder=recorder, path=journal.path, exact=exact, masker=masking)

    def wire(self, kit: Kit, record: OpenRecord, recall: Recall) -> Run:
        """Join the parts that the completions of one run share."""
        config = kit.config
        return Run(
            config=config,
            recorder=record.recorder,
            find_model=kit.models.find,
            sandbox=_root_sandbox(kit, record, recall),
            tools=kit.tools,
            guest_tools=kit.guest_tools,
            validator_for=validator_for,
            make_context=prepare,
            helpers=kit.helpers,
            save_artifact=Artifacts(record.path.with_suffix(".artifacts")).save,
            requests=asyncio.Semaphore(config.budget.max_concurrency),
            slots=SandboxSlots(config.max_sandboxes),
            masker=record.masker,
            kept_names=() if kit.begins is None else tuple(kit.begins.state.names),
            memo=Memo(self._cache(config), recall.known) if config.memoise else None,
        )

    def _sandbox(self, config: Config) -> Sandbox:
        if config.environment not in self.sandboxes:
            self.sandboxes[config.environment] = repl.load(config.environment).from_config(config)
        return self.sandboxes[config.environment]

    async def _run(self, request: Request, models: RunModels, given: Given) -> Finished:
        kit = replace(self.kit(request.config, models), begins=await _begins(request))
        validator = None if request.output_type is None else validator_for(request.output_type)
        resumption = request.resumption
        record = self.open_record(request.config, root=None if resumption is None else resumption.record.root.id)
        recorder, recall = record.recorder, _recall(record.recorder, resumption)
        if recall.salt is None:
            record.exact.keep_salt(recall.secret)
        keeping = keep_context(given.context, context_path(record.path))
        try:
            for body in opening(kit, (*given.context.warnings, *self.connected.warnings), recall.salt, resumption):
                recorder.record(recorder.root, body)
            run = self.wire(kit, record, recall)
            outcome = await _completed(run, _task(request, models, given, recall, validator))
        finally:
            keeping.join()  # not awaited: a finished run can't be cancelled any more
            record.close()
        result = _result(outcome.masked(record.masker), recorder, record.path)
        if result.success:
            for path in (record.path, *(resumption.trajectories if resumption else ())):
                forget(path)
        return Finished(result=result, report=recall.report)

    def _cache(self, config: Config) -> ReplyCache | None:
        """The replies of earlier runs, opened once."""
        if config.cache and self.replies is None:
            self.replies = SqliteReplies(cache_path(os.environ))
        return self.replies if config.cache else None


async def _begins(request: Request) -> Revision | None:
    """The state of the session with which the run begins, or began that it resumes."""
    root = None if request.resumption is None else request.resumption.record.root
    earlier = [] if root is None else [event.body for event in root.bodies(SessionCarried)]
    return await asyncio.to_thread(session_begins, request.config, earlier)


def _root_sandbox(kit: Kit, record: OpenRecord, recall: Recall) -> Sandbox:
    """The sandbox, whose first REPL is that of the root and belongs to the session."""
    if kit.begins is None or kit.config.session is None:
        return kit.sandbox
    session = RunSession(
        store=session_store(kit.config),
        name=kit.config.session,
        begins=kit.begins,
        recorder=record.recorder,
        masker=record.masker,
        resumes="" if recall.record is None else recall.record.run_id,
        saves=not recall.is_replay,
    )
    return SessionSandbox(kit.sandbox, session)


def _recall(recorder: Recorder, resumption: Resumption | None) -> Recall:
    """What the run serves from."""
    if resumption is None:
        return Recall(recorder, os.urandom(16))
    return Recall(recorder, resumption.salt, resumption.record, resumption.rules)


async def _completed(run: Run, task: Task) -> Outcome:
    async with run.slots.slot(task.scope.ledger):
        return await Orchestrator(run).complete(task)


def _task(request: Request, models: RunModels, given: Given, recall: Recall, validator: Validator | None) -> Task:
    """The root's task."""
    budget = request.config.budget
    recorded = None if recall.record is None else recall.record.root
    ledger = root_ledger(budget, models.main)
    return Task(
        prompt=request.prompt,
        context=given.context,
        model=models.main,
        scope=Scope.of_completion(recall, ledger, recall.recorder.root, recorded),
        timeout_s=budget.timeout_s,
        answer_by=answer_by(budget),
        validator=validator,
        images=given.images,
    )


def opening(
    kit: Kit, warnings: Iterable[str], salt: str | None = None, resumption: Resumption | None = None
) -> Iterator[Body]:
    """The first events of a run, with the salt of its keys and the run that it goes back to."""
    ready = _sandbox_ready(kit.config, kit.sandbox.traits)
    start = _run_start(kit.config, kit.models, ready.environment)
    yield msgspec.structs.replace(start, salt=salt, **_links(resumption))
    yield ready
    for warning in (*warnings, *_unreachable(kit)):
        yield Warned(message=warning)


def _links(resumption: Resumption | None) -> dict[str, Any]:
    """What the first event says of the run that this one resumes or forks."""
    if resumption is None:
        return {}
    earlier = resumption.record.run_id
    if resumption.forked_at is None:
        return {"resumed_from": earlier}
    return {"forked_from": earlier, "forked_at": resumption.forked_at}


def _unreachable(kit: Kit) -> Iterator[str]:
    """What to say of tools that nobody can call: in fenced code only functions of the REPL are there."""
    main = kit.models.main
    names = [tool.spec.name for tool in kit.tools if tool.spec.name not in kit.guest_tools]
    if names and not choose(kit.config.dialect, native_tools=main.traits.native_tools).native_tools:
        yield (
            f"{main.label} writes fenced code and can't call {', '.join(names)}: "
            "name them in guest_tools, or mark those that change nothing with @tool(reads_only=True)"
        )


def _guest_tools(config: Config, tools: ToolRegistry) -> tuple[str, ...]:
    if config.guest_tools is None:
        return tuple(tool.spec.name for tool in tools if tool.reads_only)
    names = within_reach(config.guest_tools, config, tools)
    for name in names:
        tools.get(name)
    return names


def _sandbox_ready(config: Config, traits: Traits) -> SandboxReady:
    choice = traits.choice or Choice(environment=config.environment)
    return SandboxReady(
        environment=choice.environment,
        layers=list(traits.layers),
        chosen=traits.choice is not None,
        passed_over=dict(choice.passed_over),
    )


def _run_start(config: Config, models: RunModels, environment: str) -> RunStart:
    return RunStart(
        version=VERSION,
        rlm_version=__version__,
        model=models.main.label,
        sub_model=models.sub.label,
        environment=environment,
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
