"""Puts contexts where containers can read them: one copy for all on this machine, linked into the folder of each.

A container's folder is mounted there, read-only and empty, before it is known which context it will get.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.exceptions import REPLError
from rlm.repl.spool_folders import write

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.core.contexts.context import Context

FILE = "context"
"""The name of the context in a container's folder."""


@dataclass(frozen=True, slots=True)
class ContextCopy:
    """A copy of a context, in a folder that only this user and, through their mounts, its containers can enter."""

    path: Path

    @property
    def is_alive(self) -> bool:
        """The folder is removed last."""
        return True

    async def aclose(self) -> None:
        """Remove the copy; containers that were given it keep their links."""
        self.path.unlink(missing_ok=True)


async def copy(folder: Path, context: Context) -> ContextCopy:
    """Copy a context into a new file in `folder`. Raises:
    REPLError: there is no room for it.
    """
    path = folder / f"{FILE}-{secrets.token_hex(8)}"
    try:
        return ContextCopy(await asyncio.to_thread(write, context, path))
    except OSError as e:
        raise _no_room(folder, e) from e


def link(copied: ContextCopy, folder: Path) -> None:
    """Let the container whose folder `folder` is read the copy. Raises:
    REPLError: there is no room for a link.
    """
    try:
        os.link(copied.path, folder / FILE)
    except OSError as e:
        raise _no_room(folder, e) from e


def _no_room(folder: Path, error: OSError) -> REPLError:
    return REPLError(f"the context cannot be kept in {folder}: {error.strerror}")
