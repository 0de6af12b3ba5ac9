"""`open_run`: the one way in which a run begins, whoever drives it. What can be refused is refused before there is a
record; from then on every run is closed and comes to a result in one way too.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from rlm.core.budget import Ledger
from rlm.core.clock import RunClock
from rlm.core.dialects import choose
from rlm.core.events import VERSION, RunStart, SandboxReady, SessionCarried, Warned
from rlm.core.exceptions import RecordError
from rlm.core.loop.landing_reserve import root_ledger
from rlm.core.memo import Memo
from rlm.core.outcome import RLMResult
from rlm.core.record.recorder import Recorder, new_run_id
from rlm.core.replay.following import root_scope
from rlm.core.replay.serving import Recall
from rlm.core.run import Run, Task
from rlm.core.slots import SandboxSlots
from rlm.core.types import Choice
from rlm.helpers.opening import guest_helpers, recovery
from rlm.hooks.values import HookContext
from rlm.repl.guest.wire import encode_value
from rlm.runtime.control import RunControl, RunView, Seen
from rlm.runtime.hooks import RunHooks
from rlm.runtime.images import read_images
from rlm.runtime.inputs import named_file, prepare
from rlm.runtime.models import RunModels
from rlm.runtime.offered import joined
from rlm.runtime.permission import permitted_helpers, permitted_tools
from rlm.runtime.validation import validator_for
from rlm.secrets import masker
from rlm.sessions.sandbox import RunSession, SessionSandbox, session_begins, session_store
from rlm.skills.tool import offered_skills
from rlm.tables.toolbox import TableTools
from rlm.tools.builtin import file_tools
from rlm.tools.mcp.connected_tools import ConnectedTools, within_reach
from rlm.tools.registry import ToolRegistry
from rlm.trajectory.artifacts import Artifacts
from rlm.trajectory.chain import receipt_key
from rlm.trajectory.exact import ExactFile, context_path, exact_path, forget, keep_context, mark_last
from rlm.trajectory.places import is_in_state_folder, log_folder
from rlm.trajectory.writer import TrajectoryWriter
from rlm.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from threading import Thread

    from rlm.core.config import Config
    from rlm.core.contexts.context import Context
    from rlm.core.events import Body
    from rlm.core.interfaces import Helpers, Masker, Sandbox, Tool, Validator
    from rlm.core.outcome import Outcome
    from rlm.core.types import Image, Traits
    from rlm.runtime.hooks import HookSet
    from rlm.runtime.request import Request
    from rlm.runtime.wiring import Parts
    from rlm.sessions.store import Revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """What a run works with, read and checked before there is a record of it."""

    request: Request
    models: RunModels
    sandbox: Sandbox
    context: Context
    images: tuple[Image, ...]
    validator: Validator | None
    tools: ToolRegistry
    guest_tools: tuple[str, ...]
    """Names of the tools that guest code may call."""
    helpers: Helpers | None
    """What guest code is offered over folders and tables."""
    tables: TableTools | None
    begins: Revision | None
    """The state of the session that the root's REPL begins with; None without a session."""
    hooks: HookSet | None
    warnings: tuple[str, ...]

    @property
    def config(self) -> Config:
        """The settings of the run."""
        return self.request.config


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRecord:
    """The files that a run writes."""

    recorder: Recorder
    path: Path
    exact: ExactFile
    masker: Masker | None
    view: RunView

    def close(self) -> None:
        """Close the files; idempotent."""
        self.recorder.close()
        self.exact.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    """A run whose record has begun: what its completions share, and the task of the root."""

    run: Run
    task: Task
    record: OpenRecord
    recall: Recall
    """The record of an earlier run that this one is served from, and what was found of it."""
    control: RunControl
    """How the run stands, and what may be done with it while it goes on."""
    completes: tuple[Path, ...] = ()
    """The records of the earlier runs that this one completes."""
    keeping: Thread | None = None
    """Copies the context beside the record."""
    tables: TableTools | None = None
    connected: ConnectedTools = field(default_factory=ConnectedTools)
    """The servers whose tools the run may have called."""

    def close(self) -> None:
        """Warn of what servers did meanwhile, and close the record; blocks while the context is still being copied."""
        for news in self.connected.news():
            self.record.recorder.record(self.record.recorder.root, Warned(message=news))
        if self.tables is not None:
            self.tables.close()
        if self.keeping is not None:
            self.keeping.join()
        self.record.close()

    def result(self, outcome: Outcome) -> RLMResult:
        """The outcome of the root as users get it, once the run is closed; an answer whose record was lost is not a
        success. In the user's state folder the last success keeps what going on with it needs; elsewhere none does.
        """
        recorder = self.record.recorder
        if outcome.success:
            try:
                recorder.check()
            except RecordError as lost:
                outcome = replace(outcome, status="failed", error=lost)
        masked = outcome.masked(self.record.masker)
        if outcome.success and self.keeping is not None:
            path = self.record.path
            done = mark_last(path) if is_in_state_folder(path) else [path]
            for each in (*self.completes, *done):
                forget(each)
        return RLMResult.of(masked, recorder.run_id, self.record.path, recorder.warnings)


