"""Reads saved states on the host: their values as Python objects, and a copy without secrets.

Both only decode data; nothing in a state is run.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.exceptions import StoreError
from rlm.repl.guest.carry.forms import CannotCarry, from_text, to_text
from rlm.repl.guest.wire import WireError
from rlm.secrets.names import family_of
from rlm.secrets.spans import LABEL_START
from rlm.sessions.store import Definition, State

if TYPE_CHECKING:
    from rlm.core.interfaces import Masker

_DEEP = ('"$map"', '"$counter"', '"$ordered"', '"$defaultdict"', '"$bytes"', '"$bytearray"', '"$str"', LABEL_START)
"""Marks of text, or of keys, that a state holds in another form than plain."""
_MAX_KEYS = 10_000
_WHY_CHARS = 200


def masked_state(state: State, masker: Masker | None) -> State:
    """The state with its secrets masked, and with the names of what held any."""
    if masker is None:
        return state
    values, lost, masked = dict(state.values), dict(state.lost), []
    for name, text in state.values.items():
        if _is_clean(name, text, masker):
            continue
        try:
            values[name] = to_text(masker.mask_value({name: from_text(text)})[name])
        except (CannotCarry, WireError) as error:
            lost[name] = str(error)[:_WHY_CHARS]
            del values[name]
        else:
            masked += [name] if values[name] != text else []
    definitions = [Definition(names=each.names, source=masker.mask(each.source)) for each in state.definitions]
    for before, after in zip(state.definitions, definitions, strict=True):
        masked += before.names if before.source != after.source else []
    return msgspec.structs.replace(state, values=values, lost=lost, definitions=definitions, masked=masked)


def values_of(state: State) -> dict[str, Any]:
    """The values of a state as Python objects on the host: data only, no code.

    Raises:
        StoreError: one of them can't be read; the message says which.
    """
    return {name: value_of(name, text) for name, text in state.values.items()}


def value_of(name: str, text: str) -> Any:
    """The value that the text of variable `name` stands for.

    Raises:
        StoreError: the text can't be read.
    """
    try:
        return from_text(text)
    except WireError as error:
        raise StoreError(f"the value of {name!r} can't be read: {str(error)[:_WHY_CHARS]}") from error


def _is_clean(name: str, text: str, masker: Masker) -> bool:
    """Whether there is surely nothing to mask: no name in it is that of a secret, and no text in it has one.

    All texts are searched in one go, with empty lines between them: what is masked in a line depends on that line and
    the one before. One by one, as `mask_value` has to, takes some twenty times longer.
    """
    if any(sign in text for sign in _DEEP):
        return False
    try:
        strings, keys = _strings(text)
    except ValueError:
        return False
    if len(keys) > _MAX_KEYS or any(family_of(each) for each in (name, *keys)):
        return False
    all_text = "\n\n".join(strings)
    return masker.mask(all_text) == all_text


def _strings(text: str) -> tuple[list[str], set[str]]:
    """The different strings in a JSON text, and those of them that are keys.

    Raises:
        ValueError: it is not JSON.
    """
    if "\\" in text:
        text = text.replace("\\\\", "\0").replace('\\"', "\1")  # JSON has neither character unescaped
    parts = text.split('"')
    strings = parts[1::2]
    keys = {string for string, after in zip(strings, parts[2::2], strict=False) if after[:1] == ":"}
    return [_unescaped(string) for string in dict.fromkeys(strings)], {_unescaped(key) for key in keys}


def _unescaped(part: str) -> str:
    if "\\" not in part and "\0" not in part and "\1" not in part:
        return part
    escaped = part.replace("\1", '\\"').replace("\0", "\\\\")
    return str(json.loads(f'"{escaped}"'))
