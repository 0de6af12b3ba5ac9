"""What the integration tests share: a user's place, and the fork server that their command lines are run by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.cli import User
from tests.support.fork_server import ForkServer


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
