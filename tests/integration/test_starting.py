"""A run that ends while it starts has a result: it was cancelled, its runtime was closed, or an engine kept silent."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from rlm import RLM, Config
from rlm.backends.scripted import ScriptedBackend
from rlm.core.budget import Budget
from rlm.core.exceptions import RunFailed, TimeLimitReached
from tests.integration.cli import User


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A Docker engine that takes connections and never says a word."""
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(8)
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        yield server
        server.settimeout(0.05)
        while any(thread.name == "rlm-docker" for thread in threading.enumerate()):  # they still want an answer
            with suppress(TimeoutError):
                server.accept()[0].close()


def made(folder: Path, **settings: Any) -> RLM:
    config = Config(log_dir=str(folder / "logs"), environment="docker", **settings)
    return RLM(ScriptedBackend(["never asked"]), config=config)


def once_asked(server: socket.socket, work: Callable[[], Any], then: Callable[[], object]) -> Future[Any]:
    """What becomes of `work` when `then` is called once the engine was asked for something."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(work)
        knocked, asked = server.accept()[0], server.accept()[0]
        then()
        knocked.close()
        asked.close()
        pending.exception(60)
    return pending


def test_a_silent_engine_holds_a_run_no_longer_than_its_time(silent: socket.socket, tmp_path: Path) -> None:
    with made(tmp_path, budget=Budget(timeout_s=0.5)) as rlm:
        result = rlm.completion("x", "y")
    assert (result.status, result.limit, result.trajectory, result.usage.model_calls) == ("limit", "timeout_s", None, 0)
    assert isinstance(result.error, TimeLimitReached)
    assert "0.5 s passed while the run started" in str(result.error)


def test_a_run_that_is_cancelled_while_it_starts_has_a_result(silent: socket.socket, tmp_path: Path) -> None:
    with made(tmp_path) as rlm:
        result = once_asked(silent, lambda: rlm.completion("x"), rlm.cancel).result()
    assert (result.status, result.response, result.trajectory) == ("cancelled", "", None)
    with pytest.raises(RunFailed, match="cancelled while it started"):
        result.raise_for_status()


def test_closing_while_a_run_starts_gives_it_a_result(silent: socket.socket, tmp_path: Path) -> None:
    rlm = made(tmp_path)
    result = once_asked(silent, lambda: rlm.completion("x"), rlm.close).result()
    assert result.status == "cancelled"


@pytest.mark.parametrize("end", ["cancel", "close"])
def test_a_repl_that_is_not_open_yet_says_why_it_never_will_be(silent: socket.socket, tmp_path: Path, end: str) -> None:
    with made(tmp_path) as rlm:
        opening = once_asked(silent, rlm.open_repl, getattr(rlm, end))
    assert isinstance(opening.exception(), RunFailed)


def test_the_command_line_says_that_nothing_was_begun(silent: socket.socket, tmp_path: Path) -> None:
    with User(tmp_path) as user:
        given = ("run", "x", "--environment", "docker", "--model", "demo", "--timeout-s", "0.5")
        done = user.rlm(*given, DOCKER_HOST=os.environ["DOCKER_HOST"])
    assert (done.returncode, done.stdout.strip()) == (3, "")
    assert "timeout_s of 0.5 s passed while the run started\n" in done.stderr
    assert "no model was called" in done.stderr
