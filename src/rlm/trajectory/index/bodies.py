"""The few fields of bodies that the index keeps, each within bounds, so that nothing in a record can overflow it."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from rlm.trajectory.index.states import Count, Moment, Money  # noqa: TC001 (msgspec reads them)


class RunStartPart(Struct, gc=False):
    model: str
    environment: str
    budget: dict[str, Any] = {}
    resumed_from: Annotated[str, Meta(max_length=200)] | None = None
    forked_from: Annotated[str, Meta(max_length=200)] | None = None
    forked_at: Count = 0


class CompletionStartPart(Struct, gc=False):
    depth: Count
    prompt: str
    model: str


class CompletionEndPart(Struct, gc=False):
    status: Annotated[str, Meta(max_length=20)]
    response: str
    duration_s: Moment
    limit: str | None = None
    error: str | None = None


class NumberedPart(Struct, gc=False):
    """The start of a turn or a cell."""

    turn: Count = 0
    cell: Count = 0
    code: str = ""


class ModelStartPart(Struct, gc=False):
    model: str
    purpose: str
    prompt: str | None = None


class TokensPart(Struct, frozen=True, gc=False):
    input_tokens: Count = 0
    output_tokens: Count = 0


class ModelEndPart(Struct, gc=False):
    usage: TokensPart = TokensPart()
    cost_usd: Money | None = None
    error: str | None = None
    cached: bool = False


class GuestErrorPart(Struct, gc=False):
    kind: str
    message: str


class ExecEndPart(Struct, gc=False):
    status: Annotated[str, Meta(max_length=20)]
    error: GuestErrorPart | None = None
    state_reset: bool = False


class ToolStartPart(Struct, gc=False):
    name: str
    arguments: msgspec.Raw = msgspec.Raw(b"")


class ToolEndPart(Struct, gc=False):
    error: str | None = None


class NoticePart(Struct, gc=False):
    message: str = ""
    name: str = ""
    state: str = ""
    error: str = ""
