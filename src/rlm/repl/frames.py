"""The frames of the wire as the host sees them: what it sends, and what it believes of what a guest sends.

Whatever does not fit these types exactly is a `WireError`; nothing here acts on a frame.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from rlm.core.texts import escape_surrogates
from rlm.core.types import Citation, ExecError, Final
from rlm.repl.guest.quotes import MAX_QUOTE_CHARS, MAX_SOURCES
from rlm.repl.guest.wire import VERSION, WireError, check_values, count_values, decode_value, encode_value, pack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.contexts.context import Context
    from rlm.core.types import Json

_VALUE_BYTES = 100
"""The most memory, in bytes, that a decoded value takes beside its own text."""
_WIDEST = 4
"""The most memory, in bytes, that a decoded character takes."""
_MAX_NAMES = 1_000
_MAX_NAME_CHARS = 200
_MAX_MESSAGE_CHARS = 20_000
_MAX_TRACEBACK_CHARS = 40_000


class ErrorForm(Struct, forbid_unknown_fields=True):
    """An exception that ended a cell."""

    kind: str
    message: str
    traceback: str


class FinalForm(Struct, forbid_unknown_fields=True):
    """A final answer; `value` is in the wire's value form, `sources` are quotes of the data."""

    value: Any
    sources: list[str] = []


class Ready(Struct, tag="ready", tag_field="t", forbid_unknown_fields=True):
    """The guest has started."""

    v: int
    report: dict[str, str]


class GuestCall(Struct, tag="call", tag_field="t", forbid_unknown_fields=True):
    """Guest code called a bound function."""

    id: int
    name: str
    args: list[Any]
    kwargs: dict[str, Any]


class Done(Struct, tag="done", tag_field="t", forbid_unknown_fields=True):
    """A cell ended."""

    id: int
    error: ErrorForm | None
    final: FinalForm | None
    changed: list[str]
    threads: int


class Gone(Struct, tag="gone", tag_field="t", forbid_unknown_fields=True):
    """The guest has ended: said by the process that started it. A guest that says so itself harms only its own REPL."""

    cause: Literal["", "memory", "time"]
    signal: Annotated[int, Meta(ge=0, le=128)]
    code: Annotated[int, Meta(ge=0, le=255)] | None


GuestFrame: TypeAlias = Ready | GuestCall | Done | Gone
_decoder: msgspec.json.Decoder[GuestFrame] = msgspec.json.Decoder(GuestFrame)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A frame of a guest with its values decoded."""

    frame: GuestFrame
    weight: int = 0
    """The most memory, in bytes, that the arguments of a call take."""
    args: tuple[Json, ...] = ()
    kwargs: Mapping[str, Json] = field(default_factory=dict)
    final: Final | None = None


def read(payload: bytes, context: Context) -> Received:
    """The frame in a payload, from a guest whose `context` that is. Any thread may read one.

    Raises:
        WireError: no guest may send it.
    """
    frame = decode(payload)
    if isinstance(frame, Done):
        return Received(frame=frame, final=None if frame.final is None else final(frame.final))
    if not isinstance(frame, GuestCall):
        return Received(frame=frame)
    special = {"$text": _text, "$context": lambda _body: context}
    return Received(
        frame=frame,
        weight=weight(payload),
        args=tuple(decode_value(form, special=special) for form in frame.args),
        kwargs={key: decode_value(form, special=special) for key, form in frame.kwargs.items()},
    )


def decode(payload: bytes) -> GuestFrame:
    """The frame in a payload, its values in their form on the wire. Raises:
    WireError: no guest may send it.
    """
    try:
        check_values(payload)
        return _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise WireError(f"not a frame of a guest: {e}") from e


def weight(payload: bytes) -> int:
    """The most memory, in bytes, that the values of a payload take."""
    is_plain = payload.isascii() and b"\\u" not in payload
    return len(payload) * (1 if is_plain else _WIDEST) + count_values(payload) * _VALUE_BYTES


def exec_error(form: ErrorForm) -> ExecError:
    """The error for `ExecResult`, bounded whatever the guest sent."""
    return ExecError(
        kind=form.kind[:200],
        message=form.message[:_MAX_MESSAGE_CHARS],
        traceback=form.traceback[:_MAX_TRACEBACK_CHARS],
    )


def final(form: FinalForm) -> Final:
    """The final answer from its form on the wire, its sources unchecked. Its text is the value itself if that is a str,
    else JSON, else `repr`.

    Raises:
        WireError: not a valid form.
    """
    value = decode_value(form.value, special={"$text": str})
    sources = tuple(Citation(quote=quote[:MAX_QUOTE_CHARS]) for quote in form.sources[:MAX_SOURCES])
    return Final(value=value, text=_text_of(value), sources=sources)


def names(changed: list[str]) -> tuple[str, ...]:
    """The names of changed variables, bounded whatever the guest sent."""
    return tuple(name[:_MAX_NAME_CHARS] for name in changed[:_MAX_NAMES])


def pack_reply(call_id: int, value: Json) -> bytes:
    """The answer to a call; an exception inside `value` goes as a failed item.

    Raises:
        TypeError: a part of `value` has no form.
        WireError: it is too large.
    """
    return pack({"t": "reply", "id": call_id, "value": encode_value(value, other=_failed_item)})


def pack_error(call_id: int, kind: str, message: str) -> bytes:
    """The answer to a call that failed."""
    return pack({"t": "reply", "id": call_id, "error": _error_form(kind, message)})


def pack_exec(cell: int, code: str, mark: str) -> bytes:
    """The frame that runs a cell. Raises:
    WireError: the code is too large.
    """
    return pack({"t": "exec", "id": cell, "code": escape_surrogates(code), "mark": mark})


def pack_init(functions: tuple[str, ...], settings: Mapping[str, Json]) -> bytes:
    """The frame `init`, the first one."""
    return pack({"t": "init", "v": VERSION, "functions": list(functions), **settings})


def error_message(error: BaseException) -> str:
    """What an exception says, without the quotes that KeyError adds."""
    only = error.args[0] if len(error.args) == 1 else None
    return only if isinstance(only, str) else str(error)


def _error_form(kind: str, message: str) -> dict[str, str]:
    return {"kind": kind, "message": escape_surrogates(message[:_MAX_MESSAGE_CHARS])}


def _failed_item(value: Any) -> Json:
    if isinstance(value, Exception):
        return {"$error": _error_form(type(value).__name__, error_message(value))}
    raise TypeError(f"a {type(value).__name__} has no form on the wire")


def _text(body: Any) -> str:
    if not isinstance(body, str):
        raise TypeError("text is expected")
    return body


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)
