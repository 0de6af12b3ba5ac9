"""The one typed stream of a run: what an event is, its bodies, and how it is written and read.

An event never changes once stamped. A span (completion, turn, model, exec, tool) begins with `<kind>.start` and ends
with `<kind>.end` of the same span id. Nothing is written twice: a conversation is, in order of `seq`, the
`message` events of a completion's span and the `model.end` events of its turns.

Fields may be added without a new version; readers ignore fields and types they don't know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import msgspec
from msgspec import Struct

from rlm.core.types import ExecError, Final, Finish, Json, Role, RunUsage, Status, TokenUsage, ToolCall

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
"""The version of this format, in every `run.start`."""


class Body(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The base of all bodies."""

    TYPE: ClassVar[str]
    """The type of the event that carries it."""


class RunStart(Body, frozen=True):
    """The first event of a run: what it was given and under which settings."""

    TYPE: ClassVar[str] = "run.start"

    version: int
    """The version of the event format."""
    rlm_version: str
    model: str
    sub_model: str
    environment: str
    budget: dict[str, Json]
    """Every cap by its name; null is no cap."""
    config: dict[str, Json] = {}
    """Other settings that shape the run; never a secret."""
    resumed_from: str | None = None


class ContextNote(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a completion was given to work on, without the data."""

    kind: str
    """none, text, files or value."""
    size_bytes: int = 0
    chars: int = 0
    parts: int = 0
    """The number of files or items."""
    digest: str | None = None
    """SHA-256 over the data, as `sha256:<hex>`; None where it is shared with the parent completion."""
    sources: list[str] = []
    """Paths it was read from, at most 100."""


class CompletionStart(Body, frozen=True):
    """A completion begins; the root's span has no parent, a child's parent is the exec span that asked."""

    TYPE: ClassVar[str] = "completion.start"

    depth: int
    prompt: str
    model: str
    dialect: str
    context: ContextNote


class CompletionEnd(Body, frozen=True):
    """A completion ends, whatever ended it."""

    TYPE: ClassVar[str] = "completion.end"

    status: Status
    response: str
    duration_s: float
    usage: RunUsage
    """Of this completion and all below it."""
    limit: str | None = None
    error: str | None = None
    """Class and message of what failed."""
    cost_usd: float | None = None


class ImageNote(Struct, frozen=True, kw_only=True):
    """An image of a prompt, without its bytes: they are the file `<run_id>.blobs/<digest>`."""

    media_type: str
    size_bytes: int
    digest: str
    """SHA-256 of the bytes, 64 hex digits."""


class MessageAdded(Body, frozen=True):
    """A message joins a completion's conversation; assistant messages are in `model.end` instead."""

    TYPE: ClassVar[str] = "message"

    role: Role
    content: str
    tool_call_id: str | None = None
    images: list[ImageNote] = []
    """Only with role `user`."""


class Compaction(Body, frozen=True):
    """Notes took the place of older messages in what the model is sent; the record keeps those messages."""

    TYPE: ClassVar[str] = "compaction"
    dropped: int
    """How many messages after the first two were replaced."""
    content: str
    """The message that replaced them."""


class TurnStart(Body, frozen=True):
    """A turn begins."""

    TYPE: ClassVar[str] = "turn.start"

    turn: int
    """From 1."""


class TurnEnd(Body, frozen=True):
    """A turn ends: its model call is answered and its cells have run."""

    TYPE: ClassVar[str] = "turn.end"

    turn: int


class ModelStart(Body, frozen=True):
    """A request goes to a backend; it holds a reservation of tokens."""

    TYPE: ClassVar[str] = "model.start"

    model: str
    purpose: str
    """turn, landing (the last call for the best answer), compaction (notes) or llm_query."""
    max_output_tokens: int
    input_tokens_estimate: int
    prompt: str | None = None
    """Only with llm_query; a turn's conversation is in the events before."""
    images: list[ImageNote] = []
    """Those that go with `prompt`."""


class ModelEnd(Body, frozen=True):
    """A request was answered or failed, and was settled."""

    TYPE: ClassVar[str] = "model.end"

    text: str = ""
    tool_calls: list[ToolCall] = []
    usage: TokenUsage = TokenUsage()
    finish: Finish = "unknown"
    cost_usd: float | None = None
    error: str | None = None
    cached: bool = False
    """Answered from memory; nothing was paid."""
    same_as: str | None = None
    """With `cached`: the span of the call in this run that has the prompt and the reply."""


class ModelRetry(Body, frozen=True):
    """An attempt failed and another follows."""

    TYPE: ClassVar[str] = "model.retry"

    error: str
    wait_s: float
    attempt: int
    """The attempt that failed, from 1."""


class ExecStart(Body, frozen=True):
    """A cell begins."""

    TYPE: ClassVar[str] = "exec.start"

    cell: int
    """From 1 within the completion."""
    code: str


class ExecOutput(Body, frozen=True):
    """A piece of what a cell printed, in order; the pieces of a cell together are what was kept of it."""

    TYPE: ClassVar[str] = "exec.output"

    text: str


class ExecEnd(Body, frozen=True):
    """A cell ended."""

    TYPE: ClassVar[str] = "exec.end"

    status: str
    """ok, error, timeout, interrupted or killed."""
    output_chars: int
    """Printed in all, kept or not."""
    duration_s: float
    error: ExecError | None = None
    final: Final | None = None
    changed: list[str] = []
    """Variables set by the cell."""
    state_reset: bool = False


class ToolStart(Body, frozen=True):
    """A host tool is called."""

    TYPE: ClassVar[str] = "tool.start"

    name: str
    arguments: Json
    caller: str
    """model or guest."""


class ToolEnd(Body, frozen=True):
    """A host tool answered or refused."""

    TYPE: ClassVar[str] = "tool.end"

    result: Json = None
    error: str | None = None


class ArtifactSaved(Body, frozen=True):
    """Guest code saved a file beside the trajectory."""

    TYPE: ClassVar[str] = "artifact"

    name: str
    """Relative to `<run_id>.artifacts/`."""
    size_bytes: int


class SandboxReady(Body, frozen=True):
    """The sandbox of the run can open REPLs."""

    TYPE: ClassVar[str] = "sandbox"
    environment: str
    layers: list[str] = []
    """The layers of confinement in force."""


class Limit(Body, frozen=True):
    """A cap is near or reached."""

    TYPE: ClassVar[str] = "limit"

    name: str
    state: str
    """near, reached or refused (a call that would not have fitted)."""
    message: str


class Warned(Body, frozen=True):
    """Something the user should know that changed nothing."""

    TYPE: ClassVar[str] = "warning"

    message: str


AnyBody: TypeAlias = (
    RunStart
    | CompletionStart
    | CompletionEnd
    | MessageAdded
    | Compaction
    | TurnStart
    | TurnEnd
    | ModelStart
    | ModelEnd
    | ModelRetry
    | ExecStart
    | ExecOutput
    | ExecEnd
    | ToolStart
    | ToolEnd
    | ArtifactSaved
    | SandboxReady
    | Limit
    | Warned
)

BODIES: Mapping[str, type[Body]] = {body.TYPE: body for body in AnyBody.__args__}
"""Every body by its type."""


class Blob(Struct, frozen=True, kw_only=True):
    """A text too large for a line; it is the file `<run_id>.blobs/<digest>`."""

    digest: str
    """SHA-256 of its UTF-8 (surrogatepass), 64 hex digits."""
    chars: int


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One immutable record; a line of the trajectory."""

    seq: int
    """From 0, without gaps, within the run."""
    at: float
    """Seconds since the epoch."""
    run: str
    """32 hex digits, a W3C trace id."""
    span: str
    """16 hex digits, a W3C span id."""
    parent: str | None
    """The span that this one is in; None for the root."""
    type: str
    body: Any
    """An instance of `BODIES[type]`; a dict where the type is unknown."""
    blobs: dict[str, Blob] = {}
    """Texts cut to their beginning in `body`, by dotted path in it."""


class _Line(Struct):
    seq: int
    at: float
    run: str
    span: str
    parent: str | None
    type: str
    body: msgspec.Raw
    blobs: dict[str, Blob] = {}


_encoder = msgspec.json.Encoder()
_line_decoder = msgspec.json.Decoder(_Line)
_body_decoders = {tag: msgspec.json.Decoder(body) for tag, body in BODIES.items()}


def encode(event: Event) -> bytes:
    """The event as one line of JSON, without the newline."""
    return _encoder.encode(event)


def decode(line: bytes) -> Event:
    """Read one line; an unknown type, or a known one that does not fit, keeps its body as plain JSON.

    Raises:
        ValueError: the line is no event at all.
    """
    head = _line_decoder.decode(line)
    try:
        body: Any = _body_decoders[head.type].decode(head.body)
    except (KeyError, msgspec.ValidationError):
        body = msgspec.json.decode(head.body)
    return Event(
        seq=head.seq,
        at=head.at,
        run=head.run,
        span=head.span,
        parent=head.parent,
        type=head.type,
        body=body,
        blobs=head.blobs,
    )
