"""What core consumes, as Protocols. Their contracts stand here, once; implementations inherit nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.core.contexts.context import Context
    from rlm.core.events import Body, Event
    from rlm.core.outcome import Outcome
    from rlm.core.types import (
        ExecResult,
        Json,
        ModelReply,
        ModelRequest,
        ModelTraits,
        ReplSpec,
        ToolSpec,
        Traits,
    )


class Backend(Protocol):
    """A way to reach models. One instance serves many concurrent calls on one event loop.

    One that a user gives has a thread of its own for its loop. One that never blocks may have the attribute
    `on_loop = True`: it is then called on the loop of the runs.
    """

    def traits(self, model: str) -> ModelTraits:
        """Say what is known of `model` without calling it."""
        ...

    async def call(self, request: ModelRequest) -> ModelReply:
        """Make one request; retries of passing faults are the backend's own.

        Cancellation closes the connection. Raises:
            BackendError: every failure, as the subclass that fits.
        """
        ...

    async def aclose(self) -> None:
        """Release connections and processes; idempotent."""
        ...


class Repl(Protocol):
    """One persistent namespace in one sandbox."""

    async def execute(self, code: str, timeout_s: float | None = None) -> ExecResult:
        """Run one cell and return what became of it; cells run one at a time.

        `timeout_s` takes the place of the sandbox's own limit for this cell.

        An exception in the cell, a timeout and a killed sandbox are results, not exceptions. After a kill
        the REPL starts again, empty but for `context`, and the result says `state_reset`.
        Cancellation kills the sandbox. Raises:
            REPLError: the sandbox failed and could not be started again.
        """
        ...

    def interrupt(self, why: str) -> None:
        """Stop the cell that is running, if one is, and keep the variables; `why` is the error in its result.

        A cell that does not obey within the grace is killed, and its state with it.
        """
        ...

    async def aclose(self) -> None:
        """Kill the sandbox and wait until it is gone; idempotent."""
        ...


class Sandbox(Protocol):
    """A kind of sandbox that opens REPLs, with whatever they share (a zygote, a pool, a daemon)."""

    @property
    def traits(self) -> Traits:
        """What guest code can count on; known once the sandbox has started."""
        ...

    async def start(self) -> None:
        """Prepare ahead of the first `open`; optional to call, idempotent.

        Raises:
            SandboxUnavailableError: it can't run here; says what is missing.
        """
        ...

    async def open(self, context: Context, spec: ReplSpec) -> Repl:
        """Open a REPL whose variable `context` is `context`; REPLs opened with the same object share it.

        Raises:
            SandboxUnavailableError: it can't run here.
        """
        ...

    async def aclose(self) -> None:
        """End every REPL and what they share; idempotent."""
        ...


class Tool(Protocol):
    """A host-side function that a model, or guest code, may call."""

    @property
    def spec(self) -> ToolSpec: ...

    @property
    def reads_only(self) -> bool:
        """It changes nothing: by default such tools are offered to guest code as functions."""
        ...

    async def call(self, arguments: Mapping[str, Json]) -> Json:
        """Answer one call; `arguments` are unchecked. Raises:
        ToolError: refused or failed, with a message fit for the model.
        """
        ...


class Toolbox(Protocol):
    """The tools of a run, by name."""

    def get(self, name: str) -> Tool:
        """Find a tool.

        Raises:
            ToolNotFoundError: there is none; the message names near ones.
        """
        ...

    def __iter__(self) -> Iterator[Tool]: ...


class Helpers(Toolbox, Protocol):
    """The operations that guest code is offered over a workspace, each a tool with a dotted name such as `fs.glob`."""

    def allowed(self) -> Iterator[Tool]:
        """Those that the granted rights suffice for; the others refuse, and say so."""
        ...


class Hooks(Protocol):
    """The hooks of one run: code of the user's that may keep things from going on."""

    async def before_run(self) -> None:
        """Raises:
        HookDenied: the run may not begin.
        """
        ...

    async def before_cell(self, code: str) -> ExecResult | None:
        """The result of a cell that may not run; None for one that may."""
        ...

    async def before_tool(self, name: str, arguments: Mapping[str, Json]) -> None:
        """Raises:
        ToolError: the tool may not be called.
        """
        ...

    async def after_run(self, outcome: Outcome, most_s: float) -> Outcome:
        """The outcome of the root as the hooks let it stand; they may take `most_s` seconds."""
        ...


