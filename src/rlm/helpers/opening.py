"""Opens workspaces: their folders, their rights, and the place of their undo journal."""

from __future__ import annotations

import hashlib
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rlm.core.config.files import user_folder
from rlm.core.exceptions import ConfigError, ToolError
from rlm.core.paths import Confined
from rlm.helpers.recovery import recover
from rlm.helpers.workspace import PROGRAM_ENVIRON, Workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from rlm.core.config import Config
    from rlm.core.interfaces import Helpers
    from rlm.helpers.rights import Right
    from rlm.processes.worker import WorkerPool


def open_workspace(
    roots: Iterable[str | os.PathLike[str]],
    rights: Iterable[Right],
    environ: Mapping[str, str],
    spared: Iterable[Path] = (),
) -> Workspace:
    """The workspace of the folders `roots`. The same roots share one undo journal, in the user's state folder.

    No edit reaches the paths in `spared`, nor the undo journals.

    Raises:
        ConfigError: a root does not exist.
    """
    confined = Confined(roots)
    journal = _journal(confined.roots, environ)
    journals = [Path(journal).parent] if journal else []
    return Workspace(
        confined=confined,
        rights=frozenset(rights),
        journal=journal,
        spared=tuple(path.resolve() for path in (*spared, *journals)),
        environ={name: environ[name] for name in PROGRAM_ENVIRON if name in environ},
    )


def guest_helpers(config: Config, workers: WorkerPool) -> Helpers | None:
    """The helpers for guest code in `allowed_paths`; None if no path is allowed.

    Raises:
        ConfigError: an allowed path does not exist.
    """
    if not config.allowed_paths:
        return None
    from rlm.helpers.guest_tools import GuestHelpers  # reads every operation's schema, which most runs don't need
    from rlm.processes.worker import package_folders  # loads asyncio, which helpers on the host do without

    installed = (*map(Path, package_folders()), Path(sys.executable).parent)
    spared = (*_own(config, os.environ), *installed)
    shown_no_labels: tuple[Right, ...] = ("labels",) if config.mask == "off" else ()
    work = open_workspace(config.allowed_paths, (*config.helper_rights, *shown_no_labels), os.environ, spared)
    return GuestHelpers(work, workers, config.cell_timeout_s)


def recovery(config: Config) -> Callable[[], None]:
    """A function that rolls back what edits that were cut off left in `allowed_paths`; see `recovery.recover`.

    Raises:
        ConfigError: an allowed path does not exist.
    """
    return partial(recover, open_workspace(config.allowed_paths, (), os.environ))


def recover_at(paths: Iterable[Path]) -> None:
    """Roll back what edits that were cut off left at or below these paths, for somebody is about to read them.

    Raises:
        ConfigError: not all of an edit could be rolled back, or one that is being made does not end.
    """
    whole = (path.expanduser().absolute() for path in paths)
    there = [next(each for each in (path, *path.parents) if each.exists()) for path in whole]
    try:
        recover(open_workspace(there, (), os.environ))
    except ToolError as error:
        raise ConfigError(str(error)) from error


def _own(config: Config, environ: Mapping[str, str]) -> Iterator[Path]:
    """The paths that no cell may rewrite: records, sessions, undo journals, trust, settings."""
    if config.log_dir is not None:
        yield Path(config.log_dir)
    if config.store_path is not None:
        yield from (Path(config.store_path + ending) for ending in ("", "-wal", "-shm", "-journal"))
    bases = (("XDG_STATE_HOME", ".local/state"), ("XDG_DATA_HOME", ".local/share"), ("XDG_CONFIG_HOME", ".config"))
    for variable, fallback in (*bases, ("XDG_CACHE_HOME", ".cache")):
        if (folder := user_folder(environ, variable, fallback)) is not None:
            yield folder


def _journal(roots: Iterable[Path], environ: Mapping[str, str]) -> str:
    """The folder of the journal; empty if the user has no home, and then nothing can be written."""
    state = user_folder(environ, "XDG_STATE_HOME", ".local/state")
    if state is None:
        return ""
    known_as = hashlib.sha256("\0".join(sorted(map(str, roots))).encode("utf-8", "surrogateescape"))
    return str(state / "undo" / known_as.hexdigest()[:32])
