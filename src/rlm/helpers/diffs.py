"""Unified diffs of changes that are not written yet, of limited length, for `dry_run`."""

from __future__ import annotations

import difflib
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.contexts.context import printable
from rlm.files.encodings import byte_order_mark

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


def preview(edit: Edit) -> dict[str, Json]:
    """Return the facts of an edit, with a unified diff of what it would write, of limited length."""
    diff = diff_of(edit.changes)
    return {**edit.facts, "dry_run": True, "diff": diff.text, "diff_lines_left_out": diff.lines_left_out}


def diff_of(changes: Iterable[Change]) -> Diff:
    """The unified diff of all changes, file by file, at most 400 lines and 40,000 characters."""
    shown: list[str] = []
    chars = left_out = 0
    for change in changes:
        for whole in _lines(change, brief=left_out > 0):
            line = printable(whole if len(whole) <= _LINE_CHARS else f"{whole[:_LINE_CHARS]}...")
            if left_out or len(shown) >= MAX_LINES or chars + len(line) > MAX_CHARS:
                left_out += 1
            else:
                shown.append(line)
                chars += len(line) + 1
    return Diff(text="\n".join(shown), lines_left_out=left_out)


def _lines(change: Change, *, brief: bool) -> Iterator[str]:
    old, new = _split(change.before, change.encoding), _split(change.after, change.encoding)
    name = change.name if change.name.isprintable() else repr(change.name)  # it may have newlines
    before = "/dev/null" if change.before is None else f"a/{name}"
    after = "/dev/null" if change.after is None else f"b/{name}"
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    if brief or max(len(old), len(new)) - start - end > _COMPARED_LINES:
        yield from (f"--- {before}", f"+++ {after}", f"@@ {len(old)} lines become {len(new)} @@")
        return
    yield from _unified(old, new, before, after)


def _unified(old: list[str], new: list[str], before: str, after: str) -> Iterator[str]:
    for number, line in enumerate(difflib.unified_diff(old, new, before, after, lineterm="")):
        yield line.rstrip("\r\n")
        if number > 1 and line[:1] in "-+ " and not line.endswith(("\n", "\r")):
            yield "\\ No newline at end of file"


def _split(content: bytes | None, encoding: str) -> list[str]:
    """The lines of a file, as its readers count them, without its byte order mark."""
    if content is None:
        return []
    marked, size = byte_order_mark(content[:4])
    return io.StringIO(content[size:].decode(marked or encoding, "replace"), newline="").readlines()


def _common(one: list[str], other: list[str]) -> int:
    """How many lines at the start are the same."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