class Sink(Protocol):
    """Consumes the events of every run of a runtime, each run's in order; `RLM.close` closes it, no run does.

    A user's sink has a thread of its own. One that never blocks may have the attribute `on_loop = True`: it is then
    called on the event loop, before the run goes on.
    """

    def write(self, event: Event) -> None: ...

    def close(self) -> None: ...


@runtime_checkable
class LineSink(Sink, Protocol):
    """A sink that is given the line which is on disk instead of the event, so that no event is encoded twice."""

    def write_encoded(self, line: bytes) -> None:
        """Take the next event as its line of JSON, without the newline."""
        ...


@runtime_checkable
class BufferedSink(Sink, Protocol):
    """A sink that takes events later than it is given them; it raises at one event what went wrong with another."""

    @property
    def name(self) -> str:
        """The name by which users know it."""
        ...

    def flush(self) -> None:
        """Wait until all events are taken, but not for long. May raise anything: what went wrong since the last."""
        ...


class Journal(Protocol):
    """The trajectory on disk, which must not fail."""

    @property
    def size_bytes(self) -> int:
        """How much was written so far; what is stored several times counts once."""
        ...

    def write(self, event: Event, line: bytes) -> None:
        """Put the event on disk before returning: its line of JSON, given without the newline.

        Raises:
            OSError: it could not be written.
        """
        ...

    def store(self, content: bytes) -> str:
        """Keep what is too large for a line beside the trajectory; return its SHA-256 in hex. Any thread may do so.

        Raises:
            OSError: it could not be written.
        """
        ...

    def give_up(self) -> None:
        """Something could not be written, so that the record has a gap: never vouch for its end. It stays open."""
        ...

    def close(self) -> None:
        """Sync and close, whatever was or wasn't written; idempotent.

        Raises:
            OSError: what was written may not be on the device; it is closed all the same.
        """
        ...


class Keeper(Protocol):
    """Keeps what the trajectory doesn't: exact texts where it has masked ones, until the run completes."""

    @property
    def size_bytes(self) -> int:
        """How much was written so far."""
        ...

    def form(self, body: Body) -> bytes:
        """The exact body of an event in the form in which it is kept; long texts are on disk then. Any thread may ask.

        Raises:
            OSError: a text could not be written.
        """
        ...

    def keep(self, seq: int, form: bytes) -> None:
        """Put the exact body of an event, in its form, on disk before returning.

        Raises:
            OSError: it could not be written.
        """
        ...


class ReplyCache(Protocol):
    """Replies of earlier runs, by key; shared by threads and processes. A cache that fails holds nothing."""

    def get(self, key: str) -> ModelReply | None: ...

    def put(self, key: str, reply: ModelReply) -> None: ...


class Validator(Protocol):
    """Turns a JSON value into the `output_type` that was asked for."""

    @property
    def schema(self) -> Mapping[str, Json]:
        """The JSON Schema shown to the model."""
        ...

    async def validate(self, value: Json) -> Any:
        """Return the typed value. Cancellation ends what that takes. Raises:
        OutputValidationError: it does not fit; the message tells the model why.
        """
        ...


class MaskedText(Protocol):
    """One text being masked as it arrives."""

    def feed(self, chunk: str) -> str:
        """Take the next piece and return what is ready, which may be nothing."""
        ...

    def close(self) -> str:
        """The rest."""
        ...


class Masker(Protocol):
    """Replaces secrets; idempotent. Guest code and the data it works on are never masked."""

    def mask(self, text: str) -> str: ...

    def mask_value(self, value: Any) -> Any:
        """A masked copy of nested data, of the same shape: a key may say that its value is a secret."""
        ...

    def stream(self) -> MaskedText:
        """A new text, to be masked as `mask` would mask the whole of it."""
        ...
