"""What every backend must do, over each of them; a new one joins by one more maker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import pytest

from rlm.backends.openai import OpenAIBackend, OpenAISettings
from rlm.backends.retry import RetryPolicy
from rlm.backends.scripted import ScriptedBackend
from rlm.core.exceptions import BackendError
from rlm.core.types import Message, ModelRequest, ModelTraits
from tests.servers.openai_server import echo, openai_server, refusal, silent

if TYPE_CHECKING:
    from rlm.core.interfaces import Backend


@asynccontextmanager
async def openai_backend(mood: str) -> AsyncIterator[Backend]:
    async with openai_server() as server:
        server.default = {"echo": echo, "refuse": refusal(400), "hang": silent}[mood]
        backend = OpenAIBackend(OpenAISettings(base_url=server.base_url, retry=RetryPolicy(base_s=0.0)))
        yield backend
        await backend.aclose()


async def _hang(_request: ModelRequest) -> str:
    await asyncio.Event().wait()
    return "never"


def _refuse(_request: ModelRequest) -> BackendError:
    return BackendError("no")


@asynccontextmanager
async def scripted_backend(mood: str) -> AsyncIterator[Backend]:
    yield ScriptedBackend(
        {"echo": lambda request: request.messages[-1].content, "refuse": _refuse, "hang": _hang}[mood]
    )


Maker: TypeAlias = Callable[[str], "asyncio.AbstractAsyncContextManager[Backend]"]
MAKERS = {"openai": openai_backend, "scripted": scripted_backend}


@pytest.fixture(params=sorted(MAKERS))
def maker(request: pytest.FixtureRequest) -> Maker:
    return MAKERS[request.param]


def ask(prompt: str) -> ModelRequest:
    return ModelRequest(model="m", messages=(Message(role="user", content=prompt),), max_output_tokens=64)


async def test_a_call_gives_text_and_usage(maker: Maker) -> None:
    async with maker("echo") as backend:
        reply = await backend.call(ask("héllo\n\u2028 \U0001f600"))
    assert reply.text == "héllo\n\u2028 \U0001f600"
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    assert reply.tool_calls == ()


async def test_two_hundred_calls_at_once_get_each_its_own_answer(maker: Maker) -> None:
    async with maker("echo") as backend:
        replies = await asyncio.gather(*(backend.call(ask(f"call {number}")) for number in range(200)))
    assert [reply.text for reply in replies] == [f"call {number}" for number in range(200)]


async def test_every_failure_is_a_backend_error(maker: Maker) -> None:
    async with maker("refuse") as backend:
        with pytest.raises(BackendError):
            await backend.call(ask("hi"))


async def test_cancellation_ends_a_call_at_once(maker: Maker) -> None:
    async with maker("hang") as backend:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await backend.call(ask("hi"))


async def test_closing_twice_is_fine(maker: Maker) -> None:
    async with maker("echo") as backend:
        await backend.call(ask("hi"))
        await backend.aclose()
        await backend.aclose()


async def test_traits_are_known_without_a_call(maker: Maker) -> None:
    async with maker("hang") as backend:
        assert isinstance(backend.traits("m"), ModelTraits)
