"""What the index keeps of runs and spans while it takes events in: the states are the rows of its tables."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from rlm.trajectory.index.rows import KINDS

HEAD_CHARS = 120
TEXT_CHARS = 1_000
NAME_CHARS = 100
MESSAGE_CHARS = 500
OK, ERROR = 1, 2
"""Places in `SPAN_STATUSES`; 0 is open."""

Count: TypeAlias = Annotated[int, Meta(ge=0, le=1 << 40)]
Money: TypeAlias = Annotated[float, Meta(ge=0, le=1e9)]
Moment: TypeAlias = Annotated[float, Meta(ge=0, le=1e11)]
Id: TypeAlias = Annotated[str, Meta(max_length=64)]


class Head(Struct, gc=False):
    """What every event has, its body left alone."""

    at: Moment
    span: Id
    parent: Id | None
    type: Id
    body: msgspec.Raw
    served: bool = False
    """Repeated from an earlier run's record: nothing was paid."""


class RunState(Struct):
    """What the index keeps of a run; the fields are the columns of its table."""

    id: str
    inode: int = 0
    size: int = 0
    mtime_ns: int = 0
    read_bytes: int = 0
    guard: bytes = b""
    """Digest over the beginning and the last bytes that were read."""
    status: str = ""
    """As its end says; running or crashed without one."""
    ended: int = 0
    started_at: float = 0.0
    last_at: float = 0.0
    duration_s: float = 0.0
    """Once it has ended."""
    model: str = ""
    environment: str = ""
    prompt: str = ""
    response: str = ""
    error: str = ""
    limit_name: str = ""
    turns: int = 0
    cells: int = 0
    model_calls: int = 0
    subcalls: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    """Paid calls without a known price."""
    served_calls: int = 0
    """Model calls that were paid in an earlier run and are served from its record."""
    served_tokens: int = 0
    served_cost_usd: float = 0.0
    served_unpriced: int = 0
    depth: int = 0
    errors: int = 0
    warnings: int = 0
    spans: int = 0
    events: int = 0
    skipped: int = 0
    resumed_from: str | None = None
    forked_from: str | None = None
    forked_at: int = 0
    budget: str = "{}"


class SpanState(Struct, gc=False):
    """What the index keeps of a span; the fields are the columns of its table."""

    number: int
    id: str
    parent: int
    """The number of the span it is in; -1 for none."""
    started_at: float
    first_seq: int
    last_seq: int
    level: int = 0
    depth: int = 0
    kind: int = len(KINDS) - 1
    name: str = ""
    ordinal: int = 0
    model: str = ""
    head: str = ""
    ended_at: float | None = None
    status: int = 0
    detail: str = ""
    cached: int = 0
    """1: answered from memory; 2: from the record of an earlier run."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    calls: int = 0
    errors: int = 0
    total_tokens: int = 0
    total_cost_usd: float = 0.0
    total_unpriced: int = 0
    total_calls: int = 0
    total_errors: int = 0
    children: int = 0


class Delta:
    """What one batch adds to a span's totals."""

    __slots__ = ("calls", "cost_usd", "errors", "tokens", "unpriced")

    def __init__(self) -> None:
        self.tokens = self.unpriced = self.calls = self.errors = 0
        self.cost_usd = 0.0

    def add(self, other: Delta) -> None:
        self.tokens += other.tokens
        self.cost_usd += other.cost_usd
        self.unpriced += other.unpriced
        self.calls += other.calls
        self.errors += other.errors