async def open_run(parts: Parts, request: Request, models: RunModels | None = None) -> OpenRun:
    """Read and check what a run needs, start its sandbox, and begin its record; close what is returned.

    `models` are those that it may use; None: those that its configuration names. Raises:
        ConfigError: what was asked for is not possible as asked.
        AuthenticationError: there is no model to call.
        SandboxUnavailableError: the sandbox can't run here.
        StoreError: a session or skills are named, and can't be had.
        RecordError: no record can be written.
    """
    began_at = time.monotonic()
    kit = await _kit(parts, request, models or _models(parts, request))
    record = _open_record(parts, request)
    try:
        return _begun(parts, kit, record, began_at)
    except BaseException:
        record.close()
        raise


def _models(parts: Parts, request: Request) -> RunModels:
    choose_models = RunModels.choose_or_nobody if request.is_interactive else RunModels.choose
    return choose_models(request.config, parts.backends)


async def _kit(parts: Parts, request: Request, models: RunModels) -> Kit:
    config, sandbox = request.config, parts.sandbox(request.config)
    context, images, *_ = await asyncio.gather(
        asyncio.to_thread(prepare, request.context),
        asyncio.to_thread(read_images, request.images),
        sandbox.start(),
        parts.connected.start(config),
    )
    given = (*file_tools(config.allowed_paths, parts.workers, recovery(config)), *parts.tools, *parts.connected.tools)
    skills = offered_skills(config)
    tables = TableTools.of(config.tables, config.cell_timeout_s)
    tools = ToolRegistry(permitted_tools(given, request.permission), own=skills)
    return Kit(
        request=request,
        models=models,
        sandbox=sandbox,
        context=context,
        images=images,
        validator=await validator_for(request.output_type, parts.workers),
        tools=tools,
        guest_tools=_guest_tools(config, tools, skills),
        helpers=permitted_helpers(joined(guest_helpers(config, parts.workers), tables), request.permission),
        tables=tables,
        begins=await _begins(request),
        hooks=await asyncio.to_thread(parts.hooks, config),
        warnings=(*request.warnings, *_named(request), *context.warnings, *parts.connected.warnings),
    )


def _named(request: Request) -> tuple[str, ...]:
    warning = named_file(request.context)
    return () if warning is None else (warning,)


def _guest_tools(config: Config, tools: ToolRegistry, skills: tuple[Tool, ...]) -> tuple[str, ...]:
    if config.guest_tools is None:
        names = tuple(tool.spec.name for tool in tools if tool.reads_only)
    else:
        names = within_reach(config.guest_tools, config, tools)
        for name in names:
            tools.get(name)
    return tuple(dict.fromkeys((*names, *(each.spec.name for each in skills))))


async def _begins(request: Request) -> Revision | None:
    """The state of the session with which the run begins, or with which the run began that it resumes."""
    root = None if request.resumption is None else request.resumption.record.root
    earlier = [] if root is None else [event.body for event in root.bodies(SessionCarried)]
    return await asyncio.to_thread(session_begins, request.config, earlier)


def _open_record(parts: Parts, request: Request) -> OpenRecord:
    """Begin the record; spans that are served from an earlier one keep the ids that they have there."""
    config, resumption = request.config, request.resumption
    run_id, masking = request.run_id or new_run_id(), masker(config.mask)
    journal = TrajectoryWriter(log_folder(config.log_dir), run_id, receipt_key(os.environ))
    exact = ExactFile(exact_path(journal.path), encode_value)
    keeper = exact if request.is_resumable else None
    root = None if resumption is None else resumption.record.root.id
    view = RunView()
    recorder = Recorder(run_id, journal, (*parts.sinks, view), masking, keeper=keeper, root=root)
    return OpenRecord(recorder=recorder, path=journal.path, exact=exact, masker=masking, view=view)


def _begun(parts: Parts, kit: Kit, record: OpenRecord, began_at: float) -> OpenRun:
    """The run with the first events in its record; what a resumed run would need is kept beside that."""
    request, recorder, keeping = kit.request, record.recorder, None
    clock = _clock(request, opening_s=time.monotonic() - began_at)
    recall = _recall(request, recorder, clock)
    if request.is_resumable:
        if recall.salt is None:
            record.exact.keep_salt(recall.secret)
        keeping = keep_context(kit.context, context_path(record.path))
    for body in _first_events(kit, recall):
        recorder.record(recorder.root, body)
    run, task = _wired(parts, kit, record, recall), _task(kit, recall, clock)
    seen = Seen(models=kit.models, view=record.view, path=record.path, is_interactive=request.is_interactive)
    return OpenRun(
        run=run,
        task=task,
        record=record,
        recall=recall,
        control=RunControl(run, task, recall, seen),
        completes=() if request.resumption is None else request.resumption.trajectories,
        keeping=keeping,
        tables=kit.tables,
        connected=parts.connected,
    )


