"""The `claude-cli` backend against a program that misbehaves on demand; the real one is in the integration tests."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rlm.backends import BackendSetup, create, resolve
from rlm.backends.claude_cli.backend import ClaudeCliBackend, stepped
from rlm.core.config import ClaudeCliConfig, Config
from rlm.core.exceptions import (
    BackendConnectionError,
    BadReplyError,
    ConfigError,
    QuotaExhaustedError,
)
from rlm.core.types import Message, ModelRequest
from tests.support.ended import until_ended
from tests.support.fake_claude import program

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "CLAUDE_CONFIG_DIR": "/mine", "ANTHROPIC_API_KEY": "sk-a"}


@pytest.fixture
async def backend(tmp_path: Path) -> AsyncIterator[ClaudeCliBackend]:
    config = ClaudeCliConfig(command=str(program(tmp_path)), processes=2, idle_timeout_s=20.0, max_retries=0)
    made = ClaudeCliBackend(config, ENVIRON)
    yield made
    await made.aclose()


def ask(model: str, said: str = "hi", cap: int = 512, system: str = "") -> ModelRequest:
    messages = (Message(role="system", content=system), Message(role="user", content=said))
    return ModelRequest(model=model, messages=messages, max_output_tokens=cap)


async def said_by(backend: ClaudeCliBackend, model: str = "m", **asked: str) -> list[str]:
    """Process, session and prompt of a call."""
    return (await backend.call(ask(model, **asked))).text.split(" ", 2)


async def test_usage_and_cost_are_those_of_the_result(backend: ClaudeCliBackend) -> None:
    reply = await backend.call(ask("m"))
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cached_tokens) == (11, 7, 5)
    assert (reply.cost_usd, reply.finish) == (0.25, "stop")


async def test_a_process_serves_many_calls_and_each_is_a_new_session(backend: ClaudeCliBackend) -> None:
    calls = [await said_by(backend) for _ in range(3)]
    assert len({process for process, _, _ in calls}) == 1
    assert [session for _, session, _ in calls] == ["1", "2", "3"]


async def test_a_process_that_does_not_forget_is_used_once(backend: ClaudeCliBackend) -> None:
    assert len({(await said_by(backend, "forgetless"))[0] for _ in range(3)}) == 3


async def test_another_system_prompt_is_another_process(backend: ClaudeCliBackend) -> None:
    assert len({(await said_by(backend, system=system))[0] for system in ("a", "b", "c")}) == 3


async def test_more_calls_than_processes_wait_for_one(backend: ClaudeCliBackend) -> None:
    calls = await asyncio.gather(*(said_by(backend, said=str(number)) for number in range(12)))
    assert [said for _, _, said in calls] == [str(number) for number in range(12)]
    assert len({process for process, _, _ in calls}) <= 2


@pytest.mark.parametrize("said", ["/clear", "  /compact now", ""])
async def test_a_prompt_is_never_a_command_of_the_program(backend: ClaudeCliBackend, said: str) -> None:
    assert (await said_by(backend, said=said))[2] == f"The user's message:\n{said}"


async def test_a_reply_that_met_its_cap_ends_the_process(backend: ClaudeCliBackend) -> None:
    reply = await backend.call(ask("cut"))
    assert (reply.text, reply.finish, reply.usage.output_tokens) == ("and th", "length", 9)
    assert reply.cost_usd is None


@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        ("garbage", BadReplyError, "isn't one of its events"),
        ("flood", BadReplyError, "32 MB"),
        ("exit", BackendConnectionError, "exit code 3: it broke"),
        ("plan", QuotaExhaustedError, "it resets at"),
    ],
)
async def test_what_goes_wrong_is_an_error_that_says_it(
    backend: ClaudeCliBackend, model: str, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=re.escape(words)):
        await backend.call(ask(model))


async def test_a_process_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    config = ClaudeCliConfig(command=str(program(tmp_path)), idle_timeout_s=0.5, max_retries=0)
    backend = ClaudeCliBackend(config, ENVIRON)
    with pytest.raises(BackendConnectionError, match="said nothing for 0.5 s"):
        await backend.call(ask("hang"))
    await backend.aclose()


async def test_a_cancelled_call_leaves_the_pool_usable(backend: ClaudeCliBackend) -> None:
    hanging = [asyncio.create_task(backend.call(ask("hang"))) for _ in range(2)]
    await asyncio.wait(hanging, timeout=0.3)
    for task in hanging:
        task.cancel()
    assert (await said_by(backend))[1] == "1"


async def test_only_what_is_meant_for_the_program_is_passed_on(tmp_path: Path) -> None:
    command = str(program(tmp_path))
    seen = []
    for names in ((), ("ANTHROPIC_API_KEY",)):
        backend = ClaudeCliBackend(ClaudeCliConfig(command=command, environment=names), ENVIRON)
        seen.append(json.loads((await backend.call(ask("environment"))).text))
        await backend.aclose()
    assert "ANTHROPIC_API_KEY" not in seen[0]
    assert seen[1]["ANTHROPIC_API_KEY"] == "sk-a"
    assert seen[0]["CLAUDE_CONFIG_DIR"] == "/mine"
    assert seen[0]["CLAUDE_CODE_MAX_OUTPUT_TOKENS"] == "512"


async def test_closing_ends_a_process_and_all_it_started(backend: ClaudeCliBackend) -> None:
    pids = json.loads((await backend.call(ask("child"))).text)
    await backend.aclose()
    await backend.aclose()
    await until_ended(pids)


async def test_a_program_that_is_replaced_is_started_anew(tmp_path: Path) -> None:
    path = program(tmp_path)
    config = ClaudeCliConfig(command=str(path), max_retries=1)
    backend = ClaudeCliBackend(config, ENVIRON)
    before = await said_by(backend)
    path.unlink()
    program(tmp_path)
    assert (await said_by(backend))[0] == before[0], "a warm one is not touched"
    assert (await said_by(backend, system="another"))[0] != before[0]
    await backend.aclose()


def test_a_program_that_is_not_there_is_told_with_the_way_to_get_it() -> None:
    with pytest.raises(ConfigError, match="npm install"):
        create("claude-cli", BackendSetup(config=Config(), environ={"PATH": "/nowhere"}))


def test_the_name_and_the_traits() -> None:
    assert resolve("claude-cli/sonnet") == ("claude-cli", "sonnet")
    backend = ClaudeCliBackend(ClaudeCliConfig(), {})
    assert not backend.traits("sonnet").native_tools
    assert backend.traits("sonnet").price is None
    assert backend.traits("claude-sonnet-5-5").price is not None


@pytest.mark.parametrize(("cap", "used"), [(100, 100), (512, 512), (800, 768), (8192, 8192), (10_000, 8192)])
def test_caps_come_in_steps_and_never_grow(cap: int, used: int) -> None:
    assert stepped(cap) == used
