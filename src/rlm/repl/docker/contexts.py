"""Puts contexts where containers can read them: one copy for all on this machine, linked into the folder of each.

A container's folder is mounted there, read-only and empty, before it is known which context it will get. Where the
engine's files are not this machine's, the same bytes are read in blocks to be streamed.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.exceptions import REPLError
from rlm.repl.spool_folders import write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rlm.core.contexts.context import Context

FILE = "context"
_BLOCK_BYTES = 1 << 20


@dataclass(slots=True, kw_only=True)
class _Share:
    """One context, its copy, and how many REPLs use it."""

    copying: asyncio.Task[Path] | None = None
    users: int = 0


class ContextFiles:
    """The copies in one folder, which only this user and, through their mounts, its containers can enter."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._shares: dict[Context, _Share] = {}
        self._count = 0

    def hold(self, context: Context) -> None:
        """One REPL more may have it linked, as often as it needs a container anew."""
        self._shares.setdefault(context, _Share()).users += 1

    async def link(self, context: Context, folder: Path) -> None:
        """Let the container whose folder that is read `context`, which is held. Raises:
        REPLError: there is no room for the copy.
        """
        share = self._shares.get(context)
        if share is None:
            raise REPLError("the REPL was closed while it started")
        if share.copying is None or _has_failed(share.copying):
            self._count += 1
            copying = asyncio.to_thread(write, context, self._folder / f"{FILE}-{self._count}")
            share.copying = asyncio.create_task(copying)
        try:
            os.link(await asyncio.shield(share.copying), folder / FILE)
        except OSError as e:
            raise REPLError(f"the context cannot be kept in {self._folder}: {e.strerror}") from e

    def release(self, context: Context) -> None:
        """One REPL that held it is closed; the last one takes the copy away."""
        share = self._shares[context]
        share.users -= 1
        if share.users:
            return
        del self._shares[context]
        if share.copying is not None and share.copying.done():
            _discard(share.copying)
        elif share.copying is not None:
            share.copying.add_done_callback(_discard)


async def blocks(context: Context) -> AsyncIterator[bytes]:
    """The bytes of all parts, one after another."""
    assert context.fd is not None
    for part in context.parts:
        for start in range(part.start, part.end, _BLOCK_BYTES):
            yield await asyncio.to_thread(os.pread, context.fd, min(_BLOCK_BYTES, part.end - start), start)


def _has_failed(copying: asyncio.Task[Path]) -> bool:
    """A disk that was full need not be so for ever."""
    return copying.done() and (copying.cancelled() or copying.exception() is not None)


def _discard(copying: asyncio.Task[Path]) -> None:
    if not copying.cancelled() and copying.exception() is None:
        copying.result().unlink(missing_ok=True)
