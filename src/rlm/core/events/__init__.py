"""The one typed stream of a run: what an event is, its bodies, and how it is written and read.

An event never changes once stamped. A span (completion, turn, model, exec, tool) begins with `<kind>.start` and ends
with `<kind>.end` of the same span id. Nothing is written twice: a conversation is, in order of `seq`, the
`message` events of a completion's span and the `model.end` events of its turns.

Fields may be added without a new version; readers ignore fields and types they don't know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from msgspec import Struct

from rlm.core.events.body import Body, Keyed
from rlm.core.events.cell import ArtifactSaved, ExecEnd, ExecOutput, ExecStart, ToolEnd, ToolStart
from rlm.core.events.completion import (
    Advised,
    Compaction,
    CompletionEnd,
    CompletionStart,
    MessageAdded,
    TurnEnd,
    TurnStart,
)
from rlm.core.events.model import ModelEnd, ModelRetry, ModelStart
from rlm.core.events.run import (
    Controlled,
    HookEnded,
    Limit,
    RecordLeft,
    RunStart,
    SandboxReady,
    SessionCarried,
    TimePassed,
    Warned,
)
from rlm.core.events.tasks import TaskEnd, TaskOutput, TasksEnd, TasksStart, TaskStart
from rlm.core.texts import escape_line_ends

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
"""The version of this format, in every `run.start`."""

AnyBody: TypeAlias = (
    RunStart
    | CompletionStart
    | CompletionEnd
    | MessageAdded
    | Advised
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
    | TimePassed
    | Controlled
    | HookEnded
    | RecordLeft
    | TasksStart
    | TaskStart
    | TaskOutput
    | TaskEnd
    | TasksEnd
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
    """The event as one line of JSON to every reader, without the newline: what else ends lines is escaped."""
    return escape_line_ends(_encoder.encode(event))


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


__all__ = [
    "BODIES",
    "VERSION",
    "Advised",
    "AnyBody",
    "ArtifactSaved",
    "Blob",
    "Body",
    "Compaction",
    "CompletionEnd",
    "CompletionStart",
    "Controlled",
    "Event",
    "ExecEnd",
    "ExecOutput",
    "ExecStart",
    "HookEnded",
    "Keyed",
    "Limit",
    "MessageAdded",
    "ModelEnd",
    "ModelRetry",
    "ModelStart",
    "RecordLeft",
    "RunStart",
    "SandboxReady",
    "SessionCarried",
    "TaskEnd",
    "TaskOutput",
    "TaskStart",
    "TasksEnd",
    "TasksStart",
    "TimePassed",
    "ToolEnd",
    "ToolStart",
    "TurnEnd",
    "TurnStart",
    "Warned",
    "decode",
    "encode",
]
