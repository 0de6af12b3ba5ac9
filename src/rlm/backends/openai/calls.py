"""The tool calls of one reply, put together from the deltas of a stream. Servers number and name the pieces of a call
in ways of their own, so the rules go by what can't be otherwise:

1. An id that is known is that call's. Else the index decides, and where that is unknown or missing, the last call goes
   on. A delta without a name never begins a call, whatever id or index it has.
2. A delta with a name begins a call if the call that it would go on with has another name, or the same and arguments
   that are complete; or if it brings a new id for a call whose arguments need nothing more; or a new index, unless it
   goes on in the midst of arguments. The same call once more is a repetition. A name may come in pieces, where the
   pieces make the name of a tool that is on offer.
3. Arguments that begin with all that came before, from the opening brace on, take its place: they are sent anew with
   each delta.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from rlm.backends.counts import count_in
from rlm.backends.json_text import decode, whole_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.core.types import Json, ToolSpec

EXTRAS = ("extra_content", "provider_specific_fields", "thought_signature")
"""The fields of a call that nobody reads here, and that its server wants back."""

_SIGNIFICANT = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)


class _Brackets:
    """Follows the brackets of a JSON object that comes in pieces, in linear time, to tell when it has closed."""

    def __init__(self) -> None:
        self._depth = 0
        self._in_string = self._escaping = self._begun = False

    @property
    def closed(self) -> bool:
        return self._begun and self._depth <= 0 and not self._in_string

    def add(self, piece: str) -> None:
        start, self._escaping = int(self._escaping and bool(piece)), self._escaping and not piece
        for found in _SIGNIFICANT.finditer(piece, start):
            mark = found[0]
            if mark == "\\":
                self._escaping = True
            elif mark == '"':
                self._in_string = not self._in_string
            elif not self._in_string and mark in "{[":
                self._depth, self._begun = self._depth + 1, True
            elif not self._in_string and mark in "}]":
                self._depth -= 1


@dataclass(slots=True)
class CallDraft:
    """A tool call that grows by deltas."""

    id: str = ""
    name: str = ""
    extras: dict[str, Json] = field(default_factory=dict)
    may_repeat: bool = False
    """Whether it began with the name of the call before it: without arguments it is that one's head once more."""
    _pieces: list[str] = field(default_factory=list)
    _size_chars: int = 0
    _brackets: _Brackets = field(default_factory=_Brackets)

    @property
    def arguments(self) -> str:
        return whole_text("".join(self._pieces))

    @property
    def is_blank(self) -> bool:
        return not any(map(str.strip, self._pieces))

    @property
    def is_complete(self) -> bool:
        """Whether the arguments are an object that has closed."""
        return self._brackets.closed

    def add(self, piece: str) -> None:
        """Take more of the arguments, or all of them anew."""
        if self._takes_place(piece):
            self._pieces, self._size_chars, self._brackets = [], 0, _Brackets()
        self._pieces.append(piece)
        self._size_chars += len(piece)
        self._brackets.add(piece)

    def _takes_place(self, piece: str) -> bool:
        if not self._size_chars or len(piece) < self._size_chars or piece.lstrip()[:1] != "{":
            return False
        known = "".join(self._pieces)
        return piece.startswith(known) or known.strip() == "{}"


