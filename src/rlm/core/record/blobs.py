"""The line of an event, and how it is kept within bounds: large parts go into blobs beside the record, their beginnings
stay in the line.

Long texts go first. Where there are too many parts for that, the values that may be of any kind go whole, as JSON.
`restored` is the way back, and exact: a resumed run is served from it. What stands beside the record keeps long texts
apart in the same way, so that each is there once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from rlm.core.events import Blob, Event, encode
from rlm.core.texts import escape_surrogates

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rlm.core.events import Body

LINE_BYTES = 65_536
"""A longer line has its large parts moved to blobs."""
HEAD_CHARS = 2_000
"""What of such a part stays in the line."""

VALUES: Mapping[str, tuple[str, ...]] = {
    "completion.start": ("output_schema",),
    "tool.start": ("arguments",),
    "tool.end": ("result",),
    "exec.end": ("final.value",),
    "task.end": ("value",),
}
"""The places of values of any kind, by the type of the event."""

_Parts: TypeAlias = "dict[str, tuple[bytes, Blob]]"
"""What is to be stored, by its place, with a note that lacks the digest."""


def fitted(event: Event, store: Callable[[bytes], str]) -> tuple[Event, bytes]:
    """The event as a line of bounded length can carry it, and that line; `store` keeps a part that is too large and
    returns its digest.

    Raises:
        OSError: `store` failed.
    """
    event, line = carried(event)
    if len(line) <= LINE_BYTES:
        return event, line
    parts: _Parts = {}
    cut = _cut(event, (), parts)
    if event.type in VALUES and len(encode(cut)) > LINE_BYTES:
        parts.clear()
        cut = _cut(event, VALUES[event.type], parts)
    blobs = {place: msgspec.structs.replace(note, digest=store(content)) for place, (content, note) in parts.items()}
    cut = msgspec.structs.replace(cut, blobs=blobs)
    return cut, encode(cut)


def restored(event: Event, load: Callable[[Blob], str | None]) -> Event:
    """The event with its large parts whole; its `blobs` are those that `load` doesn't have, or that fit nowhere."""
    if not event.blobs:
        return event
    body = msgspec.to_builtins(event.body)
    left = {place: blob for place, blob in event.blobs.items() if not _put_back(body, place, blob, load)}
    try:
        whole = msgspec.convert(body, type(event.body))
    except msgspec.ValidationError:  # a value where the body has a text: made by someone else
        return event
    return msgspec.structs.replace(event, body=whole, blobs=left)


def without_texts(value: Any) -> tuple[Any, dict[str, str]]:
    """A copy of a JSON value without its long texts, and these by their place in it; `with_texts` is the way back."""
    path, texts = list[str](), dict[str, str]()

    def take(text: str) -> str:
        if len(text) <= HEAD_CHARS:
            return text
        texts[".".join(path)] = text
        return ""

    return _walk(value, take, path), texts


def with_texts(value: Any, texts: Mapping[str, str]) -> None:
    """Put texts back in their places in a JSON value that `without_texts` gave."""
    for place, text in texts.items():
        steps = _steps(place)
        if _at(value, steps) == "":
            _put(value, steps, text)


def carried(event: Event) -> tuple[Event, bytes]:
    """The event as JSON can carry it, and its line, of any length and without the newline."""
    try:
        return event, encode(event)
    except (UnicodeEncodeError, TypeError):  # lone surrogates and odd keys come from guests and models
        plain = _walk(_builtins(event.body), escape_surrogates, [])
        event = msgspec.structs.replace(event, body=msgspec.convert(plain, type(event.body)))
        return event, encode(event)


def _cut(event: Event, values: Sequence[str], parts: _Parts) -> Event:
    """The event with the beginnings of the large among these `values`, and of long texts; `parts` takes the whole."""
    body, path = _builtins(event.body), list[str]()

    def cut(text: str) -> str:
        if len(text) <= HEAD_CHARS:
            return text
        parts[".".join(path)] = (text.encode("utf-8", "surrogatepass"), Blob(digest="", chars=len(text)))
        return text[:HEAD_CHARS]

    for place in values:
        content = msgspec.json.encode(_at(body, place.split(".")))
        if len(content) > HEAD_CHARS:
            text = content.decode()
            parts[place] = (content, Blob(digest="", chars=len(text), json=True))
            _put(body, place.split("."), text[:HEAD_CHARS])
    return msgspec.structs.replace(event, body=msgspec.convert(_walk(body, cut, path), type(event.body)))


def _builtins(body: Body) -> Any:
    return msgspec.to_builtins(body, enc_hook=repr)


def _put_back(body: Any, place: str, blob: Blob, load: Callable[[Blob], str | None]) -> bool:
    steps = _steps(place)
    if not isinstance(_at(body, steps), str) or (text := load(blob)) is None:
        return False
    try:
        _put(body, steps, msgspec.json.decode(text) if blob.json else text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _steps(place: str) -> list[str]:
    """The steps of a dotted place."""
    return [step.replace("~1", ".").replace("~0", "~") for step in place.split(".")]


def _put(body: Any, steps: Sequence[str], value: Any) -> None:
    """Put `value` in a place that is there."""
    *above, last = steps
    holder = _at(body, above)
    holder[int(last) if isinstance(holder, list) else last] = value


def _at(value: Any, steps: Sequence[str]) -> Any:
    """The value at a place; None if the body doesn't have the place."""
    for step in steps:
        if isinstance(value, list):
            value = value[int(step)] if step.isdecimal() and len(step) < 10 and int(step) < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def _walk(value: Any, change: Callable[[str], str], path: list[str]) -> Any:
    """A copy of `value` with every text changed; `path` names the place while `change` runs."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {escape_surrogates(str(key)): _step(_name(str(key)), item, change, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_step(str(index), item, change, path) for index, item in enumerate(value)]
    return value


def _step(name: str, value: Any, change: Callable[[str], str], path: list[str]) -> Any:
    path.append(name)
    try:
        return _walk(value, change, path)
    finally:
        path.pop()


def _name(key: str) -> str:
    """A key as a step of a dotted place."""
    return key.replace("~", "~0").replace(".", "~1")
