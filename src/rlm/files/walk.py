"""Walks a folder as its user expects: through open descriptors, and never along a symlink.

Hidden files and what `.gitignore` excludes are left out unless asked for; `.git` and the records of runs always are.
What can't be read is reported to the caller, never raised.
"""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from pathspec import GitIgnoreSpec

from rlm.core.paths import open_file, open_subfolder
from rlm.trajectory.own_files import is_own_file, is_own_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

_IGNORE_FILE = ".gitignore"
_IGNORE_BYTES = 1 << 20
_ALWAYS_SKIPPED = ".git"
_DEEPEST = 100
_MOST_STARS = 3
_MOST_LINES = 2_000
"""The lines that are read of one ignore file: each is tried on every path."""
Excluded: TypeAlias = GitIgnoreSpec
"""Files that a caller wants left out; see `excluding`."""
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IgnoreRules:
    """The rules of one `.gitignore`, which match a path as `above` and what follows its first `cut` characters."""

    spec: GitIgnoreSpec
    above: str = ""
    cut: int = 0

    def verdict(self, path: str) -> bool | None:
        """True: ignored; False: taken in again; None: no rule matches."""
        return self.spec.check_file(self.above + path[self.cut :]).include


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkedFile:
    """A file met on a walk; `open` works only until the walk goes on."""

    path: str
    """The path relative to the walked folder, with `/`."""
    name: str
    folder: int
    """The descriptor of the folder that the file is in; the walk closes it."""
    is_link: bool

    def open(self) -> int:
        """Open the file itself, never through a symlink, and return its descriptor.

        Raises:
            OSError: the file can't be read, or is not a regular file.
        """
        return open_file(self.name, self.folder)


@dataclass(kw_only=True)
class Walk:
    """How a folder is walked, and what the walk left out so far."""

    keep: Callable[[str], bool] = lambda _path: True
    """Whether a file with that path is wanted."""
    everything: bool = False
    """Take hidden and ignored files too."""
    hidden: bool = False
    """Take hidden files, but not ignored ones."""
    depth: int | None = None
    """How many levels of folders to go down; None for all."""
    rules: tuple[IgnoreRules, ...] = ()
    """The ignore rules of the folders above, innermost first."""
    excluded: Excluded | None = None
    """What the caller wants left out, even where everything is taken."""
    ignored: int = 0
    """How many hidden or ignored files and folders were left out."""
    records: int = 0
    """How many records of runs, and files and folders beside them, were left out."""
    unreadable: list[str] = field(default_factory=list)
    watched: re.Pattern[str] | None = None
    """Names that the caller wants to hear of, whether their files are taken or not."""
    seen: list[str] = field(default_factory=list)
    """The paths with such names."""

    def files(self, folder: int) -> Iterator[WalkedFile]:
        """Yield every wanted file below the open folder, symlinks included, sorted within each folder."""
        yield from self._below(folder, "", self.rules, self.depth)

    def _below(
        self, folder: int, prefix: str, rules: tuple[IgnoreRules, ...], depth: int | None
    ) -> Iterator[WalkedFile]:
        if not self.everything:
            rules = (*_rules_in(folder, len(prefix)), *rules)
        for name, kind in self._entries(folder, prefix):
            path, is_folder = prefix + name, kind == "folder"
            if self.watched is not None and self.watched.fullmatch(name):
                self.seen.append(path)
            wanted = (depth is None or depth > 0) if is_folder else self.keep(path)
            if wanted and (is_own_folder(name) if is_folder else is_own_file(name, folder)):
                self.records += 1
            elif self._left_out(path, name, is_folder, rules) or not wanted:
                continue
            elif is_folder:
                yield from self._inside(folder, path, rules, depth)
            else:
                yield WalkedFile(path=path, name=name, folder=folder, is_link=kind == "link")

    def _inside(
        self, folder: int, path: str, rules: tuple[IgnoreRules, ...], depth: int | None
    ) -> Iterator[WalkedFile]:
        try:
            _require_shallow(path)
            below = open_subfolder(path.rpartition("/")[2], folder)
        except OSError:
            self.unreadable.append(path + "/")
            return
        try:
            yield from self._below(below, path + "/", rules, None if depth is None else depth - 1)
        finally:
            os.close(below)

    def _entries(self, folder: int, prefix: str) -> list[tuple[str, str]]:
        try:
            with os.scandir(folder) as entries:
                return sorted((entry.name, _kind(entry)) for entry in entries)
        except OSError:
            self.unreadable.append(prefix or ".")
            return []

    def _left_out(self, path: str, name: str, is_folder: bool, rules: tuple[IgnoreRules, ...]) -> bool:
        if name.casefold() == _ALWAYS_SKIPPED:  # some file systems take .GIT for .git
            return True
        if self.excluded is not None and self.excluded.match_file(path + "/" * is_folder):
            return True
        is_hidden = name.startswith(".") and not self.hidden
        if self.everything or not (is_hidden or _ignored(path + "/" * is_folder, rules)):
            return False
        self.ignored += 1
        return True


