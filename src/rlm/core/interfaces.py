"""What core consumes, as Protocols. Their contracts stand here, once; implementations inherit nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.core.context import Context
    from rlm.core.events import Event
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
    """A way to reach models. One instance serves many concurrent calls on one event loop."""

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

    async def execute(self, code: str) -> ExecResult:
        """Run one cell and return what became of it; cells run one at a time.

        An exception in the cell, a timeout and a killed sandbox are results, not exceptions. After a kill
        the REPL starts again, empty but for `context`, and the result says `state_reset`.
        Cancellation kills the sandbox. Raises:
            REPLError: the sandbox failed and could not be started again.
        """
        ...

    async def aclose(self) -> None:
        """Kill the sandbox and wait until it is gone; idempotent."""
        ...


class Sandbox(Protocol):
    """A kind of sandbox that opens REPLs, with whatever they share (a zygote, a pool, a daemon)."""

    @property
    def traits(self) -> Traits:
        """What guest code can count on."""
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


class Sink(Protocol):
    """Consumes events, in order, on the event loop; must not block for long."""

    def write(self, event: Event) -> None: ...

    def close(self) -> None: ...


class Journal(Protocol):
    """The sink that must not fail: the trajectory on disk."""

    def write(self, event: Event) -> None:
        """Put the event on disk before returning.

        Raises:
            OSError: it could not be written.
        """
        ...

    def store(self, content: bytes) -> str:
        """Keep what is too large for a line beside the trajectory; return its SHA-256 in hex.

        Raises:
            OSError: it could not be written.
        """
        ...

    def close(self) -> None:
        """Sync and close; idempotent."""
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

    def validate(self, value: Json) -> Any:
        """Return the typed value; may take a while, so not on an event loop. Raises:
        OutputValidationError: it does not fit; the message tells the model why.
        """
        ...


class Masker(Protocol):
    """Replaces secrets in text; idempotent."""

    def mask(self, text: str) -> str: ...
