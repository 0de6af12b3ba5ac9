"""What every backend that reaches a model by starting a program must do; a new one joins by one more subject. Those
that reach one over HTTP are in `test_backends.py`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rlm.backends.claude_cli.backend import ClaudeCliBackend
from rlm.backends.cli_command import CommandBackend
from rlm.core.config import ClaudeCliConfig, CommandConfig
from rlm.core.exceptions import BackendConnectionError, BackendError
from rlm.core.types import Message, ModelRequest
from rlm.testing import BackendSuite
from tests.support import fake_claude
from tests.support.ended import until_ended

if TYPE_CHECKING:
    from rlm.core.interfaces import Backend

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "OPENAI_API_KEY": "sk-o", "ANTHROPIC_API_KEY": "sk-a"}
PATIENCE_S = 1.5

COMMANDS = {
    "echo": "import sys; print('1 1', sys.stdin.read())",
    "hang": "import time; time.sleep(3600)",
    "exit": "import sys; sys.exit(3)",
    "environment": "import json, os; print(json.dumps(dict(os.environ)))",
    "child": "import os, subprocess as s; print([os.getpid(), s.Popen(['sleep', '3600'], stdout=-3, stderr=-3).pid])",
}
"""What the models of the subjects do, as `fake_claude` does it under the same names."""


def _claude(folder: Path) -> Backend:
    command = str(fake_claude.program(folder))
    return ClaudeCliBackend(ClaudeCliConfig(command=command, idle_timeout_s=PATIENCE_S, max_retries=0), ENVIRON)


def _command(_folder: Path) -> Backend:
    commands = {
        name: CommandConfig(command=(sys.executable, "-c", code), request_timeout_s=PATIENCE_S)
        for name, code in COMMANDS.items()
    }
    return CommandBackend(commands, ENVIRON)


SUBJECTS: dict[str, Callable[[Path], Backend]] = {"claude-cli": _claude, "cli": _command}


@pytest.fixture(params=sorted(SUBJECTS))
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    made = SUBJECTS[request.param](tmp_path)
    yield made
    await made.aclose()


def ask(model: str, said: str = "hi") -> ModelRequest:
    return ModelRequest(model=model, messages=(Message(role="user", content=said),), max_output_tokens=512)


async def test_a_call_gives_text_and_usage_and_no_cost_is_made_up(backend: Backend) -> None:
    reply = await backend.call(ask("echo", "héllo\n\u2028 \U0001f600"))
    assert reply.text.split(" ", 2)[2] == "héllo\n\u2028 \U0001f600"
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    assert reply.cost_usd in (None, 0.25)


async def test_lone_surrogates_are_sent_as_question_marks(backend: Backend) -> None:
    assert (await backend.call(ask("echo", "a\udc80b"))).text.endswith("a?b")


async def test_a_program_that_fails_is_an_error_with_its_exit_code(backend: Backend) -> None:
    with pytest.raises(BackendError, match="exit code 3"):
        await backend.call(ask("exit"))


async def test_a_program_that_never_answers_is_left_in_time(backend: Backend) -> None:
    with pytest.raises(BackendConnectionError):
        await backend.call(ask("hang"))


async def test_keys_of_other_providers_are_not_passed_on(backend: Backend) -> None:
    seen = json.loads((await backend.call(ask("environment"))).text)
    assert not {"OPENAI_API_KEY", "ANTHROPIC_API_KEY"} & set(seen)


async def test_nothing_that_a_call_started_outlives_the_backend(backend: Backend) -> None:
    pids = json.loads((await backend.call(ask("child"))).text)
    await backend.aclose()
    await until_ended(pids)


async def test_no_program_can_be_asked_for_native_tools(backend: Backend) -> None:
    assert not backend.traits("echo").native_tools


class TestClaude(BackendSuite):
    failing = "exit"

    @classmethod
    def make(cls, folder: Path) -> Backend:
        return _claude(folder)


class TestCommand(BackendSuite):
    failing = "exit"

    @classmethod
    def make(cls, folder: Path) -> Backend:
        return _command(folder)
