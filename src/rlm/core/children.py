"""The child completions of a run that are in progress, of which a user may cancel any alone: its parent goes on, and is
told so as of any child that failed."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Children:
    """The tasks of children, by the ids of their spans; used on one event loop only."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[object]] = {}
        self._cancelled: dict[str, str] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    @contextmanager
    def in_progress(self, span: str) -> Iterator[None]:
        """Have the current task be that of a child, for as long as this context lasts."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[span] = task
        try:
            yield
        finally:
            del self._tasks[span]
            self._cancelled.pop(span, None)

    def cancel(self, span: str, why: str) -> None:
        """Cancel one child; `why` is what its parent is told.

        Raises:
            KeyError: no such child is in progress.
        """
        task = self._tasks[span]
        if span not in self._cancelled:
            self._cancelled[span] = why
            task.cancel()

    def cancelled(self, span: str) -> str | None:
        """Why the child that the current task makes was cancelled, as long as nobody cancelled its parent too."""
        why, task = self._cancelled.get(span), asyncio.current_task()
        if why is None or task is None or task.uncancel():
            return None
        return why
