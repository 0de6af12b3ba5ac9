"""After the last test no container and no folder of a sandbox is left that a host of the tests made.

Other hosts may run on this machine meanwhile: what belongs to one that lives is none of this session's business. Each
process that runs tests (one, or pytest-xdist's workers) looks at its own, and the session tells what they found.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlm.repl.owners import LABEL, Owner
from tests.support.engines import client
from tests.support.required import was_used

_PATIENCE_S = 10.0
"""How long what a killed host left may take to go."""
_FOLDERS = "rlm-docker-*"
"""Those of `wasm` stay after a kill until a sandbox starts next; who made one can't be told."""
_began_at = time.time()
_found: list[str] = []
"""What the workers of this session left."""


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a session that leaves something behind, and name it."""
    until = time.monotonic() + _PATIENCE_S
    while (left := [*_containers(), *_folders()]) and time.monotonic() < until:
        time.sleep(0.1)
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left"] = left  # it is the session that this worker belongs to which fails
    elif left := sorted({*left, *_found}):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print(f"\nLEFT BEHIND by the tests: {', '.join(left)}")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker found at its end."""
    _found.extend(getattr(node, "workeroutput", {}).get("left", ()))


def _containers() -> Iterator[str]:
    """Those of this process, which closes all it opens, and of hosts that are gone."""
    if not was_used("docker"):
        return
    with client() as api:
        for found in api.containers(all=True, filters={"label": LABEL}):
            owner = Owner.of(found["Labels"])
            if owner is not None and (owner.pid == os.getpid() or owner.is_gone):
                yield f"container {found['Id'][:12]}"


def _folders() -> Iterator[str]:
    """Those made since the session began that no living host has locked."""
    for folder in Path(tempfile.gettempdir()).glob(_FOLDERS):
        with contextlib.suppress(FileNotFoundError):  # it goes just now
            if folder.stat().st_mtime >= _began_at and _is_free(folder):
                yield str(folder)


def _is_free(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
