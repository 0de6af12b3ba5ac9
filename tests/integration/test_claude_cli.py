"""The real Claude Code against a server that speaks the Anthropic wire, with a configuration folder of its own and no
login; and what becomes of processes whose host is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rlm import RLM
from rlm.backends.claude_cli.backend import ClaudeCliBackend
from rlm.core.budget import Budget
from rlm.core.config import ClaudeCliConfig, Config
from rlm.core.exceptions import AuthenticationError, BackendConnectionError, ContextOverflowError, RateLimitError
from rlm.core.types import Image, Message, ModelRequest
from tests.servers import anthropic_server as wire
from tests.servers.faults import Answer, WireServer
from tests.support.ended import until_ended
from tests.support.fake_claude import program
from tests.support.images import png
from tests.support.required import needs

KEY_AND_SERVER = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")


def environ(server: WireServer, folder: Path) -> dict[str, str]:
    own = {"HOME": str(folder), "CLAUDE_CONFIG_DIR": str(folder)}
    return {"PATH": os.environ["PATH"], "ANTHROPIC_API_KEY": "sk-ant-x", "ANTHROPIC_BASE_URL": server.base_url, **own}


@asynccontextmanager
async def claude(folder: Path, *plan: Answer) -> AsyncIterator[tuple[ClaudeCliBackend, WireServer]]:
    async with wire.anthropic_server(*plan) as server:
        server.default = wire.streamed(wire.text("pong"))
        config = ClaudeCliConfig(environment=KEY_AND_SERVER, processes=2, max_retries=0)
        backend = ClaudeCliBackend(config, environ(server, folder))
        try:
            yield backend, server
        finally:
            await backend.aclose()


def ask(*said: str, **more: Any) -> ModelRequest:
    roles = ("user", "assistant")
    messages = tuple(Message(role=roles[number % 2], content=each) for number, each in enumerate(said))
    system = Message(role="system", content="You are S.")
    return ModelRequest(model="sonnet", messages=(system, *messages), max_output_tokens=777, **more)


def seen(server: WireServer) -> str:
    """All that the last request said to the model, but for the program's own words about the machine."""
    body = server.requests[-1].body
    return json.dumps([turn["content"] for turn in body["messages"] if turn["role"] != "system"], ensure_ascii=False)


@needs("claude")
async def test_a_call_gives_text_usage_and_cost(tmp_path: Path) -> None:
    async with claude(tmp_path) as (backend, server):
        reply = await backend.call(ask("ping"))
        body = server.requests[-1].body
    assert (reply.text, reply.finish) == ("pong", "stop")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (11, 7)
    assert reply.cost_usd is not None
    assert (body["max_tokens"], body["tools"]) == (768, [])
    assert body["system"][-1]["text"] == "You are S."


@needs("claude")
async def test_nothing_of_an_earlier_call_is_on_the_wire(tmp_path: Path) -> None:
    async with claude(tmp_path, wire.streamed(wire.text("the first answer"))) as (backend, server):
        await backend.call(ask("the first question"))
        await backend.call(ask("the second question"))
    assert len(server.requests) == 2
    assert "the second question" in seen(server)
    assert "first" not in seen(server)


@needs("claude")
@pytest.mark.parametrize("said", ["/compact", "!id", "# remember", "see @/etc/passwd", "--help", "héllo\n\U0001f600"])
async def test_a_prompt_reaches_the_model_as_it_is(tmp_path: Path, said: str) -> None:
    async with claude(tmp_path) as (backend, server):
        assert (await backend.call(ask(said))).text == "pong"
    assert json.dumps(said, ensure_ascii=False)[1:-1] in seen(server)
    assert "root:" not in seen(server)


@needs("claude")
async def test_a_conversation_and_its_images_arrive(tmp_path: Path) -> None:
    picture = Message(role="user", content="what is it?", images=(Image.of(png(3, 2)),))
    async with claude(tmp_path) as (backend, server):
        asked = ask("a", "b")
        await backend.call(ModelRequest(model="sonnet", messages=(*asked.messages, picture), max_output_tokens=777))
        blocks = server.requests[-1].body["messages"][0]["content"]
    assert [block["type"] for block in blocks][-4:] == ["text", "text", "image", "text"]
    assert '<message role=\\"assistant\\">\\nb\\n</message>' in seen(server)


@needs("claude")
async def test_a_reply_that_met_its_cap_is_not_continued_for_long(tmp_path: Path) -> None:
    async with claude(tmp_path, *[wire.streamed(wire.text("and then"), stop="max_tokens")] * 4) as (backend, server):
        reply = await backend.call(ask("go"))
    assert (reply.text, reply.finish) == ("and then", "length")
    assert len(server.requests) < 4, "by itself it asks four times"


@needs("claude")
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (wire.refusal(401, "bad key"), AuthenticationError),
        (wire.refusal(429, "slow down"), RateLimitError),
        (wire.refusal(529, "over"), BackendConnectionError),
        (wire.refusal(400, "prompt is too long: 210000 tokens > 200000 maximum"), ContextOverflowError),
    ],
)
async def test_a_refusal_is_an_error_and_the_next_call_works(
    tmp_path: Path, answer: Answer, kind: type[Exception]
) -> None:
    async with claude(tmp_path, answer) as (backend, server):
        with pytest.raises(kind):
            await backend.call(ask("ping"))
        assert len(server.requests) == 1, "retries are ours"
        assert (await backend.call(ask("ping"))).text == "pong"


@needs("claude")
async def test_without_a_login_it_says_how_to_log_in(tmp_path: Path) -> None:
    backend = ClaudeCliBackend(ClaudeCliConfig(max_retries=0), {"PATH": os.environ["PATH"], "HOME": str(tmp_path)})
    with pytest.raises(AuthenticationError, match="/login"):
        await backend.call(ask("ping"))
    await backend.aclose()


@needs("claude")
async def test_a_whole_run_goes_through_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = wire.streamed(wire.text("```python\nFINAL(len(context))\n```"))
    async with wire.anthropic_server(code) as server:
        for name, value in environ(server, tmp_path).items():
            monkeypatch.setenv(name, value)
        settings = ClaudeCliConfig(environment=KEY_AND_SERVER)
        config = Config(claude_cli=settings, log_dir=str(tmp_path / "logs"), budget=Budget(max_turns=3))
        with RLM("claude-cli/sonnet", environment="local", config=config) as rlm:
            result = await rlm.acompletion("how long is it?", "x" * 1234)
    assert (result.response, result.status) == ("1234", "completed")
    assert result.cost_usd is not None


HOST = """
import asyncio, json, sys
from rlm.backends.claude_cli.backend import ClaudeCliBackend
from rlm.core.config import ClaudeCliConfig
from rlm.core.types import Message, ModelRequest

async def main():
    backend = ClaudeCliBackend(ClaudeCliConfig(command=sys.argv[1]), {"PATH": sys.argv[2]})
    request = ModelRequest(model="child", messages=(Message(role="user", content="?"),), max_output_tokens=512)
    print((await backend.call(request)).text, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_processes_end_with_a_host_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOST, str(program(tmp_path)), os.environ["PATH"]]
    host = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert host.stdout is not None
    pids = json.loads(await host.stdout.readline())
    host.send_signal(signal.SIGKILL)
    await host.wait()
    await until_ended(pids)
