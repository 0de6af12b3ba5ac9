"""A REPL that is driven cell by cell from outside instead of by a model's turns, with all that code in a run can use:
sub-calls, children, tools, artifacts, a ledger of its own and a record. It makes no turns, and knows no protocol.
"""

from __future__ import annotations

import math
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.backends.host import LABEL, HostBackend
from rlm.core.calls.guest import SubCalls
from rlm.core.events import CompletionEnd, CompletionStart
from rlm.core.exceptions import REPLExecutionError
from rlm.core.loop.cells import CellRecord, result_in, run_cell
from rlm.core.loop.orchestrator import Orchestrator
from rlm.core.off_loop import off_loop_if_large
from rlm.core.outcome import Outcome, masked_cell
from rlm.core.replay.scope import Call
from rlm.core.replay.serving import Halt
from rlm.core.types import INTERACTIVE, ReplSpec
from rlm.runtime.models import BackendPool, RunModels
from rlm.runtime.opening import open_run
from rlm.runtime.request import Request
from rlm.sessions.sandbox import SessionSandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rlm.core.config import Config
    from rlm.core.contexts.context import Context
    from rlm.core.interfaces import Repl
    from rlm.core.replay.scope import Scope
    from rlm.core.replay.serving import ReplayReport
    from rlm.core.types import ExecResult, RunUsage
    from rlm.runtime.opening import OpenRun
    from rlm.runtime.wiring import Parts
    from rlm.sessions.store import Revision

PROMPT = "(an interactive session: its cells come from outside)"


