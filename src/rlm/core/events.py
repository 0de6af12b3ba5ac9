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

from rlm.core.notes import ContextNote, ImageNote  # noqa: TC001 (msgspec reads them at run time)
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
    """The sandbox; where the configuration says `auto`, the one that was chosen."""
    budget: dict[str, Json]
    """Every cap by its name; null is no cap."""
    config: dict[str, Json] = {}
    """Other settings that shape the run; never a secret."""
    resumed_from: str | None = None
    """The run whose record this one serves from."""
    forked_from: str | None = None
    forked_at: int = 0
    """The last turn taken from `forked_from`."""
    salt: str | None = None
    """Of the keys of this run's events; None where texts are masked: it is in `<run_id>.exact` then."""


class Keyed(Body, frozen=True):
    """The base of what a resumed run serves from the record."""

    key: str | None = None
    """What was asked and how often before in this turn or cell, as a salted digest: the same when asked once more."""


class CompletionStart(Keyed, frozen=True, kw_only=True):
    """A completion begins; the root's span has no parent, a child's parent is the exec span that asked."""

    TYPE: ClassVar[str] = "completion.start"

    depth: int
    prompt: str
    model: str
    dialect: str
    context: ContextNote
    output_schema: Json = None
    """What the answer must fit; only of the root."""


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


class ModelStart(Keyed, frozen=True, kw_only=True):
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
    digest: str | None = None
    """Of the whole request, salted: equal calls are answered once."""


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


class ToolStart(Keyed, frozen=True, kw_only=True):
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


class ArtifactSaved(Keyed, frozen=True, kw_only=True):
    """Guest code saved a file beside the trajectory."""

    TYPE: ClassVar[str] = "artifact"

    name: str
    """Relative to `<run_id>.artifacts/`."""
    size_bytes: int
    digest: str = ""
    """SHA-256 of its bytes, 64 hex digits; empty in older records."""


class SandboxReady(Body, frozen=True):
    """The sandbox of the run can open REPLs."""

    TYPE: ClassVar[str] = "sandbox"
    environment: str
    layers: list[str] = []
    """The layers of confinement in force."""
    chosen: bool = False
    """The configuration says `auto`: this is the first that works here."""
    passed_over: dict[str, str] = {}
    """With `chosen`: those that were tried before, and why they don't work here."""


class SessionCarried(Body, frozen=True):
    """The variables of a session came into the run's REPL, or were kept of it."""

    TYPE: ClassVar[str] = "session"
    name: str
    phase: str
    """loaded or saved."""
    revision: int
    variables: list[str] = []
    lost: dict[str, str] = {}
    """Variables that could not be carried, and why."""
    masked: list[str] = []


class Limit(Keyed, frozen=True, kw_only=True):
    """A cap is near or reached; with a `key`, a sub-call or tool call got no answer."""

    TYPE: ClassVar[str] = "limit"

    name: str
    state: str
    """near, reached, refused (a call that would not have fitted) or cut (its cell ended before it was answered)."""
    message: str


class Warned(Body, frozen=True):
    """Something the user should know that changed nothing."""

    TYPE: ClassVar[str] = "warning"
    message: str


class RecordLeft(Body, frozen=True):
    """A resumed or forked run goes on live from here: the record it serves from has no more of this completion."""

    TYPE: ClassVar[str] = "record.left"
    turn: int
    diverged: str | None = None
    """Where and how it did something else than its record says; None: the record ends here."""


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
    | SessionCarried
    | Limit
    | Warned
    | RecordLeft
)

BODIES: Mapping[str, type[Body]] = {body.TYPE: body for body in AnyBody.__args__}
"""Every body by its type."""


class Blob(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A text or value too large for a line; it is the file `<run_id>.blobs/<digest>`."""

    digest: str
    """SHA-256 of its UTF-8 (surrogatepass), 64 hex digits."""
    chars: int
    json: bool = False
    """A value, as the JSON that the file is."""


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
    """What is cut to its beginning in `body`, by dotted path in it; in its names `~1` is `.` and `~0` is `~`."""
    served: bool = False
    """Repeated from the record of an earlier run: nothing was called or paid in this one."""
    chain: str = ""
    """The digest over this line and the chain value of the line before, for `rlm verify`; in files only."""


class _Line(Event, frozen=True, kw_only=True):
    body: msgspec.Raw


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
        served=head.served,
    )
