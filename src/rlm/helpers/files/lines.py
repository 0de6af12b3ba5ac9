"""`fs.copy_lines`, `fs.paste_code`, `fs.batch_copy`: ranges of lines from file to file.

Lines count from 1 and ranges are inclusive. A last line without a newline gets one before anything follows it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.changes import edit
from rlm.helpers.operation import helper
from rlm.helpers.text_files import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rlm.core.types import Json
    from rlm.helpers.changes import Change, Edit
    from rlm.helpers.text_files import SourceText
    from rlm.helpers.workspace import Workspace

    Blocks: TypeAlias = Mapping[int, list[str]]

MAX_COPIED_CHARS = 4_000_000
MAX_OPERATIONS = 10_000
_NAMED = 100
APPEND = -1


class CopyOperation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One copy of a batch: lines `start_line` to `end_line` of one file, put before a line of another."""

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
    source = work.source(source_file)
    block = "".join(_range(source.lines, source.name, start_line, end_line))
    if len(block) > MAX_COPIED_CHARS:
        raise ToolError(f"fs.copy_lines: {len(block):,} characters are too much to return; fs.batch_copy returns none.")
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
    """Insert text before a line of a file; -1 appends, and makes the file, and its folders, where there is none.

    Args:
        target_file: The file to change.
        line_number: The line that the text begins at, from 1; one more than the file has, or -1, is its end.
        code: The text, one or more whole lines.
        create_backup: Whether fs.undo can take it back.
        dry_run: Change nothing and return a diff.
    """
    target = work.source_or_new(target_file) if line_number in (APPEND, 1) else work.source(target_file)
    at = _place_of(line_number, target.lines, target.name)
    change = _with_blocks(target, {at: [code]})
    facts: dict[str, Json] = {"file": target.name, "start_line": at + 1, "lines_added": len(lines_of(code))}
    return edit("fs.paste_code", [change], facts, dry_run=dry_run, undoable=create_backup)


@helper("fs.batch_copy", right="write")
def batch_copy(work: Workspace, operations: list[CopyOperation], dry_run: bool = False) -> Edit:
    """Copy ranges of lines between files, new ones too, all or none; line numbers are those before the batch.

    Args:
        operations: Each has source_file, start_line, end_line, target_file and target_line (-1: at the end).
        dry_run: Change nothing and return a diff.
    """
    if len(operations) > MAX_OPERATIONS:
        raise ToolError(f"fs.batch_copy: {len(operations):,} operations; at most {MAX_OPERATIONS:,} at a time.")
    batch = _Batch(work=work)
    for number, each in enumerate(operations, 1):
        try:
            batch.add(each)
        except ToolError as error:
            raise ToolError(f"operation {number}: {error} Nothing was copied.") from error
    targets = batch.inserted
    changes = [_with_blocks(batch.sources[name], blocks) for name, blocks in targets.items()]
    files: list[Json] = [*targets][:_NAMED]
    facts: dict[str, Json] = {
        "operations": len(operations), "lines_copied": batch.copied, "files_modified": len(targets), "files": files,
    }  # fmt: skip
    return edit("fs.batch_copy", changes, facts, dry_run=dry_run, from_files=True)


@dataclass(kw_only=True)
class _Batch:
    """The copies of a batch so far; each file is read once, so line numbers are those before the batch."""

    work: Workspace
    sources: dict[str, SourceText] = field(default_factory=dict)
    lines: dict[str, list[str]] = field(default_factory=dict)
    inserted: defaultdict[str, Blocks] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    """The blocks to insert, by the name of the target and the line before which they go, counted from 0."""
    copied: int = 0
    _names: dict[str, str] = field(default_factory=dict, init=False)

    def add(self, operation: CopyOperation) -> None:
        """Add a copy.

        Raises:
            ToolError: a file or a line does not exist.
        """
        source = self._known(operation.source_file, self.work.source)
        block = _range(self.lines[source], source, operation.start_line, operation.end_line)
        target = self._known(operation.target_file, self.work.source_or_new)
        at = _place_of(operation.target_line, self.lines[target], target)
        self.inserted[target][at].append("".join(block))
        self.copied += len(block)

    def _known(self, path: str, read: Callable[[str], SourceText]) -> str:
        """Read a file unless it was read before; returns its name."""
        if path not in self._names:
            source = read(path)
            self._names[path] = source.name
            if source.name not in self.sources:
                self.sources[source.name], self.lines[source.name] = source, source.lines
        return self._names[path]


def _range(lines: list[str], name: str, start: int, end: int) -> list[str]:
    if start < 1 or end < start:
        raise ToolError(f"lines {start} to {end}: lines count from 1, and end_line must not be before start_line.")
    if end > len(lines):
        raise ToolError(f"lines {start} to {end}: {shown(name)} has only {len(lines):,} lines.")
    return lines[start - 1 : end]


def _place_of(number: int, lines: list[str], name: str) -> int:
    """The number of lines before line `number`."""
    at = len(lines) if number == APPEND else number - 1
    if not 0 <= at <= len(lines):
        raise ToolError(
            f"line {number}: {shown(name)} has {len(lines):,} lines; give 1 to {len(lines) + 1:,}, or -1 for the end."
        )
    return at


def _with_blocks(target: SourceText, inserted: Blocks) -> Change:
    """The change that inserts each block before its line, counted before the change."""
    lines = target.lines
    out: list[str] = []
    done = 0
    for at in sorted(inserted):
        out += lines[done:at]
        done = at
        for text in inserted[at]:
            _add(out, text, _newline_at(lines, at), followed=at < len(lines))
    return target.change("".join([*out, *lines[done:]]))


def _newline_at(lines: list[str], at: int) -> str:
    """The newline of the line before a place, or after it where it is the first."""
    beside = lines[max(0, at - 1)] if lines else ""
    return "\r\n" if beside.endswith("\r\n") else "\n"


def _add(out: list[str], text: str, newline: str, *, followed: bool) -> None:
    """Append a block to `out` as lines of its own."""
    if not text:
        return
    if out and not out[-1].endswith("\n"):
        out.append(newline)
    text = text.replace("\r\n", "\n") if "\n" in text else text.replace("\r", "\n")
    out.append(text.replace("\n", newline))
    if followed and not text.endswith("\n"):
        out.append(newline)
