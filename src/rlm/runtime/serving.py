"""Whether this user has a service running, and where: `rlm serve` writes it down, and whoever asks reads it here."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from rlm.core.config.files import user_folder
from rlm.core.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Serving(Struct, frozen=True, kw_only=True):
    """A service that runs, as its file says."""

    pid: int
    url: str


def service_folder(environ: Mapping[str, str]) -> Path:
    """The folder of the service in the user's state folder.

    Raises:
        ConfigError: there is no home.
    """
    state = user_folder(environ, "XDG_STATE_HOME", ".local/state")
    if state is None:
        raise ConfigError("the service has nowhere to keep its state: set HOME or XDG_STATE_HOME")
    return state / "service"


def serving_path(folder: Path) -> Path:
    """The file that says which service runs."""
    return folder / "serving.json"


def read_serving(folder: Path) -> Serving | None:
    """The service that runs with that folder; None where none does."""
    try:
        found = msgspec.json.decode(serving_path(folder).read_bytes(), type=Serving)
        process = os.pidfd_open(found.pid)
    except (OSError, msgspec.MsgspecError):
        return None
    try:  # one that has ended may wait long for its parent to take note
        return None if select.select([process], [], [], 0)[0] else found
    finally:
        os.close(process)
