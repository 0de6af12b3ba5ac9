"""Confinement to a set of folders and files: the one place that decides whether a path may be opened, or made.

A path is resolved, checked, and then opened component by component without following a symlink, so what was checked
is what is opened even while someone rearranges the folders. Never reveals whether anything outside exists.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError, ToolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking, and no controlling terminal: it could have become a fifo or a device since it was looked at.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PATH_SHOWN = 200
_NAME_BYTES, _PATH_BYTES = 255, 4095
"""The most that Linux takes; by descriptor a longer path could be made, and hardly be removed again."""
_PATH_CHARS = 16_384
"""The most of what is looked at as a path at all: to resolve one takes time with the square of its length."""
_DEPTH = 100
"""Below how many folders no more are made: to open each by descriptor costs as many steps as it is deep."""
_NAMES_COMPARED = 2_000
_NAMES_SHOWN = 5
_WAY_OUT = "the setting allowed_paths adds to that"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfinedPath:
    """Where a path leads, inside a root."""

    root: Path
    """The allowed folder; for an allowed file, the folder it is in."""
    parts: tuple[str, ...]
    """The components below `root`, free of symlinks when looked at; empty for the root itself."""
    missing: int = field(default=0, compare=False)
    """How many of the last components are not there: of a new file 1, and 1 more for each folder to be made for it."""

    @property
    def path(self) -> Path:
        return self.root.joinpath(*self.parts)

    @property
    def missing_folders(self) -> Iterator[ConfinedPath]:
        """The folders that are to be made for it, the outermost first."""
        for left in range(min(self.missing, len(self.parts)) - 1, 0, -1):
            yield ConfinedPath(root=self.root, parts=self.parts[:-left])


class Confined:
    """Opens files and folders below `roots`, and nothing else."""

    def __init__(self, roots: Iterable[str | os.PathLike[str]]) -> None:
        """Take folders and files that exist now; their own symlinks are followed, once, here.

        Raises:
            ConfigError: a root does not exist.
        """
        self.roots: tuple[Path, ...] = tuple(_root(root) for root in roots)
        self._bases = _bases(self.roots)

    def locate(self, path: str) -> ConfinedPath:
        """Find where `path` leads: absolute, or relative to a root (or to what holds the root), symlinks resolved.

        Raises:
            ToolError: it leads out of the roots, or nothing is there.
        """
        places = self._inside(path, self._place)
        for place in places:
            if os.path.lexists(place.path):
                return place
        near = _suggestion(places[0]) if places[0].root in self.roots else ""
        raise ToolError(f"{shown(path)} does not exist in {self.names()}.{near}")

    def locate_new(self, path: str) -> ConfinedPath:
        """Find where `path` leads or would lead, with the folders that are `missing` on the way.

        Raises:
            ToolError: it leads out of the roots, through a file or a symlink to nowhere, or to no one place.
        """
        places = self._inside(path, self._nearest)
        there = [place for place in places if not place.missing]
        found = {place.path: place for place in there or places}
        if len(found) > 1:  # reading may try one after the other, but what is made is made where it was meant
            either = " or ".join(shown(f"./{self.name(one)}") for one in [*found][:_NAMES_SHOWN])
            raise ToolError(f"{shown(path)} could be {either}: name it like that.")
        (place,) = found.values()
        if place.missing:
            self._require_makeable(place, path)
        return place

    def known(self, path: str) -> ConfinedPath | None:
        """Where an absolute path leads that was free of symlinks, there or not; None if it leads elsewhere by now."""
        check_text(path)
        place = self._place(path)
        return None if place is None or str(place.path) != path else place

    def descend(self, place: ConfinedPath) -> int:
        """Open the folder that `place` is in, component by component, and return its descriptor.

        Raises:
            OSError: a component is gone, or became a symlink.
        """
        return _descend(place.root, place.parts[:-1])

    def open_read(self, path: str) -> int:
        """Open a regular file and return its descriptor, which the caller closes.

        Raises:
            ToolError: `locate` refuses it, it is no regular file, or it can't be read.
        """
        place = self.locate(path)
        if not place.parts:
            raise ToolError(f"{shown(path)} is a folder: list it, or name a file in it.")
        try:
            folder = _descend(place.root, place.parts[:-1])
            try:
                return open_file(place.parts[-1], folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise ToolError(f"{shown(path)} cannot be read: {error.strerror}.") from error

    def open_folder(self, path: str) -> int:
        """Open a folder and return its descriptor, which the caller closes.

        Raises:
            ToolError: `locate` refuses it, it is no folder, or it can't be read.
        """
        place = self.locate(path)
        if place.path in self.roots and place.path.is_file():
            raise ToolError(f"{shown(path)} is a file, not a folder.")
        try:
            return _descend(place.root, place.parts)
        except OSError as error:
            raise ToolError(f"{shown(path)} cannot be opened as a folder: {error.strerror}.") from error

    def name(self, path: Path) -> str:
        """A path inside of a root as callers name it, which `locate` finds again: relative, with no more of the host's
        folders than it takes to tell the roots apart."""
        base = next(base for root, base in zip(self.roots, self._bases, strict=True) if path.is_relative_to(root))
        return path.relative_to(base).as_posix()

    def names(self) -> str:
        """The roots, for a message."""
        if len(self.roots) == 1:
            return self.roots[0].name or "/"
        return ", ".join(map(self.name, self.roots)) or "no folder is allowed"

    def _inside(self, path: str, find: Callable[[str], ConfinedPath | None]) -> list[ConfinedPath]:
        places = [place for candidate in self._candidates(path) if (place := find(candidate))]
        if not places:
            if any(map(self._is_within, self._candidates(path))):
                raise ToolError(
                    f"{shown(path)} is a link, or goes through one, to outside of what may be read ({self.names()}): "
                    f"{_WAY_OUT}."
                )
            raise ToolError(f"{shown(path)} is outside of what may be read ({self.names()}): {_WAY_OUT}.")
        return places

    def _candidates(self, path: str) -> list[str]:
        """The absolute paths that may be meant, the likeliest first."""
        check_text(path)
        if path.startswith("/"):
            return [path]
        named = zip(self.roots, self._bases, strict=True)
        bases = [base for root, base in named if PurePath(path).is_relative_to(root.relative_to(base))]
        if len(self.roots) == 1 or not bases:
            # What begins with `./`, or with what is in a root, does not begin with the name of the root.
            first = next(iter(PurePath(path).parts), "") if not path.startswith("./") else ""
            bases = [*self.roots, *(root.parent for root in self.roots if not os.path.lexists(root / first))]
        return [os.path.join(base, path) for base in bases]  # noqa: PTH118 - Path would drop what realpath must see

    def _is_within(self, candidate: str) -> bool:
        """Whether a path is below a root by its name alone, wherever links lead."""
        plain = Path(os.path.normpath(candidate))
        return any(root.is_dir() and plain.is_relative_to(root) for root in self.roots)

    def _nearest(self, candidate: str) -> ConfinedPath | None:
        """Where a path leads, or would lead from the first of its components on that is not there."""
        whole = self._place(candidate)
        if whole is None or os.path.lexists(whole.path):
            return whole
        parts, above = candidate.split("/"), None
        for end in range(1, len(parts) + 1):
            # By what it resolves to, inside alone: nothing is told of what is outside.
            place = self._place("/".join(parts[:end]) or "/")
            if place is not None and not os.path.lexists(place.path):
                break
            above = place or above
        names = [name for name in parts[end - 1 :] if name not in ("", os.curdir)]
        return above and ConfinedPath(root=above.root, parts=(*above.parts, *names), missing=len(names))

    def _require_makeable(self, place: ConfinedPath, path: str) -> None:
        """Let a place pass that a file can be made in.

        Raises:
            ToolError: it has no name of a file, a file or a symlink is in its way, or it is too long.
        """
        if len(os.fsencode(place.path)) > _PATH_BYTES or any(
            len(os.fsencode(part)) > _NAME_BYTES for part in place.parts
        ):
            raise ToolError(f"{shown(path)} is too long: {_NAME_BYTES} bytes for a name, {_PATH_BYTES:,} for a path.")
        if place.missing > 1 and len(place.parts) > _DEPTH:
            raise ToolError(f"{shown(path)} is too deep: folders are made down to {_DEPTH} below {self.names()}.")
        there = ConfinedPath(root=place.root, parts=place.parts[: -place.missing]).path
        first = there / place.parts[-place.missing]
        if not there.is_dir():
            raise ToolError(f"{shown(path)}: {shown(self.name(there))} is a file, not a folder.")
        if first.is_symlink():
            raise ToolError(f"{shown(path)}: {shown(self.name(first))} is a symlink that leads nowhere.")
        if os.pardir in place.parts or path.endswith(("/", "/.")):
            raise ToolError(f"{shown(path)} is not there, and no name for a new file.")

    def _place(self, candidate: str) -> ConfinedPath | None:
        real = Path(os.path.realpath(candidate))
        for root in self.roots:
            if real.is_relative_to(root) and root.is_dir():
                return ConfinedPath(root=root, parts=real.relative_to(root).parts)
            if real == root:
                return ConfinedPath(root=root.parent, parts=(root.name,))
        return None


def open_file(name: str, folder: int) -> int:
    """Open a regular file by its name in the open folder, never through a symlink.

    Raises:
        OSError: it can't be opened, or is no regular file.
    """
    # Looked at before it is opened: opening a device can have effects of its own.
    _require_regular(os.stat(name, dir_fd=folder, follow_symlinks=False), name)
    fd = os.open(name, _FILE, dir_fd=folder)
    try:
        _require_regular(os.fstat(fd), name)
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_subfolder(name: str, folder: int) -> int:
    """Open a folder by its name in the open folder, never through a symlink.

    Raises:
        OSError: it can't be opened, or is no folder.
    """
    return os.open(name, _FOLDER, dir_fd=folder)


def shown(path: str) -> str:
    """A path as it may stand in a message: quoted, escaped and of bounded length."""
    text = repr(path)
    return text if len(text) <= _PATH_SHOWN else f"{text[:_PATH_SHOWN]}...'"


def _descend(root: Path, parts: tuple[str, ...]) -> int:
    folder = os.open(root, _FOLDER)
    for part in parts:
        try:
            below = open_subfolder(part, folder)
        finally:
            os.close(folder)
        folder = below
    return folder


def _root(root: str | os.PathLike[str]) -> Path:
    try:
        return Path(root).expanduser().resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"allowed_paths: {shown(str(root))} cannot be used: {reason}.") from error


def _bases(roots: tuple[Path, ...]) -> tuple[Path, ...]:
    """For each root, the folder that names begin at: itself if it is alone, what holds it if that tells them apart."""
    if len(roots) == 1:
        return (roots[0] if roots[0].is_dir() else roots[0].parent,)
    if len({root.name for root in roots}) == len(roots):
        return tuple(root.parent for root in roots)
    return (Path(os.path.commonpath([root.parent for root in roots])),) * len(roots)


def check_text(path: str) -> None:
    """Let text pass that can be a path.

    Raises:
        ToolError: it is empty, too long, or no file can have such a name.
    """
    try:
        fit = len(path) <= _PATH_CHARS and "\0" not in path and bool(os.fsencode(path))
    except UnicodeEncodeError:
        fit = False
    if not fit:
        raise ToolError(f"{shown(path)} is not a path: it is empty, too long, or has characters that no name can have.")


def _require_regular(found: os.stat_result, name: str) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    kind = "is a folder" if stat.S_ISDIR(found.st_mode) else "is a symlink" if stat.S_ISLNK(found.st_mode) else ""
    raise OSError(0, kind or "is a device, fifo or socket", name)


def _suggestion(place: ConfinedPath) -> str:
    """Names near to that of the first component that is not there."""
    parts, above = place.parts, 0
    while above < len(parts) - 1 and os.path.lexists(place.root.joinpath(*parts[: above + 1])):
        above += 1
    with suppress(OSError):
        folder = _descend(place.root, parts[:above])
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208 - by descriptor
        finally:
            os.close(folder)
        close = get_close_matches("".join(parts[above : above + 1]), names[:_NAMES_COMPARED], n=3)
        return f" Did you mean {' or '.join(shown(name) for name in close)}?" if close else ""
    return ""