class Interactive:
    """A run whose cells come from outside, with a REPL that is open; used on one event loop, cell after cell."""

    def __init__(self, opened: OpenRun) -> None:
        self._opened = opened
        self._run, self._task = opened.run, opened.task
        self._recorder = opened.run.recorder
        self._cell = self._task.scope
        self._subcalls = SubCalls(self._run, self._task, Orchestrator(self._run).complete, lambda: self._cell)
        self._repl: Repl | None = None
        self._started = time.monotonic()
        self._answer = ""
        self._listener: Callable[[str], None] | None = None
        self._cell_record: CellRecord | None = None
        self._listing = ExitStack()
        self.cells = 0
        """How many cells have begun."""

    @classmethod
    async def open(cls, parts: Parts, config: Config, context: Any, models: RunModels | None = None) -> Interactive:
        """Begin a run over `context`, in any form that `completion` takes, and open its REPL.

        `models` are those that cells may use; None: those of the configuration, or nobody. Raises:
            ConfigError, SandboxUnavailableError, StoreError, RecordError: as `open_run`.
        """
        await parts.live.listen()
        request = Request(prompt=PROMPT, context=context, config=config, is_interactive=True)
        made = await cls.of(parts, request, models)
        made._listing.enter_context(parts.live.listed(made._opened.control))
        return made

    @classmethod
    async def of(cls, parts: Parts, request: Request, models: RunModels | None = None) -> Interactive:
        """Begin the run of a request whose cells come from outside, and open its REPL. Raises:
        ConfigError, SandboxUnavailableError, StoreError, RecordError: as `open_run`.
        """
        made = cls(await open_run(parts, request, models))
        try:
            await made._open_repl()
        except BaseException:
            made._opened.close()
            raise
        return made

    @property
    def context(self) -> Context:
        """The data of the run."""
        return self._task.context

    @property
    def path(self) -> Path:
        """The path of the record."""
        return self._opened.record.path

    @property
    def usage(self) -> RunUsage:
        """What sub-calls and tools have used so far."""
        return self._task.scope.ledger.usage()

    @property
    def answered(self) -> int:
        """How many of its sub-calls have come to an end so far."""
        return self._task.scope.ledger.answered

    async def execute(
        self, code: str, timeout_s: float | None = None, on_output: Callable[[str], None] | None = None
    ) -> ExecResult:
        """Run one cell and record it; `on_output` gets what it prints as the record has it, masked. See `Repl.execute`.

        Raises:
            REPLError: the sandbox failed, or the run is closed.
            RecordError, RecordLimitReached: the record can't be written, or is full, so nothing may run.
        """
        if self._repl is None:
            raise REPLExecutionError("this REPL is closed")
        self._recorder.check(self._task.scope.ledger.caps.record_bytes)
        self.cells += 1
        self._listener = on_output
        run = partial(self._execute, self._repl, code, timeout_s)
        result = await self._task.scope.answer(Call(kind="exec", words=code, make=run, read=result_in))
        self._answer = self._answer if result.final is None else result.final.text
        return result

    async def execute_masked(self, code: str, timeout_s: float | None = None) -> ExecResult:
        """`execute`, with the secrets in the result masked, as code outside of the sandbox gets it."""
        result = await self.execute(code, timeout_s)
        return await off_loop_if_large(masked_cell, result, self._run.masker)

    async def _execute(self, repl: Repl, code: str, timeout_s: float | None, scope: Scope) -> ExecResult:
        self._cell = scope
        record = self._cell_record = CellRecord(self._run, scope, self._listener)
        await record.begin(self.cells, code)
        result = None
        try:
            result = await run_cell(self._run, repl, code, timeout_s)
        finally:
            await record.end(result)
        return result

    def masked(self, text: str) -> str:
        """`text` with secrets masked, as the driver of this run may see it."""
        return text if self._run.masker is None else self._run.masker.mask(text)

    async def save(self) -> Revision:
        """Keep the variables as the next state of the session.

        Raises:
            REPLError: the run has no session or is closed, or the sandbox does not give its variables out.
            StoreError: they can't be kept; the state before is unharmed.
        """
        sandbox = self._run.sandbox
        if self._repl is None or not isinstance(sandbox, SessionSandbox) or sandbox.repl is None:
            raise REPLExecutionError("there is no open session to save")
        return await sandbox.repl.save()

    def interrupt(self, why: str) -> None:
        """Stop the cell in progress, if there is one; see `Repl.interrupt`."""
        if self._repl is not None:
            self._repl.interrupt(why)

    @property
    def report(self) -> ReplayReport:
        """What came out otherwise than in the record that the run follows."""
        return self._opened.recall.report

    async def aclose(self) -> None:
        """Kill the REPL and end the record; idempotent."""
        repl, self._repl = self._repl, None
        if repl is None:
            return
        self._listing.close()
        try:
            await repl.aclose()
        finally:
            outcome = self._outcome()
            if self._run.hooks is not None:
                outcome = await self._run.hooks.after_run(outcome, math.inf)
            await self._recorder.record_large(self._task.scope.span, CompletionEnd.of(outcome))
            self._opened.close()
            await off_loop_if_large(self._opened.result, outcome)

    async def _open_repl(self) -> None:
        task = self._task
        start = CompletionStart(
            depth=0,
            prompt=task.prompt,
            model=task.model.label,
            dialect=INTERACTIVE,
            context=task.context.note(),
        )
        self._recorder.record(task.scope.span, start)
        if self._run.hooks is not None:
            await self._run.hooks.before_run()
        spec = ReplSpec(call=self._subcalls, functions=self._subcalls.names, on_output=self._on_output)
        self._repl = await self._run.sandbox.open(task.context, spec)

    def _on_output(self, text: str) -> None:
        if self._cell_record is not None:
            self._cell_record.output(text)

    def _outcome(self) -> Outcome:
        ledger = self._task.scope.ledger
        return Outcome(
            status="completed",
            response=self._answer,
            usage=ledger.usage(),
            cost_usd=ledger.cost_usd,
            duration_s=time.monotonic() - self._started,
        )


async def replay_cells(parts: Parts, request: Request) -> ReplayReport:
    """Run cells that came from outside again, with no record of their own, and report the differences.

    Raises:
        RLMError: as `Interactive.open`, or the sandbox failed.
    """
    assert request.resumption is not None
    record = request.resumption.record
    models = None
    if request.config.model == LABEL:  # it was answered by a host, which is asked nothing now
        models = RunModels.choose(request.config, BackendPool(HostBackend(request.config.mcp.answer_timeout_s)))
    with tempfile.TemporaryDirectory(prefix="rlm-replay-") as folder, parts.in_progress():
        config = msgspec.structs.replace(request.config, log_dir=folder)
        repl = await Interactive.of(parts, replace(request, config=config), models)
        try:
            with suppress(Halt):  # the report says where it left the record
                for cell in record.root.of("exec"):
                    if cell.start is not None:
                        await repl.execute(record.source.read(cell.start).code)
        finally:
            await repl.aclose()
    return repl.report
