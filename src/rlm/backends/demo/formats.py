"""Recognises the format of the data from its first lines, and the fields that a question names. It sees only what a
model sees: the lines that the first cell printed."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Kind: TypeAlias = Literal["access", "json", "csv", "pairs", "text"]

FIELDS_SHOWN = 4
"""How many fields are counted where the question names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """The format of each line of the data, and its fields."""

    kind: Kind
    fields: tuple[str, ...] = ()
    delimiter: str = ","
    """The character between the columns; for CSV alone."""


ACCESS_LINE = re.compile(
    r"^(\S+) \S+ \S+ \[(\d+/\w+/\d+:\d+):(\d)\d:\d+ [^\]]*\] "
    r'"(\S+) ([^\s?"]+)(?:[\s?][^"]*)?" (\d{3}) \S+(?: "[^"]*" "([^"]*)")?',
    re.MULTILINE,
)
"""A line in Apache's common or combined log format. Groups: client, date and hour, tens of minutes, method, path,
status, user agent. It takes linear time: no two neighbours can match the same character."""

_ACCESS_FIELDS: Mapping[str, re.Pattern[str]] = {
    "status": re.compile(r"\b(?:status(?:es)?|codes?|responses?|errors?)\b"),
    "path": re.compile(r"\b(?:paths?|urls?|uris?|pages?|endpoints?|routes?|resources?)\b"),
    "client": re.compile(r"\b(?:ips?|clients?|address(?:es)?|hosts?|visitors?)\b"),
    "method": re.compile(r"\b(?:methods?|verbs?)\b"),
    "agent": re.compile(r"\b(?:agents?|browsers?|bots?)\b"),
    "half hour": re.compile(r"\b(?:hours?|times?|when)\b"),
}
_PAIR = re.compile(r"(?<!\S)([A-Za-z_][\w.-]{0,40})=(?:\"[^\"]*\"|\S*)")
_WORD = re.compile(r"[^\W_]+")


def recognise(head: Sequence[str]) -> Format:
    """The format of data that begins with the lines `head`; lines may have been cut at their end."""
    lines = [line for line in head if line.strip()]
    if not lines:
        return Format(kind="text")
    if all(ACCESS_LINE.match(line) for line in lines):
        return Format(kind="access", fields=tuple(_ACCESS_FIELDS))
    if fields := _json_fields(lines[0]):
        return Format(kind="json", fields=fields)
    if fields := tuple(dict.fromkeys(_PAIR.findall(lines[0]))):
        return Format(kind="pairs", fields=fields)
    return _as_csv(lines) or Format(kind="text")


def named_fields(question: str, form: Format) -> tuple[str, ...]:
    """The fields that `question` names, else the first few."""
    words = question.lower()
    if form.kind == "access":
        named = tuple(field for field, pattern in _ACCESS_FIELDS.items() if pattern.search(words))
    else:
        asked = {_singular(word) for word in _WORD.findall(words)}
        named = tuple(
            field for field in form.fields if asked & {_singular(word) for word in _WORD.findall(field.lower())}
        )
    return named or form.fields[:FIELDS_SHOWN]


def _singular(word: str) -> str:
    return word.removesuffix("ies") + "y" if word.endswith("ies") else word.removesuffix("s")


def _json_fields(line: str) -> tuple[str, ...]:
    try:
        return tuple(msgspec.json.decode(line, type=dict[str, msgspec.Raw]))
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return ()


def _as_csv(lines: Sequence[str]) -> Format | None:
    """The format of CSV lines, or None: CSV is a header and rows with as many cells, and one line proves nothing."""
    for delimiter in ",;\t|":
        header, *rows = list(csv.reader(lines, delimiter=delimiter))
        if len(header) > 1 and rows and all(len(row) == len(header) for row in rows):
            return Format(kind="csv", fields=tuple(header), delimiter=delimiter)
    return None