def excluding(patterns: Iterable[str]) -> Excluded:
    """The rules that leave out what a caller names, each as a line of a `.gitignore`.

    Raises:
        ValueError: a pattern is none, or one that would take very long; the message quotes it.
    """
    lines = [*patterns]
    if wrong := [line for line in lines if not line.strip() or not _is_tame(line)]:
        raise ValueError(repr(wrong[0]))
    return GitIgnoreSpec.from_lines(lines)


def rules_above(folder: Path, root: Path | None = None) -> tuple[IgnoreRules, ...]:
    """The ignore rules that apply in `folder`: those of the folders above it, up to `root` and the repository's top.

    Empty where they exclude `folder` itself: the user asked for it by name.
    """
    parents = (folder, *folder.parents)
    top = next((place for place, parent in enumerate(parents) if (parent / _ALWAYS_SKIPPED).exists()), 0)
    if root is not None:
        top = max(top, parents.index(root))
    found = [(parent, _spec_of(parent)) for parent in parents[1 : top + 1]]
    named = [(f"{folder.relative_to(parent).as_posix()}/", spec) for parent, spec in found if spec]
    rules = tuple(IgnoreRules(spec=spec, above=above) for above, spec in named)
    return () if _ignored("", rules) else rules


def matches(path: str, pattern: str) -> bool:
    """Whether a relative path matches a glob: `*` and `?` stop at `/`, `**` spans folders, `{a,b}` is either.

    A pattern without `/` is matched against the name alone, in any folder; `./*.md` matches only in the walked folder.
    """
    parts = tuple(path.split("/"))
    return any(_fits(parts, segments) for segments in _alternatives(pattern))


@lru_cache(maxsize=256)
def _alternatives(pattern: str) -> tuple[tuple[str, ...], ...]:
    choices = _unbraced(pattern)
    return tuple(_segments(choice) if "/" in choice else ("**", choice) for choice in choices)


def _segments(pattern: str) -> tuple[str, ...]:
    return tuple(segment for segment in pattern.split("/") if segment != ".")


def _unbraced(pattern: str) -> list[str]:
    group = _BRACES.search(pattern)
    if group is None:
        return [pattern]
    before, after = pattern[: group.start()], pattern[group.end() :]
    return [whole for option in group[1].split(",") for whole in _unbraced(before + option + after)]


def _fits(parts: tuple[str, ...], segments: tuple[str, ...]) -> bool:
    if not segments:
        return not parts
    if segments[0] == "**":
        return _fits(parts, segments[1:]) or (bool(parts) and _fits(parts[1:], segments))
    return bool(parts) and fnmatchcase(parts[0], segments[0]) and _fits(parts[1:], segments[1:])


def _ignored(path: str, rules: tuple[IgnoreRules, ...]) -> bool:
    verdicts = (rule.verdict(path) for rule in rules)
    return next((verdict for verdict in verdicts if verdict is not None), False)


def _rules_in(folder: int, cut: int) -> tuple[IgnoreRules, ...]:
    spec = _spec_in(folder)
    return () if spec is None else (IgnoreRules(spec=spec, cut=cut),)


def _spec_of(folder: Path) -> GitIgnoreSpec | None:
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _spec_in(fd)
    finally:
        os.close(fd)


def _spec_in(folder: int) -> GitIgnoreSpec | None:
    try:
        fd = open_file(_IGNORE_FILE, folder)
    except OSError:
        return None  # most folders have none, and one that can't be read excludes nothing
    with os.fdopen(fd, "rb") as file:
        return _spec(file.read(_IGNORE_BYTES))


def _spec(content: bytes) -> GitIgnoreSpec:
    lines = content.decode("utf-8", "replace").splitlines()
    return GitIgnoreSpec.from_lines(line for line in lines[:_MOST_LINES] if _is_tame(line))


def _is_tame(line: str) -> bool:
    # The patterns become regular expressions: each further star in a name multiplies the time that a hostile one takes.
    if any(segment.count("*") > _MOST_STARS for segment in line.split("/")):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error, Warning):
        return False
    return True


def _require_shallow(path: str) -> None:
    if path.count("/") >= _DEEPEST:
        raise OSError(0, "is nested too deep", path)


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "link"
    return "folder" if entry.is_dir(follow_symlinks=False) else "file"
