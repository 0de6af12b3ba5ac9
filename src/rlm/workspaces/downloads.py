"""Brings home what a command changed: what it wrote is written, what changed here meanwhile is left alone.

The archive is hostile: nothing is written but regular files, below the folder, through no link, within bounds.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rlm.core.exceptions import ConfigError
from rlm.core.paths import open_file, open_subfolder
from rlm.core.whole_files import replace_file
from rlm.files.archives import tar_members
from rlm.files.streams import Damaged
from rlm.trajectory.own_files import is_own_folder
from rlm.workspaces.uploads import LINK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.files.archives import Member

MOST_FILES = 50_000
MOST_BYTES = 1 << 30
MOST_FILE_BYTES = 256 << 20
_DEEPEST, _NAME_BYTES, _PATH_BYTES = 100, 255, 4000
_NEVER = ".git"
"""Whoever writes here makes git run what they like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """What came home, by path."""

    written: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    """Changed there and here since it went up: left as it is here."""
    removed: tuple[str, ...] = ()
    """Removed there; here too, where that was asked for and it had not changed."""
    refused: tuple[str, ...] = ()
    """Names that lead elsewhere, links, devices, what is too large: left there."""


@dataclass(slots=True, kw_only=True)
class _Home:
    folder: int
    base: Mapping[str, str]
    written: list[str] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    size_bytes: int = 0


def unpack(archive: IO[bytes], folder: Path, base: Mapping[str, str], *, delete: bool = False) -> Downloaded:
    """Write what `archive`, a tar, has otherwise than `base`, which is what went up, into `folder`; blocks.

    Raises:
        ConfigError: there is no such folder, it can't be written to, or the archive is more than may come home.
    """
    try:
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as e:
        raise ConfigError(f"nothing can come home to {folder}: {e.strerror}") from e
    home = _Home(folder=opened, base=base)
    try:
        is_whole = _take_all(archive, home)
        removed = [path for path in base if path not in home.seen] if is_whole else []
        if delete:
            removed = [path for path in removed if _removed(opened, path, base[path])]
    except OSError as e:
        raise ConfigError(f"what changed can't be written to {folder}: {e.strerror}") from e
    finally:
        os.close(opened)
    return Downloaded(
        written=tuple(home.written),
        conflicts=tuple(home.conflicts),
        removed=tuple(removed),
        refused=tuple(home.refused),
    )


def safe_path(name: str) -> str | None:
    """The path below a folder that an entry of an archive names; None where it names none that may be written.

    `./a/b` is `a/b`, `foo..bar` is a name; an absolute name, `..`, a control character, `.git`, or a name that no file
    system takes is none.
    """
    name = name.removeprefix("./")
    parts = name.split("/")
    is_odd = any(
        part in ("", ".", "..") or part.casefold() == _NEVER or len(os.fsencode(part)) > _NAME_BYTES for part in parts
    )
    if is_odd or len(parts) > _DEEPEST or len(os.fsencode(name)) > _PATH_BYTES or not name.isprintable():
        return None
    return None if any(is_own_folder(part) for part in parts) else name


def _take_all(archive: IO[bytes], home: _Home) -> bool:
    """Take every entry; whether the archive came to its end."""
    try:
        for count, member in enumerate(tar_members(archive.fileno())):
            if count >= MOST_FILES:
                raise ConfigError(f"the workspace has more than {MOST_FILES:,} files: remove some of them there")
            path = safe_path(member.name)
            if path is None or member.problem:
                home.seen.add(path or "")
                if home.base.get(path or "") != LINK:  # one that went up is there still
                    home.refused.append(member.name[:_NAME_BYTES])
            else:
                _take(member, path, home)
    except Damaged as e:
        home.refused.append(f"the rest of the archive ({e})")
        return False
    return True


def _take(member: Member, path: str, home: _Home) -> None:
    home.seen.add(path)
    content = bytearray()
    for block in member.blocks():
        content += block
        home.size_bytes += len(block)
        if home.size_bytes > MOST_BYTES:
            raise ConfigError(f"the workspace has more than {MOST_BYTES >> 20:,} MB: remove some of it there")
        if len(content) > MOST_FILE_BYTES:
            home.refused.append(path)
            return
    digest = hashlib.sha256(content).hexdigest()
    if digest == home.base.get(path):
        return
    here = _digest(home.folder, path)
    if here == digest:
        return
    if here != home.base.get(path):
        home.conflicts.append(path)
    elif _written(home.folder, path, bytes(content), is_program=member.is_program):
        home.written.append(path)
    else:
        home.refused.append(path)


def _digest(folder: int, path: str) -> str | None:
    """The SHA-256 of a file here; None where there is none, and `?` for what is no plain file."""
    try:
        inside = _opened(folder, path.split("/")[:-1], make=False)
    except FileNotFoundError:
        return None
    except OSError:
        return "?"
    try:
        if not stat.S_ISREG(os.stat(path.rpartition("/")[2], dir_fd=inside, follow_symlinks=False).st_mode):
            return "?"
        with os.fdopen(open_file(path.rpartition("/")[2], inside), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError:
        return "?"
    finally:
        os.close(inside)


def _written(folder: int, path: str, content: bytes, *, is_program: bool) -> bool:
    """Write a file, and the folders it is in; False where something that is no folder stands in the way."""
    *above, name = path.split("/")
    try:
        inside = _opened(folder, above, make=True)
    except (FileExistsError, NotADirectoryError):
        return False
    try:
        replace_file(Path(f"/proc/self/fd/{inside}/{name}"), content, mode=0o755 if is_program else 0o644)
    finally:
        os.close(inside)
    return True


def _removed(folder: int, path: str, digest: str) -> bool:
    """Remove a file that is as it was when it went up."""
    if _digest(folder, path) != digest:
        return False
    *above, name = path.split("/")
    inside = _opened(folder, above, make=False)
    try:
        os.unlink(name, dir_fd=inside)
    finally:
        os.close(inside)
    return True


def _opened(folder: int, parts: list[str], *, make: bool) -> int:
    """The descriptor of a folder below another, reached through no link. Raises:
    OSError: it is none.
    """
    opened = os.dup(folder)
    for part in parts:
        if make:
            with suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=opened)
        try:
            below = open_subfolder(part, opened)
        finally:
            os.close(opened)
        opened = below
    return opened
