"""A runtime and forks of its process: it works where it is first used, and says so anywhere else."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING

import pytest

from rlm import RLM, Config
from rlm.backends.scripted import ScriptedBackend
from rlm.core.exceptions import ConfigError
from rlm.sinks.memory import MemorySink

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def in_a_fork(work: Callable[[], str]) -> str:
    """What `work` returns in a fork of this process."""
    readable, writable = os.pipe()
    if (child := os.fork()) == 0:
        try:
            said = work()
        except BaseException as error:  # noqa: BLE001 - it is what is told
            said = f"{type(error).__name__}: {error}"
        os.write(writable, said.encode())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as told:
        said = told.read().decode()
    assert os.waitpid(child, 0)[1] == 0
    return said


@pytest.fixture
def rlm(tmp_path: Path) -> RLM:
    return RLM(ScriptedBackend(lambda _request: "fine"), config=Config(log_dir=str(tmp_path), environment="local"))


def test_an_rlm_that_was_not_used_yet_works_in_a_fork_and_beside_it(rlm: RLM) -> None:
    def ask() -> str:
        with rlm:
            return rlm.completion("x").response

    assert in_a_fork(ask) == "fine"
    assert ask() == "fine"


def test_an_rlm_that_was_used_says_in_a_fork_what_to_do(rlm: RLM) -> None:
    rlm.completion("x")
    uses: list[Callable[[], object]] = [lambda: rlm.completion("x"), rlm.open_repl, lambda: rlm.resume("last")]
    for use in uses:
        said = in_a_fork(lambda use=use: str(use()))  # type: ignore[misc]
        assert said.startswith(ConfigError.__name__)
        assert "make an RLM in each process after the fork" in said
    assert rlm.completion("x").response == "fine"
    rlm.close()


def test_closing_and_cancelling_in_a_fork_touches_nothing_of_the_parents(tmp_path: Path) -> None:
    sink = MemorySink()
    config = Config(log_dir=str(tmp_path), environment="local")
    with RLM(ScriptedBackend(lambda _request: "fine"), config=config, sinks=[sink]) as rlm:
        rlm.completion("x")

        def end() -> str:
            rlm.cancel()
            rlm.close()
            return str(sink.closed)

        assert in_a_fork(end) == "False"
        assert rlm.completion("x").response == "fine"


def test_an_rlm_is_sent_to_no_other_process(rlm: RLM) -> None:
    with pytest.raises(TypeError, match="make one there"):
        pickle.dumps(rlm)
