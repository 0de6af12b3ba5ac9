"""Packs a folder for a machine: what its user would take along, within bounds, and what each file was then.

Ignored files stay at home, and so does `.git`; a link goes along where it leads to something inside of the folder.
"""

from __future__ import annotations

import hashlib
import io
import os
import posixpath
import tarfile
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from rlm.core.exceptions import ConfigError
from rlm.files.walk import Walk, rules_above

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rlm.files.walk import WalkedFile

MOST_FILES = 50_000
MOST_BYTES = 1 << 30
LINK = "link"
_LEVEL = 6
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """What went up."""

    files: Mapping[str, str]
    """The SHA-256 of each file, in hex, by its path; `LINK` for a link."""
    size_bytes: int
    left_out: tuple[str, ...] = ()
    """What can't go along: links out of the folder, devices, unreadable files."""


@dataclass(slots=True, kw_only=True)
class _Packing:
    archive: tarfile.TarFile
    files: dict[str, str] = field(default_factory=dict)
    size_bytes: int = 0
    left_out: list[str] = field(default_factory=list)


def pack(folder: Path, into: IO[bytes]) -> Packed:
    """Write a gzipped tar archive of what is in `folder`; blocks. Raises:
    ConfigError: there is no such folder, or it holds too much.
    """
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise ConfigError(f"{folder} can't go up: {e.strerror}") from e
    walk = Walk(hidden=True, rules=rules_above(folder.resolve()))
    try:
        with tarfile.open(fileobj=into, mode="w:gz", compresslevel=_LEVEL, format=tarfile.PAX_FORMAT) as archive:
            packing = _Packing(archive=archive)
            for file in walk.files(opened):
                _add(packing, file)
                _check(packing, folder)
    finally:
        os.close(opened)
    return Packed(files=packing.files, size_bytes=packing.size_bytes, left_out=(*packing.left_out, *walk.unreadable))


def _add(packing: _Packing, file: WalkedFile) -> None:
    if file.is_link:
        _add_link(packing, file)
        return
    try:
        descriptor = file.open()
    except OSError:
        packing.left_out.append(file.path)
        return
    with os.fdopen(descriptor, "rb") as content:
        found = os.fstat(descriptor)
        entry = tarfile.TarInfo(file.path)
        entry.size, entry.mtime = found.st_size, found.st_mtime
        entry.mode = 0o755 if found.st_mode & 0o100 else 0o644
        hashed = _Hashed(content)
        try:
            packing.archive.addfile(entry, hashed)
        except OSError as e:
            raise ConfigError(f"{file.path} changed while it was read: try again when nothing writes there") from e
    packing.files[file.path] = hashed.digest.hexdigest()
    packing.size_bytes += entry.size


def _add_link(packing: _Packing, file: WalkedFile) -> None:
    target = os.readlink(file.name, dir_fd=file.folder)
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(file.path), target))
    if target.startswith("/") or inside.split("/")[0] == "..":
        packing.left_out.append(file.path)
        return
    entry = tarfile.TarInfo(file.path)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    packing.archive.addfile(entry)
    packing.files[file.path] = LINK


def _check(packing: _Packing, folder: Path) -> None:
    if len(packing.files) > MOST_FILES or packing.size_bytes > MOST_BYTES:
        tops: dict[str, int] = {}
        for path in packing.files:
            tops[path.partition("/")[0]] = tops.get(path.partition("/")[0], 0) + 1
        most = ", ".join(f"{top} ({tops[top]:,} files)" for top in sorted(tops, key=lambda top: -tops[top])[:_SHOWN])
        raise ConfigError(
            f"{folder} has more than {MOST_FILES:,} files or {MOST_BYTES >> 20:,} MB to go up\n"
            f"name what isn't needed in a .gitignore, or choose a smaller folder; so far: {most}"
        )


class _Hashed(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        block = self._content.read(size)
        self.digest.update(block)
        return block
