"""Commands as models."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest

from rlm.backends.cli_command import CommandBackend
from rlm.core.config import CommandConfig
from rlm.core.exceptions import BackendConnectionError, BadReplyError, BadRequestError, ConfigError
from rlm.core.types import Message, ModelRequest

UPPER = "import sys; print(sys.stdin.read().upper())"


def backend(code: str, **more: object) -> CommandBackend:
    config = CommandConfig(command=(sys.executable, "-c", code), **more)
    return CommandBackend({"m": config}, {"PATH": os.environ["PATH"], "SECRET": "s", "HOME": "/h"})


def ask(*said: str) -> ModelRequest:
    roles = ("user",) if len(said) == 1 else ("system", "user", "assistant")
    messages = tuple(Message(role=role, content=each) for role, each in zip(roles, said, strict=False))
    return ModelRequest(model="m", messages=messages, max_output_tokens=10)


async def test_a_prompt_goes_in_and_the_answer_comes_out() -> None:
    reply = await backend(UPPER).call(ask("hé"))
    assert reply.text == "HÉ"
    assert reply.usage.output_tokens > 0
    assert reply.cost_usd is None


async def test_a_conversation_has_headings() -> None:
    assert (await backend(UPPER).call(ask("s", "u"))).text == "## SYSTEM\n\nS\n\n## USER\n\nU\n\n## ASSISTANT"


async def test_a_prompt_and_an_answer_larger_than_any_pipe() -> None:
    reply = await backend("import sys; sys.stdout.write(sys.stdin.read())").call(ask("x" * 3_000_000))
    assert len(reply.text) == 3_000_000


async def test_a_command_need_not_read_its_prompt() -> None:
    assert (await backend("print('yes')").call(ask("x" * 3_000_000))).text == "yes"


async def test_it_gets_no_variable_but_those_named() -> None:
    code = "import os; print(os.environ.get('SECRET'))"
    assert (await backend(code).call(ask("?"))).text == "None"
    assert (await backend(code, environment=("SECRET",)).call(ask("?"))).text == "s"


async def test_a_failure_says_the_code_and_the_complaint() -> None:
    with pytest.raises(BadRequestError, match="exit code 7: no such model"):
        await backend("import sys; print('half'); sys.stderr.write('no such model'); sys.exit(7)").call(ask("?"))


async def test_output_without_end_is_cut_off() -> None:
    with pytest.raises(BadReplyError, match="output"):
        await backend("while True: print('x' * 1000)", output="1m").call(ask("?"))


async def test_a_command_that_never_ends_is_killed() -> None:
    with pytest.raises(BackendConnectionError, match="no reply within"):
        await backend("import time; time.sleep(3600)", request_timeout_s=0.5).call(ask("?"))


async def test_cancellation_kills_it() -> None:
    task = asyncio.create_task(backend("import time; time.sleep(3600)").call(ask("?")))
    await asyncio.wait([task], timeout=0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_command_that_is_not_there() -> None:
    absent = CommandBackend({"m": CommandConfig(command=("no-such-program",))}, {"PATH": "/nowhere"})
    with pytest.raises(ConfigError, match="not in PATH"):
        absent.traits("m")
    with pytest.raises(ConfigError, match="there are: cli/m"):
        absent.traits("n")
