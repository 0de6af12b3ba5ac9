"""Becomes Deno, after putting on what bounds a process from outside; runs in an interpreter that does nothing else.

It imports little, since every start of a sandbox waits for it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import suppress
from typing import NoReturn

from rlm.repl.guest import kernel

_MAX_FILES = 256


def main() -> NoReturn:
    """Read the one argument, take on its limits and run its command."""
    launch = json.loads(sys.argv[1])
    kernel.set_no_new_privileges()
    with suppress(OSError):  # one layer more, where the system permits it
        kernel.unshare(kernel.NEW_USER | kernel.NEW_NET | kernel.NEW_IPC)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, launch["file_bytes"])
    _limit(resource.RLIMIT_NOFILE, _MAX_FILES)
    # Soft: the host raises it when it knows the context. Nothing in Deno can.
    resource.setrlimit(resource.RLIMIT_DATA, (launch["data_bytes"], resource.RLIM_INFINITY))
    kernel.die_with_parent(launch["parent"])  # after the namespaces, which would undo it
    os.execv(launch["command"][0], launch["command"])  # noqa: S606 - as the host says


def follow() -> NoReturn:
    """Run the command in the arguments after the first, which is the id of the process to end with."""
    kernel.die_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606 - as the host says


def _limit(kind: int, most: int) -> None:
    resource.setrlimit(kind, (most, most))
