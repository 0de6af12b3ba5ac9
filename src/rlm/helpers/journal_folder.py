"""The folder of one undo journal: the place of an entry in each of its states, the lock, and the user's alone.

Entries that are being committed are in one folder that the journals of all workspaces share, for an edit of one
workspace may concern another: their folders may lie in one another.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError
from rlm.helpers.journal_entries import described

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rlm.helpers.workspace import Workspace

LOCK_S = 30.0
"""How many seconds a call waits for an edit of somebody else."""
_POLL_S = 0.02
_OTHERS_WRITE = 0o022


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalFolder:
    """The folder of the undo journal of one workspace."""

    path: Path
    gives_up: Callable[[], bool] = field(compare=False)
    """As `Workspace.gives_up`: ends the wait for the lock."""

    @classmethod
    def of(cls, work: Workspace) -> JournalFolder:
        """The folder of a workspace's journal.

        Raises:
            ToolError: the user has no home in which it could be.
        """
        if not work.journal:
            raise ToolError("the undo journal has nowhere to be kept: set HOME or XDG_STATE_HOME; nothing was changed.")
        return cls(path=Path(work.journal), gives_up=work.gives_up)

    @property
    def unfinished(self) -> Path:
        """The folder of the entries of all journals that are being committed, or were cut off at that."""
        return self.path.parent / "unfinished"

    def staged(self, token: str) -> Path:
        """The place of an entry that is to be committed."""
        return self.path / f"{token}.staged"

    def committing(self, token: str) -> Path:
        """The place of an entry while its files are written."""
        return self.unfinished / f"{self.path.name}-{token}.committing"

    def stuck(self, token: str) -> Path:
        """The place of an entry that could not be rolled back whole."""
        return self.path / f"{token}.stuck"

    def in_progress(self) -> list[Path]:
        """The entries that are being committed, or were cut off at that, of the journals of all workspaces.

        Raises:
            ToolError: they can't be listed.
        """
        with self.usable():
            try:
                return sorted(self.unfinished.iterdir())
            except FileNotFoundError:
                return []

    def owner(self, unfinished: Path) -> JournalFolder:
        """The journal that an entry in `unfinished` is of."""
        return replace(self, path=self.path.parent / unfinished.name.partition("-")[0])

    def rollbacks(self) -> int:
        """How many edits have been rolled back so far, in all workspaces.

        Raises:
            ToolError: the count can't be read.
        """
        with self.usable():
            try:
                return self._count.stat().st_size
            except FileNotFoundError:
                return 0

    def count_rollback(self) -> None:
        """Count one more.

        Raises:
            OSError: the count can't be written.
        """
        fd = os.open(self._count, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, b".")
        finally:
            os.close(fd)

    def make(self) -> None:
        """Make the folder, in which nobody else may write.

        Raises:
            OSError: it can't be made, or somebody else may write in it.
        """
        for folder in (self.path, self.unfinished):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._require_own()

    def foresee(self) -> None:
        """Check that the journal can be used, as far as that shows before it is made.

        Raises:
            ToolError: it can't be used.
        """
        with self.usable():
            self._require_own()
            there = next(folder for folder in self.path.parents if folder.exists())
            if not os.access(self.path if self.path.exists() else there, os.W_OK | os.X_OK, effective_ids=True):
                raise PermissionError(0, "its folder is read-only")

    def _require_own(self) -> None:
        for folder in (self.path, self.unfinished, self.path.parent):
            with suppress(FileNotFoundError):
                found = folder.lstat()
                mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
                if not mine or found.st_mode & _OTHERS_WRITE:
                    raise PermissionError(0, "it is a link, or others may write in it")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Make the folder, and keep everybody else from committing through this journal.

        Raises:
            ToolError: the journal can't be used, or somebody else's edit does not end.
        """
        with self.usable():
            self.make()
            lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                _wait_for(lock, self.gives_up)
                yield
            finally:
                os.close(lock)

    @contextmanager
    def usable(self) -> Iterator[None]:
        """Turn errors of the journal itself into errors for the caller."""
        try:
            yield
        except OSError as error:
            where = described(self.path)
            raise ToolError(
                f"the undo journal ({where}) cannot be used: {error.strerror}; nothing was changed."
            ) from error

    @property
    def _count(self) -> Path:
        return self.path.parent / "rollbacks"


def _wait_for(lock: int, gives_up: Callable[[], bool]) -> None:
    """Take the lock, waiting up to `LOCK_S`.

    Raises:
        ToolError: somebody else still holds it, or the caller gives up.
    """
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if gives_up():
                raise ToolError("given up while another edit of these folders was waited for.") from None
            if time.monotonic() > deadline:
                raise ToolError(
                    f"another edit of these folders has not ended for {LOCK_S:g} s: nothing was changed; try later."
                ) from None
            time.sleep(_POLL_S)