def _clock(request: Request, *, opening_s: float) -> RunClock:
    """The clock of the run. A REPL whose cells come from outside has no deadline of its own."""
    return RunClock(None if request.is_interactive else request.config.budget.timeout_s, opening_s=opening_s)


def _recall(request: Request, recorder: Recorder, clock: RunClock) -> Recall:
    resumption = request.resumption
    if resumption is None:
        return Recall(recorder, os.urandom(16), clock=clock)
    return Recall(recorder, resumption.salt, resumption.record, resumption.rules, clock=clock)


def _first_events(kit: Kit, recall: Recall) -> Iterator[Body]:
    ready = _sandbox_ready(kit.config, kit.sandbox.traits)
    yield _run_start(kit, ready.environment, recall)
    yield ready
    for warning in (*kit.warnings, *_unreachable(kit)):
        yield Warned(message=warning)


def _run_start(kit: Kit, environment: str, recall: Recall) -> RunStart:
    config, resumption = kit.config, kit.request.resumption
    start = RunStart(
        version=VERSION,
        rlm_version=__version__,
        model=kit.models.main.label,
        sub_model=kit.models.sub.label,
        environment=environment,
        budget=msgspec.structs.asdict(config.budget),
        config={name: value for name, value in msgspec.to_builtins(config).items() if name != "budget"},
        salt=recall.salt,
    )
    if resumption is None:
        return start
    earlier = resumption.record.run_id
    if resumption.forked_at is None:
        return msgspec.structs.replace(start, resumed_from=earlier)
    return msgspec.structs.replace(
        start, forked_from=earlier, forked_at=resumption.forked_at, addition=resumption.rules.addition
    )


def _sandbox_ready(config: Config, traits: Traits) -> SandboxReady:
    choice = traits.choice or Choice(environment=config.environment)
    return SandboxReady(
        environment=choice.environment,
        layers=list(traits.layers),
        chosen=traits.choice is not None,
        passed_over=dict(choice.passed_over),
    )


def _unreachable(kit: Kit) -> Iterator[str]:
    """A warning of tools that nothing can call: in fenced code a model has only the functions of the REPL."""
    main = kit.models.main
    names = [tool.spec.name for tool in kit.tools if tool.spec.name not in kit.guest_tools]
    if names and not choose(kit.config.dialect, native_tools=main.native_tools).native_tools:
        yield (
            f"{main.label} writes fenced code and can't call {', '.join(names)}: "
            "name them in guest_tools, or mark those that change nothing with @tool(reads_only=True)"
        )


def _wired(parts: Parts, kit: Kit, record: OpenRecord, recall: Recall) -> Run:
    """Join the parts that the completions of the run share."""
    config = kit.config
    return Run(
        config=config,
        recorder=record.recorder,
        find_model=kit.models.find,
        sandbox=_root_sandbox(kit, record, recall),
        tools=kit.tools,
        guest_tools=kit.guest_tools,
        validator_for=partial(validator_for, workers=parts.workers),
        make_context=prepare,
        helpers=kit.helpers,
        save_artifact=Artifacts(record.path.with_suffix(".artifacts")).save,
        requests=asyncio.Semaphore(config.budget.max_concurrency),
        slots=SandboxSlots(config.max_sandboxes),
        masker=record.masker,
        kept_names=() if kit.begins is None else tuple(kit.begins.state.names),
        memo=Memo(parts.cache(config), recall.known if recall.record else None) if config.memoise else None,
        closing=parts.closing,
        hooks=None if kit.hooks is None or recall.is_replay else _hooks(kit, kit.hooks, record),
    )


def _hooks(kit: Kit, hooks: HookSet, record: OpenRecord) -> RunHooks:
    """The hooks of the run, each of which is recorded in the span of the root."""
    recorder, config = record.recorder, kit.config
    about = HookContext(
        point="pre_run",
        run_id=recorder.run_id,
        prompt=kit.request.prompt,
        model=kit.models.main.label,
        environment=config.environment,
        workspace=config.allowed_paths,
    )
    return RunHooks(
        hooks=hooks, about=about, masking=record.masker, note=lambda body: recorder.record(recorder.root, body)
    )


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


def _task(kit: Kit, recall: Recall, clock: RunClock) -> Task:
    """The task of the root. A REPL whose cells come from outside has no landing."""
    request, model, budget = kit.request, kit.models.main, kit.config.budget
    ledger = Ledger(budget) if request.is_interactive else root_ledger(budget, model, request.above)
    return Task(
        prompt=request.prompt,
        context=kit.context,
        model=model,
        scope=root_scope(recall, ledger),
        clock=clock,
        validator=kit.validator,
        images=kit.images,
    )
