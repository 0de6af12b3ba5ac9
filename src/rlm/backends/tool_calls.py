"""Tool calls on their way in and out: ids that every server takes, and arguments that are JSON, for servers parse what
is sent back to them and refuse the whole conversation for one odd call in it."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections import deque
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from rlm.backends.json_text import without_surrogates
from rlm.core.dialects import EXECUTE_CODE
from rlm.core.dialects.arguments import read_code, read_object
from rlm.core.types import Json

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from rlm.core.types import Message, ModelRequest, ToolCall

UNREAD = "INVALID_JSON"
"""The one argument of a call whose own could not be read: their text."""
NAME_CHARS = 64
UNNAMED = "unnamed"

_ID = re.compile(r"[a-zA-Z0-9_-]{1,40}")
_ID_CHARS = string.ascii_letters + string.digits
_OWN_ID_CHARS = 9
"""The length of the ids that are made here: Mistral takes no other."""
_NOT_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")
_NO_OBJECT = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)


def with_ids(calls: Iterable[ToolCall], request: ModelRequest, elsewhere: Container[str] = ()) -> tuple[ToolCall, ...]:
    """The calls of the reply to `request`, with an id of our own where one is missing, odd, or in use already.

    `elsewhere` are ids of other conversations, by which something is kept.
    """
    used = {call.id for message in request.messages for call in message.tool_calls}
    named = []
    for call in calls:
        is_free = call.id not in used and call.id not in elsewhere and _ID.fullmatch(call.id) is not None
        named.append(call if is_free else replace(call, id=_own_id()))
        used.add(named[-1].id)
    return tuple(named)


def with_known_ids(messages: Sequence[Message]) -> Sequence[Message]:
    """The messages with an id of our own for each call whose id is odd or in use, the same whenever it is made.

    The calls of live replies have good ids (`with_ids`); those of a record may be another server's, or repeated.
    """
    used: set[str] = set()
    renamed: dict[str, deque[str]] = {}
    written = []
    for position, message in enumerate(messages):
        if message.tool_calls:
            renamed = {}
            written.append(_renamed(message, position, used, renamed))
            continue
        ids = renamed.get(message.tool_call_id or "")
        call_id = ids.popleft() if ids else message.tool_call_id
        written.append(message if call_id == message.tool_call_id else replace(message, tool_call_id=call_id))
    return written


def _renamed(message: Message, position: int, used: set[str], renamed: dict[str, deque[str]]) -> Message:
    """A message whose calls have good ids; `used` takes them, and `renamed` takes them by those that they had."""
    calls = []
    for number, call in enumerate(message.tool_calls):
        good = call.id not in used and _ID.fullmatch(call.id) is not None
        calls.append(call if good else replace(call, id=_made_id(f"{position}/{number}/{call.id}")))
        used.add(calls[-1].id)
        renamed.setdefault(call.id, deque()).append(calls[-1].id)
    same = all(one is other for one, other in zip(calls, message.tool_calls, strict=True))
    return message if same else replace(message, tool_calls=tuple(calls))


def _made_id(seed: str) -> str:
    return hashlib.sha256(seed.encode("utf-8", "surrogatepass")).hexdigest()[:_OWN_ID_CHARS]


def short_id(call_id: str) -> str:
    """An id of the length that Mistral takes; one that has it stays."""
    if len(call_id) == _OWN_ID_CHARS and call_id.isalnum() and call_id.isascii():
        return call_id
    return _made_id(call_id)


def arguments_of(call: ToolCall) -> dict[str, Json]:
    """The arguments as an object: as they are, or as they were understood, or else their text under one name."""
    with suppress(*_NO_OBJECT):
        return _object_in(call.arguments or "{}")
    try:
        return _object_in(msgspec.json.encode(without_surrogates(_understood(call))))
    except _NO_OBJECT:
        return {UNREAD: call.arguments}


def arguments_text(call: ToolCall) -> str:
    """The arguments as the JSON text of an object; what is one already stays as it was written."""
    try:
        _object_in(call.arguments)
    except _NO_OBJECT:
        return msgspec.json.encode(without_surrogates(arguments_of(call))).decode()
    return call.arguments


def name_of(call: ToolCall) -> str:
    """The name of the tool in characters that every server takes, without a namespace before that of execute_code."""
    if call.name.rpartition(".")[2] == EXECUTE_CODE.name:
        return EXECUTE_CODE.name
    return _NOT_IN_NAMES.sub("_", call.name)[:NAME_CHARS] or UNNAMED


def _object_in(text: str | bytes) -> dict[str, Json]:
    return msgspec.json.decode(text, type=dict[str, Json])


def _understood(call: ToolCall) -> dict[str, Json]:
    """What the dialects make of arguments that are not JSON."""
    if call.name.rpartition(".")[2] == EXECUTE_CODE.name:
        return {"code": read_code(call.arguments)}
    return read_object(call.arguments)


def _own_id() -> str:
    return "".join(secrets.choice(_ID_CHARS) for _ in range(_OWN_ID_CHARS))
