"""Unified diffs of changes that are not written yet, of limited length, for `dry_run`."""

from __future__ import annotations

import difflib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.contexts.context import printable
from rlm.files.encodings import HEAD_BYTES, why_binary

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.core.types import Json
    from rlm.helpers.changes import Change, Edit

MAX_LINES = 400
MAX_CHARS = 40_000
_LINE_CHARS = 400
_COMPARED_LINES = 20_000
"""The most lines, without the common start and end of both files, that are compared line by line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """The part of a diff that is shown, and how many lines it lacks."""

    text: str
    lines_left_out: int
    """How many lines it lacks after those that are shown; of files that were not compared line by line, 3."""
    next_offset: int | None = None
    """The offset of the next page; None if this is the last one."""


def preview(edit: Edit) -> dict[str, Json]:
    """Return the facts of an edit, with a unified diff of what it would write, of limited length."""
    diff = diff_of(edit.changes, max(0, edit.diff_offset))
    facts: dict[str, Json] = {"dry_run": True, "diff": diff.text, "diff_lines_left_out": diff.lines_left_out}
    more: dict[str, Json] = {} if diff.next_offset is None else {"diff_next_offset": diff.next_offset}
    return {**edit.facts, **facts, **more}


def diff_of(changes: Iterable[Change], offset: int = 0) -> Diff:
    """The unified diff of all changes, file by file, at most 400 lines and 40,000 characters, from line `offset` on."""
    shown: list[str] = []
    chars = left_out = passed = 0
    for change in changes:
        for whole in _lines(change, brief=left_out > 0):
            if passed < offset:
                passed += 1
                continue
            line = printable(whole if len(whole) <= _LINE_CHARS else f"{whole[:_LINE_CHARS]}...")
            if left_out or len(shown) >= MAX_LINES or chars + len(line) > MAX_CHARS:
                left_out += 1
            else:
                shown.append(line)
                chars += len(line) + 1
    following = offset + len(shown) if left_out else None
    return Diff(text="\n".join(shown), lines_left_out=left_out, next_offset=following)


def _lines(change: Change, *, brief: bool) -> Iterator[str]:
    if any(content is not None and why_binary(content[:HEAD_BYTES]) for content in (change.before, change.after)):
        yield from (
            f"--- {_side('a', change, change.before)}",
            f"+++ {_side('b', change, change.after)}",
            "@@ binary @@",
        )
        return
    old, new = _split(change.text(change.before)), _split(change.text(change.after))
    before, after = _side("a", change, change.before), _side("b", change, change.after)
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    if brief or max(len(old), len(new)) - start - end > _COMPARED_LINES:
        yield from (f"--- {before}", f"+++ {after}", f"@@ {len(old)} lines become {len(new)} @@")
        return
    yield from _unified(old, new, before, after)


def _side(side: str, change: Change, content: bytes | None) -> str:
    if content is None:
        return "/dev/null"
    return f"{side}/{change.name if change.name.isprintable() else repr(change.name)}"  # it may have newlines


def _unified(old: list[str], new: list[str], before: str, after: str) -> Iterator[str]:
    for number, line in enumerate(difflib.unified_diff(old, new, before, after, lineterm="")):
        yield line.rstrip("\r\n")
        if number > 1 and line[:1] in "-+ " and not line.endswith(("\n", "\r")):
            yield "\\ No newline at end of file"


def _split(text: str) -> list[str]:
    """The lines of a text, as `text_files` counts them."""
    return io.StringIO(text, newline="\n" if "\n" in text else "").readlines()


def _common(one: list[str], other: list[str]) -> int:
    """How many lines at the start are the same."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
