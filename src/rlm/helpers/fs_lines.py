"""`fs.copy_lines`, `fs.paste_code`, `fs.batch_copy`: ranges of lines from file to file.

Lines count from 1 and ranges are inclusive. A line that has no end gets one before anything is put after it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.helper import helper
from rlm.helpers.sources import lines_of
from rlm.helpers.writing import edit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.types import Json
    from rlm.helpers.sources import Source
    from rlm.helpers.workspace import Workspace
    from rlm.helpers.writing import Change, Edit

MAX_COPIED_CHARS = 4_000_000
MAX_OPERATIONS = 10_000
_NAMED = 100
APPEND = -1


class CopyOperation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One copy of a batch: lines `start_line` to `end_line` of one file, to before a line of another."""

    source_file: str
    start_line: int
    end_line: int
    target_file: str
    target_line: int = APPEND


@helper("fs.copy_lines")
def copy_lines(work: Workspace, source_file: str, start_line: int, end_line: int) -> Json:
    """Return lines of a text file, at most 4 million characters.

    Args:
        source_file: The file to copy from.
        start_line: The first line, from 1.
        end_line: The last line, inclusive.
    """
    block = "".join(_range(work.source(source_file), start_line, end_line))
    if len(block) > MAX_COPIED_CHARS:
        raise ToolError(f"fs.copy_lines: {len(block):,} characters are too much to return; fs.batch_copy has no cap.")
    return block


@helper("fs.paste_code", right="write")
def paste_code(
    work: Workspace,
    target_file: str,
    line_number: int,
    code: str,
    create_backup: bool = True,
    dry_run: bool = False,
) -> Edit:
    """Insert text before a line of a file; -1 appends, and makes the file where there is none.

    Args:
        target_file: The file to change.
        line_number: The line that the text begins at, from 1; one more than the file has, or -1, is its end.
        code: The text, one or more whole lines.
        create_backup: Whether fs.undo can take it back.
        dry_run: Change nothing and return a diff.
    """
    target = work.source_or_new(target_file) if line_number in (APPEND, 1) else work.source(target_file)
    change = _with_blocks(target, {line_number: [code]})
    at = line_number if line_number > 0 else len(target.lines) + 1
    facts: dict[str, Json] = {"file": target.name, "start_line": at, "lines_added": len(lines_of(code))}
    return edit("fs.paste_code", [change], facts, dry_run=dry_run, undoable=create_backup)


@helper("fs.batch_copy", right="write")
def batch_copy(work: Workspace, operations: list[CopyOperation], dry_run: bool = False) -> Edit:
    """Copy ranges of lines between files, all or none; every line number is that of the files before the batch.

    Args:
        operations: Each has source_file, start_line, end_line, target_file and target_line (-1: at the end).
        dry_run: Change nothing and return a diff.
    """
    if len(operations) > MAX_OPERATIONS:
        raise ToolError(f"fs.batch_copy: {len(operations):,} operations; at most {MAX_OPERATIONS:,} at a time.")
    sources: dict[str, Source] = {}
    targets: dict[str, Source] = {}
    blocks: defaultdict[str, defaultdict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    copied = 0
    for number, each in enumerate(operations, 1):
        lines = _numbered(number, work, sources, each)
        target = work.source_or_new(each.target_file)
        targets[target.name] = target
        blocks[target.name][each.target_line].append("".join(lines))
        copied += len(lines)
    changes = [_with_blocks(target, blocks[name]) for name, target in targets.items()]
    files: list[Json] = [*targets][:_NAMED]
    facts: dict[str, Json] = {
        "operations": len(operations), "lines_copied": copied, "files_modified": len(targets), "files": files,
    }  # fmt: skip
    return edit("fs.batch_copy", changes, facts, dry_run=dry_run)


def _numbered(number: int, work: Workspace, sources: dict[str, Source], each: CopyOperation) -> list[str]:
    """The lines of one operation of a batch, whose errors say which one it is."""
    try:
        if each.source_file not in sources:
            sources[each.source_file] = work.source(each.source_file)
        return _range(sources[each.source_file], each.start_line, each.end_line)
    except ToolError as error:
        raise ToolError(f"operation {number}: {error} Nothing was copied.") from error


def _range(source: Source, start: int, end: int) -> list[str]:
    lines = source.lines
    if start < 1 or end < start:
        raise ToolError(f"lines {start} to {end}: lines count from 1, and end_line must not be before start_line.")
    if end > len(lines):
        raise ToolError(f"lines {start} to {end}: {shown(source.name)} has only {len(lines):,} lines.")
    return lines[start - 1 : end]


def _with_blocks(target: Source, blocks: Mapping[int, list[str]]) -> Change:
    """The target with each block before the line that it is for; all numbers are those before the change."""
    lines = target.lines
    inserted: defaultdict[int, list[str]] = defaultdict(list)
    for number, texts in blocks.items():
        at = len(lines) if number == APPEND else number - 1
        if not 0 <= at <= len(lines):
            raise ToolError(
                f"line {number}: {shown(target.name)} has {len(lines):,} lines; "
                f"give 1 to {len(lines) + 1:,}, or -1 for the end."
            )
        inserted[at] += texts
    newline = target.newline if target.is_mixed else "\n"
    out: list[str] = []
    done = 0
    for at in sorted(inserted):
        out += lines[done:at]
        done = at
        for text in inserted[at]:
            _add(out, text, newline, followed=at < len(lines))
    return target.change("".join([*out, *lines[done:]]))


def _add(out: list[str], text: str, newline: str, *, followed: bool) -> None:
    """Put a block after what is there, as lines of its own."""
    if not text:
        return
    if out and not out[-1].endswith(("\n", "\r")):
        out.append(newline)
    out.append(text.replace("\r\n", "\n").replace("\n", newline))
    if followed and not text.endswith("\n"):
        out.append(newline)
