"""Removes what a host that was killed left behind: its containers, and its folder of contexts.

Done at each start for every host that is gone, and for one host by the watchdog that outlives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import SandboxUnavailableError
from rlm.repl.owners import LABEL, Owner
from rlm.repl.spool_folders import SpoolFolder, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DONE = b"."
"""What a host that has left nothing tells its watchdog."""
_PREFIX = "rlm-docker-"


class Watchdog:
    """A small process, no child of this one, that cleans up after it, whatever ends it."""

    def __init__(self, owner: Owner, folder: Path) -> None:
        """Blocks for some tens of milliseconds."""
        command = [sys.executable, "-P", "-m", "rlm.repl.docker.watchdog", owner.id, str(folder)]
        reading, self._writing = os.pipe()
        try:
            subprocess.run(  # noqa: S603 - this interpreter, with nothing from outside
                command,
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # an interrupt at the terminal is not for it
                check=True,
            )
        except BaseException:
            os.close(self._writing)
            raise
        finally:
            os.close(reading)

    def stop(self, *, has_left_nothing: bool) -> None:
        """Let it go; it cleans up what was left, if something was."""
        if has_left_nothing:
            os.write(self._writing, DONE)
        os.close(self._writing)


class Estate:
    """What one sandbox has on this machine: a name for its containers, a folder, and who cleans up after it."""

    def __init__(self) -> None:
        """Blocks as its parts do. Raises:
        SandboxUnavailableError: there is no room for the folder, or no process to be had.
        """
        try:
            self.owner, self.folder = Owner.here(), SpoolFolder(_PREFIX)
            try:
                self._watchdog = Watchdog(self.owner, self.folder.path)
            except BaseException:
                self.folder.remove()
                raise
        except (OSError, subprocess.CalledProcessError) as e:
            raise SandboxUnavailableError(f"the sandbox docker cannot set up its folder and watchdog: {e}") from e

    @classmethod
    async def found(cls) -> Estate:
        """Set one up, after removing what others left; a caller that is cancelled leaves nothing. Raises:
        SandboxUnavailableError: there is no room for its folder, or no process to be had.
        """
        await asyncio.to_thread(sweep, _PREFIX)
        founding = asyncio.ensure_future(asyncio.to_thread(cls))
        try:
            return await asyncio.shield(founding)
        except asyncio.CancelledError:
            await asyncio.wait([founding])
            if founding.exception() is None:
                founding.result().leave(has_left_nothing=True)
            raise

    def leave(self, *, has_left_nothing: bool) -> None:
        """Remove the folder and let the watchdog go, which cleans up what was left, if something was."""
        self.folder.remove()
        self._watchdog.stop(has_left_nothing=has_left_nothing)


def sweep_containers(client: Any) -> None:
    """Remove the containers of hosts that are gone; `client` is docker-py's."""
    from docker import errors

    for container, labels in _containers(client, LABEL):
        owner = Owner.of(labels)
        if owner is not None and owner.is_gone:
            with contextlib.suppress(errors.APIError):  # one that is stuck must not keep new ones from starting
                remove(client, container)


def remove_all_of(client: Any, owner_id: str) -> int:
    """Remove every container of one owner; returns how many there were. Raises:
    docker.errors.APIError: the engine can't remove some of them; the others are gone.
    """
    found = [container for container, _labels in _containers(client, f"{LABEL}={owner_id}")]
    with contextlib.ExitStack() as removals:  # each is tried, whatever becomes of the others
        for container in found:
            removals.callback(remove, client, container)
    return len(found)


def remove(client: Any, container: str) -> None:
    """Kill and remove one container, unless it is being removed already. Raises:
    docker.errors.APIError: the engine can't remove it.
    """
    from docker import errors

    try:
        client.remove_container(container, force=True, v=True)
    except errors.NotFound:
        return
    except errors.APIError as e:
        if e.status_code != 409:  # its own removal has begun
            raise


def _containers(client: Any, label: str) -> Iterator[tuple[str, dict[str, str]]]:
    for found in client.containers(all=True, filters={"label": label}):
        yield found["Id"], found.get("Labels") or {}