@dataclass(slots=True)
class CallDrafts:
    """The tool calls so far; `tools` are those on offer."""

    tools: Iterable[ToolSpec]
    calls: list[CallDraft] = field(default_factory=list)
    _by_id: dict[str, CallDraft] = field(default_factory=dict)
    _by_index: dict[int, CallDraft] = field(default_factory=dict)

    def add(self, delta: Json) -> None:
        """Take a piece of a call, or a whole one, as a stream sends it."""
        said = _Said.of(delta)
        call = self._call_of(said)
        if call is None:
            return
        self._note(call, said)
        if said.name != call.name:
            call.name += said.name
        call.add(said.arguments)
        call.extras.update(said.extras)

    def add_whole(self, call: Json) -> None:
        """Take a call of a reply that isn't streamed: each is one."""
        said = _Said.of(call)
        draft = CallDraft(said.id, said.name, said.extras)
        draft.add(said.arguments)
        self.calls.append(draft)

    def found(self) -> list[CallDraft]:
        """The calls, without what holds nothing."""
        return [call for call in self.calls if not call.is_blank or (call.name and not call.may_repeat)]

    @property
    def only_tool(self) -> str:
        """The name of the only tool on offer, which a call without a name must mean; empty where there are more."""
        names = [tool.name for tool in self.tools]
        return names[0] if len(names) == 1 else ""

    def _call_of(self, said: _Said) -> CallDraft | None:
        """The call that a delta goes on with, or a new one; None where it only repeats one."""
        known = self._known(said)
        if known is None:
            return self._begun()
        if not said.name or not known.name:
            return known
        if said.name != known.name:
            return known if self._are_pieces(known.name, said.name) else self._begun()
        if not known.is_complete or (said.id and said.id == known.id and not said.arguments.strip()):
            return known
        if _same(known.arguments, said.arguments):
            return None
        return self._begun(may_repeat=True)

    def _known(self, said: _Said) -> CallDraft | None:
        """The call that a delta would go on with, by id, by index, or by its place."""
        if said.id in self._by_id:
            return self._by_id[said.id]
        last = self.calls[-1] if self.calls else None
        known = last if said.index is None else self._by_index.get(said.index)
        if not said.name:
            return known or last
        if known is None:
            return last if last is not None and _goes_on(last, said) else None
        is_new = bool(said.id and known.id) and not self._waits(known)
        return None if is_new else known

    def _waits(self, call: CallDraft) -> bool:
        """Whether the arguments have yet to come, or to end."""
        if not call.is_blank:
            return not call.is_complete
        return any(tool.name == call.name and tool.parameters.get("required") for tool in self.tools)

    def _are_pieces(self, head: str, tail: str) -> bool:
        """Whether some tool's name begins with both together, and none is the head alone."""
        names = [tool.name for tool in self.tools]
        return head not in names and any(name.startswith(head + tail) for name in names)

    def _begun(self, *, may_repeat: bool = False) -> CallDraft:
        self.calls.append(CallDraft(may_repeat=may_repeat))
        return self.calls[-1]

    def _note(self, call: CallDraft, said: _Said) -> None:
        call.id = call.id or said.id
        if said.id:
            self._by_id[said.id] = call
        if said.index is not None:
            self._by_index[said.index] = call


@dataclass(frozen=True, slots=True)
class _Said:
    """What one delta says of a call."""

    id: str
    index: int | None
    name: str
    arguments: str
    extras: dict[str, Json]

    @classmethod
    def of(cls, delta: Json) -> _Said:
        delta = delta if isinstance(delta, dict) else {}
        function = delta.get("function")
        function = function if isinstance(function, dict) else delta  # some leave the wrapping out
        name, id_ = function.get("name"), delta.get("id")
        return cls(
            id=str(id_) if isinstance(id_, str | int) else "",
            index=count_in(delta.get("index")),
            name=name if isinstance(name, str) else "",
            arguments=_arguments(function.get("arguments")),
            extras={key: delta[key] for key in EXTRAS if delta.get(key)},
        )


def _goes_on(call: CallDraft, said: _Said) -> bool:
    """Whether a delta of an unknown index goes on with the call of its name: in the midst of the arguments."""
    begun = not call.is_blank and not call.is_complete
    return begun and call.name == said.name and said.arguments != "" and said.arguments.lstrip()[:1] != "{"


def _arguments(value: Json) -> str:
    """Arguments as JSON text, whatever a server sends in its place."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode() if value else ""


def _same(one: str, other: str) -> bool:
    """Whether two texts are the same JSON."""
    try:
        return one == other or bool(decode(one.encode("utf-8", "surrogatepass")) == decode(other.encode()))
    except ValueError:
        return False
