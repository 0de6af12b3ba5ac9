"""Finds fenced code and FINAL marks in a model's text, in linear time: the text is hostile and may be large."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

_OPENING = re.compile(r"^ {0,3}(`{3,}|~{3,})[ \t]*([\w+-]*)")
_FINAL = re.compile(r"^[ \t]*FINAL\(", re.MULTILINE)
_FINAL_VAR = re.compile(r"""^[ \t]*FINAL_VAR\([ \t]*["']?(\w+)["']?[ \t]*\)[ \t]*$""", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """A fenced block."""

    language: str
    """Lower case, empty where none is named."""
    code: str
    closed: bool
    """False where the text ended inside it."""


def split(text: str) -> tuple[list[Fence], str]:
    """The fenced blocks of `text` in order, and the prose around them."""
    fences: list[Fence] = []
    prose: list[str] = []
    mark, language, lines = "", "", prose
    for line in text.splitlines(keepends=True):
        if mark:
            if _closes(line, mark):
                fences.append(Fence(language=language, code="".join(lines), closed=True))
                mark, lines = "", prose
                continue
        elif opening := _OPENING.match(line):
            mark, language, lines = opening[1], opening[2].lower(), []
            continue
        lines.append(line)
    if mark:
        fences.append(Fence(language=language, code="".join(lines), closed=False))
    return fences, "".join(prose)


def final_variable(prose: str) -> str | None:
    """The name in a line `FINAL_VAR(name)`."""
    found = _FINAL_VAR.search(prose)
    return found[1] if found else None


def final_text(prose: str) -> str | None:
    """The text in the first `FINAL(...)` that begins a line; it may span lines up to the matching parenthesis."""
    opening = _FINAL.search(prose)
    if opening is None:
        return None
    rest = prose[opening.end() :]
    depth, end = 1, 0
    for line in rest.splitlines(keepends=True):
        depth += line.count("(") - line.count(")")
        end += len(line)
        if depth <= 0 and line.rstrip().endswith(")"):
            break
    body = rest[:end].rstrip()
    return _unquoted(body.removesuffix(")").strip())


def _closes(line: str, mark: str) -> bool:
    stripped = line.strip()
    return len(stripped) >= len(mark) and not stripped.strip(mark[0])


def _unquoted(text: str) -> str:
    """A Python string literal as its value; anything else as it is."""
    if text[:1] not in ("'", '"'):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        quote = text[0]  # models quote several lines as if they were one
        return text[1:-1] if text.endswith(quote) and text.count(quote) == 2 else text
    return value if isinstance(value, str) else text
