"""The folders that helpers work in, and how files in them are found and read, exactly.

Every path goes through `core.paths`: paths outside are refused, and symlinks are never followed out. All of `.git` is
refused. Nothing is written here; see `journal`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rlm.core.exceptions import ToolError
from rlm.core.paths import Confined, ConfinedPath, open_file, shown
from rlm.files.walk import Walk, excluding, matches, rules_above
from rlm.helpers.changes import WAITING
from rlm.helpers.text_files import MAX_FILE_BYTES, NotText, SourceText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rlm.files.walk import Excluded, WalkedFile
    from rlm.helpers.rights import Right

PROGRAM_ENVIRON = ("HOME", "PATH", "XDG_CONFIG_HOME", "SSH_AUTH_SOCK")
_GLOBBED = frozenset("*?[{")
_NAMES_COMPARED = 2_000
_GIT = ".git"
_GIT_AS_SPELLED = re.compile(r"\.git[. ]*(:.*)?|git~\d+", re.DOTALL)
"""Matches `.git` and what NTFS and FAT take for it: a short name, dots, blanks or a stream at the end."""


@dataclass(slots=True, kw_only=True)
class Skipped:
    """The files that a pass over many left out, and why."""

    binary: int = 0
    links: int = 0
    too_large: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    hidden: int = 0
    """How many hidden and git-ignored entries were left out."""
    looked_at: int = 0
    """How many files fitted the pattern."""
    records: int = 0
    """How many records of runs, and files and folders beside them, were left out."""
    note: str = ""
    """What callers should know: that no file fitted, or that files may be half edited."""

    def facts(self) -> dict[str, int | list[str]]:
        """Counts and a few names for each kind that occurred."""
        found: dict[str, int | list[str]] = {
            "binary": self.binary,
            "hidden_or_ignored": self.hidden,
            "symlinks": self.links,
            "records": self.records,
            "too_large": self.too_large[:20],
            "unreadable": self.unreadable[:20],
        }
        return {name: value for name, value in found.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The folders in which helpers may work, and their rights there."""

    confined: Confined
    rights: frozenset[Right] = frozenset({"read"})
    journal: str = ""
    """The folder of the undo journal."""
    spared: tuple[Path, ...] = ()
    """Files and folders that no edit reaches, and no walk from above, even inside a root."""
    environ: Mapping[str, str] = field(default_factory=dict)
    """The variables of the user's environment that programs may see: those in `PROGRAM_ENVIRON`."""
    is_own: bool = False
    """Whether the caller is the user's own code in its working directory: its repository may reach out of that."""
    gives_up: Callable[[], bool] = lambda: False
    """Whether the caller no longer wants what a call waits for: asked while another edit is waited for."""
    excluded: Excluded | None = None
    """What a pass over many files leaves out, beside what is hidden or ignored."""

    def without(self, patterns: str | Sequence[str]) -> Self:
        """The workspace without the files that fit patterns, each as a line of a `.gitignore`.

        Raises:
            ToolError: one is no such line.
        """
        try:
            return replace(self, excluded=excluding([patterns] if isinstance(patterns, str) else patterns))
        except ValueError as error:
            raise ToolError(f"exclude: {error} is not what a line of a .gitignore can be.") from error

    def source(self, path: str) -> SourceText:
        """Read a whole text file.

        Raises:
            ToolError: the path is refused, missing, binary, too large, or can't be read.
        """
        return self._read(self.existing(path), path)

    def source_or_new(self, path: str) -> SourceText:
        """Read a text file; one that doesn't exist yet counts as empty, and its folders need not exist either.

        Raises:
            ToolError: see `source`.
        """
        place = self.new(path)
        if not place.missing:
            return self._read(place, path)
        return SourceText.new(place, self.name(place.path))

    def new(self, path: str) -> ConfinedPath:
        """The place of a file or folder that is to be made; or the one that is there.

        Raises:
            ToolError: it leads out or into `.git`, or can't be made.
        """
        return self._allowed(self.confined.locate_new(path), path)

    def existing(self, path: str) -> ConfinedPath:
        """The file or folder at `path`.

        Raises:
            ToolError: it leads out, into `.git`, or nowhere.
        """
        return self._allowed(self.confined.locate(path), path)

    def is_file(self, path: str) -> bool:
        """Whether `path` is a file, rather than a folder or all folders.

        Raises:
            ToolError: see `existing`.
        """
        return path not in ("", ".") and self.existing(path).path.is_file()

    def recorded(self, path: bytes, missing: int = 0) -> ConfinedPath:
        """The place of a path that was recorded without symlinks; its file, and even its folder, may be gone.

        Raises:
            ToolError: the path has become a symlink, or leads to where helpers may not work.
        """
        place = self.confined.known(os.fsdecode(path))
        if place is None or not place.parts or _is_gits(place):
            raise ToolError(f"{self.recorded_name(path)}: it leads elsewhere by now.")
        return replace(place, missing=missing)

    def recorded_name(self, path: bytes) -> str:
        """The name of a recorded path in messages."""
        known = Path(os.fsdecode(path))
        allowed = any(known.is_relative_to(root) for root in self.confined.roots)
        return shown(self.name(known) if allowed else known.name)

    def status(self, place: ConfinedPath) -> os.stat_result:
        """The status of a file: its kind, its size.

        Raises:
            OSError: the file is gone, or something on the way became a symlink.
        """
        folder = self.confined.descend(place)
        try:
            return os.stat(place.parts[-1] if place.parts else ".", dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(folder)

    def sources(self, pattern: str, path: str = ".", *, skipped: Skipped, hidden: bool = False) -> Iterator[SourceText]:
        """Read the text files below `path` that match a glob; others are counted in `skipped`.

        Ignore files are respected, `.git` is never entered, symlinks are not followed. `path` may be a file too.

        Raises:
            ToolError: `path` is refused.
        """
        for place, content in self.contents(pattern, path, skipped=skipped, hidden=hidden):
            try:
                yield SourceText.of(place, self.name(place.path), content)
            except NotText:
                skipped.binary += 1

    def contents(
        self, pattern: str, path: str = ".", *, skipped: Skipped, hidden: bool = False
    ) -> Iterator[tuple[ConfinedPath, bytes]]:
        """Like `sources`, but gives the bytes, of binary files too: for a filter before anything is decoded."""
        for place, found in self.files(pattern, path, skipped=skipped, hidden=hidden):
            try:
                content = _content(open_file(found.name, found.folder) if found else self._open(place))
            except OSError:
                skipped.unreadable.append(self.name(place.path))
            except NotText:
                skipped.too_large.append(self.name(place.path))
            else:
                yield place, content

    def files(
        self, pattern: str, path: str = ".", *, skipped: Skipped, hidden: bool = False
    ) -> Iterator[tuple[ConfinedPath, WalkedFile | None]]:
        """The files below `path` that match a glob, each once, without symlinks; with None if `path` is the file.

        Raises:
            ToolError: `path` is refused, or the glob can't match anything.
        """
        _require_below(pattern)
        tops = self._tops(path)
        met: set[Path] = set()
        for top in tops:
            for place, found in self._fitting(pattern, top, skipped, hidden=hidden):
                if len(tops) > 1:  # roots may lie in one another
                    if place.path in met:
                        continue
                    met.add(place.path)
                skipped.looked_at += 1
                yield place, found
        if not skipped.looked_at:
            skipped.note = self._why_none(pattern, path, hidden=hidden)

    def name(self, path: Path) -> str:
        """The path as callers name it."""
        return self.confined.name(path)

    def _fitting(
        self, pattern: str, top: ConfinedPath, skipped: Skipped, *, hidden: bool
    ) -> Iterator[tuple[ConfinedPath, WalkedFile | None]]:
        if not top.path.is_dir():
            if matches(top.parts[-1], pattern) or matches(top.path.name, pattern.rpartition("/")[2]):
                yield top, None
            return
        rules = () if hidden else rules_above(top.path, top.root)
        walk = Walk(
            keep=lambda name: matches(name, pattern),
            everything=hidden,
            rules=rules,
            excluded=self.excluded,
            watched=WAITING,
        )
        spared = [path for path in self.spared if top.path in path.parents]  # a spared path may be asked for by itself
        for place, found in self._walked(walk, top, skipped):
            if any(place.path.is_relative_to(path) for path in spared):
                skipped.hidden += 1  # an edit would be refused for them, and the record of it matches what it asks for
            else:
                yield place, found
        skipped.hidden += walk.ignored
        skipped.records += walk.records
        if walk.seen:
            skipped.note = (
                f"{shown(walk.seen[0])} was left by an edit that is being made, or was cut off, by somebody else: "
                "files may be half edited."
            )
        skipped.unreadable += walk.unreadable

    def _walked(
        self, walk: Walk, top: ConfinedPath, skipped: Skipped
    ) -> Iterator[tuple[ConfinedPath, WalkedFile | None]]:
        folder = self.confined.open_folder(str(top.path))
        try:
            for found in walk.files(folder):
                if found.is_link:
                    skipped.links += 1
                else:
                    parts = (*top.parts, *found.path.split("/"))
                    yield ConfinedPath(root=top.root, parts=parts), found
        finally:
            os.close(folder)

    def _why_none(self, pattern: str, path: str, *, hidden: bool) -> str:
        """What a pattern that no file fits is taken for, and what may have been meant."""
        said = f"no file fits {shown(pattern)}"
        segments = [each for each in pattern.split("/") if each != "."]
        fixed = [*takewhile(lambda each: not _GLOBBED & {*each}, segments)]
        if not segments:
            return f"{said}: it is a folder, and a pattern fits files; '**/*' is all of them."
        try:
            place = self.existing("/".join([*([] if path in ("", ".") else [path]), *fixed])) if fixed else None
        except ToolError as error:
            return f"{said}: {error}" if len(segments) > 1 else f"{said}: {self._near(pattern, path, hidden=hidden)}"
        if place is not None and fixed == segments and place.path.is_dir():
            return f"{said}: it is a folder, and a pattern fits files; {shown('/'.join([*fixed, '**']))} is all in it."
        return f"{said}, of those that are not hidden and not ignored by git."

    def _near(self, name: str, path: str, *, hidden: bool) -> str:
        """What a name that no file has is taken for, with names of files that are near to it."""
        found = self.files("**/*", path, skipped=Skipped(), hidden=hidden)
        names = dict.fromkeys(place.parts[-1] for place, _ in islice(found, _NAMES_COMPARED))
        close = get_close_matches(name, names, n=3)
        advice = f" Did you mean {' or '.join(map(shown, close))}?" if close else ""
        return f"without a '/' it is the name of a file, in any folder.{advice}"

    def _tops(self, path: str) -> list[ConfinedPath]:
        if path in ("", "."):
            return [self.confined.locate(str(root)) for root in self.confined.roots]
        return [self.existing(path)]

    def _allowed(self, place: ConfinedPath, path: str) -> ConfinedPath:
        if _is_gits(place):
            raise ToolError(f"{shown(path)} is inside of {_GIT}, which helpers leave alone.")
        return place

    def _read(self, place: ConfinedPath, path: str) -> SourceText:
        try:
            return SourceText.of(place, self.name(place.path), _content(self._open(place)))
        except OSError as error:
            raise ToolError(f"{shown(path)} cannot be read: {error.strerror}.") from error
        except NotText as error:
            raise ToolError(f"{shown(path)} is {error}.") from error

    def _open(self, place: ConfinedPath) -> int:
        if not place.parts:
            raise IsADirectoryError(0, "it is a folder")
        folder = self.confined.descend(place)
        try:
            return open_file(place.parts[-1], folder)
        finally:
            os.close(folder)


def _is_gits(place: ConfinedPath) -> bool:
    # Some file systems ignore case, and characters that aren't visible.
    plain = (part.casefold().encode("ascii", "ignore").decode("ascii") for part in place.parts)
    return any(_GIT_AS_SPELLED.fullmatch(part) for part in plain)


def _require_below(pattern: str) -> None:
    """Check that a glob can match files below a folder: the empty result of one that can't would look like an answer.

    Raises:
        ToolError: it can't match any.
    """
    if {"", ".."} & {*pattern.split("/")}:
        raise ToolError(
            f"{shown(pattern)} can't match any file: a pattern is relative to the folder, such as **/*.py or src/**, "
            "without '..' and without a '/' at its start or end."
        )


def _content(fd: int) -> bytes:
    """The whole content of an open file; closes `fd`."""
    with os.fdopen(fd, "rb") as file:
        size = os.fstat(fd).st_size
        content = b"" if size > MAX_FILE_BYTES else file.read(MAX_FILE_BYTES + 1)
    if max(size, len(content)) > MAX_FILE_BYTES:
        raise NotText(f"larger than {MAX_FILE_BYTES:,} bytes, the most that is taken as a whole")
    return content
