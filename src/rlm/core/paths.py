"""Confinement of reading to a set of folders and files: the one place that decides whether a path may be opened.

A path is resolved, checked, and then opened component by component without following a symlink, so what was checked
is what is opened even while someone rearranges the folders. Never reveals whether anything outside exists.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from rlm.core.exceptions import ConfigError, ToolError

if TYPE_CHECKING:
    from collections.abc import Iterable

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Not blocking, and no controlling terminal: it could have become a fifo or a device since it was looked at.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_PATH_SHOWN = 200
_NAMES_COMPARED = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a path leads, inside a root."""

    root: Path
    """The allowed folder; for an allowed file, the folder it is in."""
    parts: tuple[str, ...]
    """The components below `root`, free of symlinks when looked at; empty for the root itself."""

    @property
    def path(self) -> Path:
        return self.root.joinpath(*self.parts)


class Confined:
    """Opens files and folders below `roots`, and nothing else."""

    def __init__(self, roots: Iterable[str | os.PathLike[str]]) -> None:
        """Take folders and files that exist now; their own symlinks are followed, once, here.

        Raises:
            ConfigError: a root does not exist.
        """
        self.roots: tuple[Path, ...] = tuple(_root(root) for root in roots)
        self._bases = _bases(self.roots)

    def locate(self, path: str) -> Place:
        """Find where `path` leads: absolute, or relative to a root (or to what holds the root), symlinks resolved.

        Raises:
            ToolError: it leads out of the roots, or nothing is there.
        """
        check_text(path)
        places = [place for candidate in self._candidates(path) if (place := self._place(candidate))]
        if not places:
            raise ToolError(f"{shown(path)} is outside of what may be read ({self.names()}).")
        for place in places:
            if os.path.lexists(place.path):
                return place
        raise ToolError(f"{shown(path)} does not exist in {self.names()}.{_suggestion(places[0])}")

    def locate_new(self, path: str) -> Place:
        """Find where `path` leads or, where nothing is there, would lead: in a folder that exists.

        Raises:
            ToolError: it leads out of the roots, or its folder does not exist.
        """
        check_text(path)
        try:
            return self.locate(path)
        except ToolError:
            above, _, name = path.rpartition("/")
            if name in ("", os.curdir, os.pardir):
                raise
        folder = self.locate(above or ("/" if path.startswith("/") else os.curdir))
        if not folder.path.is_dir():
            what = f"{shown(above)} is no folder" if above else f"{shown(path)} is outside of {self.names()}"
            raise ToolError(f"{what}.")
        place = Place(root=folder.root, parts=(*folder.parts, name))
        if os.path.islink(place.path):  # noqa: PTH114 - one that leads out, or nowhere
            raise ToolError(f"{shown(path)} is a symlink that leads nowhere, or out of {self.names()}.")
        return place

    def descend(self, place: Place) -> int:
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

    def _candidates(self, path: str) -> list[str]:
        if path.startswith("/"):
            return [path]
        named = zip(self.roots, self._bases, strict=True)
        bases = [base for root, base in named if PurePath(path).is_relative_to(root.relative_to(base))]
        bases += [base for root in self.roots for base in (root, root.parent)]
        return [os.path.join(base, path) for base in bases]  # noqa: PTH118 - Path would drop what realpath must see

    def _place(self, candidate: str) -> Place | None:
        real = Path(os.path.realpath(candidate))
        for root in self.roots:
            if real == root and not root.is_dir():
                return Place(root=root.parent, parts=(root.name,))
            if real.is_relative_to(root):
                return Place(root=root, parts=real.relative_to(root).parts)
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
        ToolError: it is empty, or no file can have such a name.
    """
    try:
        fit = "\0" not in path and bool(os.fsencode(path))
    except UnicodeEncodeError:
        fit = False
    if not fit:
        raise ToolError(f"{shown(path)} is not a path: it is empty or has characters that no file name can have.")


def _require_regular(found: os.stat_result, name: str) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    kind = "is a folder" if stat.S_ISDIR(found.st_mode) else "is a symlink" if stat.S_ISLNK(found.st_mode) else ""
    raise OSError(0, kind or "is a device, fifo or socket", name)


def _suggestion(place: Place) -> str:
    if not place.parts:
        return ""
    with suppress(OSError):
        folder = _descend(place.root, place.parts[:-1])
        try:
            names = sorted(os.listdir(folder))  # noqa: PTH208 - by descriptor
        finally:
            os.close(folder)
        close = get_close_matches(place.parts[-1], names[:_NAMES_COMPARED], n=3)
        return f" Did you mean {' or '.join(shown(name) for name in close)}?" if close else ""
    return ""
