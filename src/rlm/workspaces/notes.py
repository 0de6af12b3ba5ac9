"""What the store knows of workspaces, and the folder of each with its files: the log, what went up, checkpoints."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import msgspec

from rlm.core.config.files import user_folder
from rlm.core.exceptions import ConfigError, StoreError
from rlm.workspaces.values import WorkspaceNote

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rlm.store.database import Database

_ID = re.compile(r"[0-9a-f]{1,16}")
_KEPT = 1000
"""How many ended workspaces are remembered."""


class WorkspaceStore:
    """The workspaces of one user."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self.folder = folder

    def save(self, note: WorkspaceNote) -> None:
        """Put down what is known of a workspace. Raises:
        StoreError: the store can't be used.
        """
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO workspaces VALUES (?, ?, ?)",
                (note.id, note.created_at, msgspec.json.encode(note)),
            )
            connection.execute(
                "DELETE FROM workspaces WHERE id NOT IN (SELECT id FROM workspaces ORDER BY created_at DESC LIMIT ?)",
                (_KEPT,),
            )

    def all(self) -> list[WorkspaceNote]:
        """Every workspace, the latest first. Raises:
        StoreError: the store can't be used.
        """
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT note FROM workspaces ORDER BY created_at DESC").fetchall()
        try:
            return [msgspec.json.decode(row[0], type=WorkspaceNote) for row in rows]
        except msgspec.MsgspecError as e:
            raise StoreError(f"the store has a workspace that can't be read: {e}") from e

    def find(self, name: str) -> WorkspaceNote:
        """The workspace of that id, of one that begins so, or the `last`. Raises:
        ConfigError: there is none, or more than one.
        """
        notes = self.all()
        found = notes[:1] if name == "last" else [note for note in notes if note.id.startswith(name.lower())]
        if len(found) == 1 and (name == "last" or _ID.fullmatch(name.lower())):
            return found[0]
        if len(found) > 1:
            raise ConfigError(f"more than one sandbox begins with {name!r}: {', '.join(note.id for note in found[:5])}")
        raise ConfigError(f"there is no sandbox {name[:40]!r}: rlm sandbox list names them")

    def files(self, workspace: str) -> Path:
        """The folder of a workspace, which is made if need be. Raises:
        ConfigError: it can't be made.
        """
        folder = self.folder / workspace
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as e:
            raise ConfigError(f"a sandbox has no place for its log in {self.folder}: {e.strerror}") from e
        return folder


def sandboxes_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Where the files of workspaces are, in the user's state folder. Raises:
    ConfigError: the user has no home.
    """
    state = user_folder(os.environ if environ is None else environ, "XDG_STATE_HOME", ".local/state")
    if state is None:
        raise ConfigError("there is no home for the logs of sandboxes: set HOME or XDG_STATE_HOME")
    return state / "sandboxes"
