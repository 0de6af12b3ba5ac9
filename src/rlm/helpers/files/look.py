"""`fs.glob`, `fs.stat`, `fs.tree`: list files; hidden and git-ignored ones only if asked for."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from itertools import islice
from stat import S_IFDIR, S_IFMT, S_IFREG, S_IMODE
from typing import TYPE_CHECKING

from rlm.core.contexts.context import readable_size
from rlm.core.exceptions import ToolError
from rlm.core.paths import shown
from rlm.helpers.operation import helper
from rlm.helpers.workspace import Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.core.paths import ConfinedPath
    from rlm.core.types import Json
    from rlm.files.walk import WalkedFile
    from rlm.helpers.workspace import Workspace

MAX_NAMES = 20_000
MAX_TREE_LINES = 1_000
_KINDS = {S_IFDIR: "folder", S_IFREG: "file"}


@helper("fs.glob", over_files=True)
def glob(
    work: Workspace,
    pattern: str = "**/*",
    path: str = ".",
    limit: int | None = None,
    offset: int = 0,
    hidden: bool = False,
) -> Json:
    """List the files below a folder that fit a pattern, sorted within each folder; more than 20,000 only in pages.

    Args:
        pattern: A glob such as "**/*.py" or "src/*.{py,js}"; without a "/" it is matched with names alone.
        path: The folder to look in.
        limit: The most files to return, up to 20,000.
        offset: How many files to pass over first.
        hidden: Whether to list hidden and git-ignored files too.
    """
    if offset < 0 or not 0 <= (MAX_NAMES if limit is None else limit) <= MAX_NAMES:
        raise ToolError(f"fs.glob: limit is 0 to {MAX_NAMES:,}, offset 0 or more: get the next page by offset.")
    found = work.files(pattern, path, skipped=Skipped(), hidden=hidden)
    start = min(offset, 1 << 40)  # more than any tree has
    page = islice(found, start, start + (MAX_NAMES + 1 if limit is None else limit))
    names: list[Json] = [work.name(place.path) for place, _ in page]
    if len(names) > MAX_NAMES:
        raise ToolError(f"fs.glob: more than {MAX_NAMES:,} files fit: narrow it, or page by limit and offset.")
    return names


@helper("fs.stat")
def stat(work: Workspace, path: str) -> Json:
    """Return kind, size in bytes, modification time and mode of a file or folder; of text, lines and encoding too.

    Args:
        path: The file or folder.
    """
    place = work.existing(path)
    try:
        found = work.status(place)
    except OSError as error:
        raise ToolError(f"{shown(path)} cannot be looked at: {error.strerror}.") from error
    facts: dict[str, Json] = {
        "file": work.name(place.path),
        "kind": _KINDS.get(S_IFMT(found.st_mode), "other"),
        "bytes": found.st_size,
        "modified": found.st_mtime,
        "mode": f"{S_IMODE(found.st_mode):o}",
    }
    if facts["kind"] == "file":
        facts |= _text_facts(work, path)
    return facts


@helper("fs.tree", over_files=True)
def tree(work: Workspace, path: str = ".", depth: int = 3, limit: int = 200, hidden: bool = False) -> Json:
    """Return folders and files as an indented list, with the count and size of what each folder holds.

    Args:
        path: The folder to begin at; names are relative to it.
        depth: How many levels to show.
        limit: The most lines, up to 1,000.
        hidden: Whether to count and list hidden and git-ignored files too.
    """
    skipped = Skipped()
    top = _Folder()
    everywhere = path in ("", ".")
    begin = 0 if everywhere else len(work.existing(path).parts)
    for place, found in work.files("**/*", path, skipped=skipped, hidden=hidden):
        below = work.name(place.path).split("/") if everywhere else place.parts[begin:] or place.parts[-1:]
        top.add(below, _size(work, place, found))
    lines = list(top.lines(depth))
    most = max(1, min(limit, MAX_TREE_LINES))
    if len(lines) > most:
        lines = [*lines[:most], f"[{len(lines) - most:,} lines are left out: begin at a folder, or show fewer levels]"]
    if skipped.hidden:
        lines.append(f"[{skipped.hidden:,} hidden or git-ignored entries are left out]")
    return "\n".join([f"{top.files:,} files, {readable_size(top.bytes)}", *lines])


@dataclass(slots=True)
class _Folder:
    files: int = 0
    bytes: int = 0
    folders: dict[str, _Folder] = field(default_factory=dict)
    own: dict[str, int] = field(default_factory=dict)

    def add(self, parts: Sequence[str], size: int) -> None:
        folder = self
        for part in parts[:-1]:
            folder._count(size)
            folder = folder.folders.setdefault(part, _Folder())
        folder._count(size)
        folder.own[parts[-1]] = size

    def lines(self, depth: int, indent: str = "") -> Iterator[str]:
        if depth <= 0:
            return
        for name, folder in self.folders.items():
            yield f"{indent}{_on_a_line(name)}/ ({folder.files:,} files, {readable_size(folder.bytes)})"
            yield from folder.lines(depth - 1, indent + "  ")
        for name, size in self.own.items():
            yield f"{indent}{_on_a_line(name)} ({readable_size(size)})"

    def _count(self, size: int) -> None:
        self.files += 1
        self.bytes += size


def _on_a_line(name: str) -> str:
    """A name that can't look like several lines of the tree."""
    return name if name.isprintable() else repr(name)


def _text_facts(work: Workspace, path: str) -> dict[str, Json]:
    try:
        source = work.source(path)
    except ToolError:
        return {"text": False}  # binary, or too large to tell
    newline = "mixed" if source.is_mixed else {"\n": "lf", "\r\n": "crlf", "\r": "cr"}[source.newline]
    return {"text": True, "lines": len(source.lines), "encoding": source.encoding, "newline": newline}


def _size(work: Workspace, place: ConfinedPath, found: WalkedFile | None) -> int:
    try:
        if found is None:
            return work.status(place).st_size
        return os.stat(found.name, dir_fd=found.folder, follow_symlinks=False).st_size
    except OSError:
        return 0  # it is gone
