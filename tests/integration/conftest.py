"""What the integration tests share: a user's place, the fork server that their command lines are run by, and Pyodide's
files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli import User
from tests.support.fork_server import ForkServer
from tests.support.required import require


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """One for all tests of this process."""
    server = ForkServer()
    yield server
    server.close()


@pytest.fixture
def user(tmp_path: Path, fork_server: ForkServer) -> Iterator[User]:
    with User(tmp_path, fork_server) as made:
        yield made


@pytest.fixture(scope="session")
def pyodide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pyodide's files away from the user's cache; for tests to read, and to link to."""
    from rlm.repl.wasm import pyodide_files
    from tests.support.wasm import cache

    require("wasm")  # which fetches them where they aren't there yet
    return Path(shutil.copytree(pyodide_files.place(cache(os.environ)), tmp_path_factory.mktemp("wasm") / "pyodide"))
