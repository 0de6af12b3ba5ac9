"""What a text is by its beginning and its end: JSON and its keys, a table and its columns, a log and its time span.

It looks at little of the text, and claims nothing that what it looked at doesn't show.
"""

from __future__ import annotations

import json
import os
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LOOKED_AT_BYTES = 256 << 10
_WHOLE_BYTES = 1 << 20
"""The largest JSON text that is read whole."""
_LINES = 20
_NAMES_SHOWN = 12
_NAME_CHARS = 40
_DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_TIME_WITHIN = 80
"""How far from the beginning of a line its time may stand."""
_TIMES = (
    re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d)?"),
    re.compile(r"\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d"),
    re.compile(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d"),
)


def nature_of(fd: int, start: int, end: int, shape: Callable[[Any], str]) -> str:
    """What the text in a range of a file is, in a few words; empty where it is just text. `shape` says what a value is
    made of.
    """
    head = os.pread(fd, min(_LOOKED_AT_BYTES, end - start), start).decode("utf-8", "ignore")
    if head[:256].lstrip()[:1] in ("{", "["):
        return _json(fd, start, end, head, shape)
    lines = head.splitlines()
    whole = lines if end - start <= _LOOKED_AT_BYTES else lines[:-1]
    if columns := _columns(whole[:_LINES]):
        return columns
    tail = os.pread(fd, min(_LOOKED_AT_BYTES, end - start), max(start, end - _LOOKED_AT_BYTES))
    return _times(whole, tail.decode("utf-8", "ignore").splitlines())


def _json(fd: int, start: int, end: int, head: str, shape: Callable[[Any], str]) -> str:
    if end - start <= _WHOLE_BYTES and (value := _value(os.pread(fd, end - start, start))) is not None:
        return f"JSON, {shape(value)}"
    rows = [_value(line.encode()) for line in islice(filter(str.strip, head.splitlines()[:-1] or [head]), 3)]
    if rows and all(isinstance(row, dict | list) for row in rows):
        return f"JSON lines, the first is {_item(rows[0], shape)}"
    if head.lstrip()[0] != "[":
        return ""
    try:
        first, _ = json.JSONDecoder().raw_decode(head, len(head) - len(head.lstrip("[ \t\r\n")))
    except (ValueError, RecursionError):
        return ""
    return f"JSON, a list; the first item is {_item(first, shape)}"


def _value(content: bytes) -> Any:
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return None


def _item(value: Any, shape: Callable[[Any], str]) -> str:
    return shape([value]).partition("the first is ")[2]


def _columns(lines: Sequence[str]) -> str:
    """The columns of a table, by the names in its first line; empty where lines don't have as many fields each."""
    if len(lines) < 2:
        return ""
    for delimiter, words in _DELIMITERS.items():
        counts = {_unquoted(line).count(delimiter) for line in lines if line.strip()}
        if len(counts) == 1 and (count := counts.pop()) >= 1:
            names = [name.strip().strip('"') for name in lines[0].split(delimiter)]
            if f"{delimiter} " in lines[0]:  # as in prose
                continue
            if not all(0 < len(name) <= _NAME_CHARS and not name[0].isdigit() for name in names):
                continue
            more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
            return f"a table of {count + 1:,} columns, divided by {words}: {', '.join(names[:_NAMES_SHOWN])}{more}"
    return ""


def _unquoted(line: str) -> str:
    return "".join(line.split('"')[::2])


def _times(first: Sequence[str], last: Sequence[str]) -> str:
    """The time in the first line that has one, and in the last, where most of the first lines have one."""
    looked_at = [line[:_TIME_WITHIN] for line in first[:_LINES]]
    for form in _TIMES:
        found = [match[0] for line in looked_at if (match := form.search(line)) is not None]
        if len(found) > 1 and 2 * len(found) >= len(looked_at):
            ends = (form.search(line[:_TIME_WITHIN]) for line in reversed(last))
            end = next((match[0] for match in ends if match is not None), found[-1])
            return f"lines with times, from {found[0]} to {end}"
    return ""
