"""The scripted fake keeps the contract of the backends it stands for."""

from __future__ import annotations

import asyncio

import pytest

from rlm.backends.scripted import ScriptedBackend
from rlm.core.exceptions import BackendError
from rlm.core.types import Message, ModelRequest, ModelTraits

ECHO = ScriptedBackend(lambda request: request.messages[-1].content)


def ask(prompt: str) -> ModelRequest:
    return ModelRequest(model="m", messages=(Message(role="user", content=prompt),), max_output_tokens=64)


async def hang(_request: ModelRequest) -> str:
    await asyncio.Event().wait()
    return "never"


async def test_calls_at_once_get_each_its_own_answer_and_usage() -> None:
    replies = await asyncio.gather(*(ECHO.call(ask(f"call {number}")) for number in range(200)))
    assert [reply.text for reply in replies] == [f"call {number}" for number in range(200)]
    assert all(reply.usage.input_tokens > 0 < reply.usage.output_tokens for reply in replies)


async def test_every_failure_is_a_backend_error() -> None:
    with pytest.raises(BackendError):
        await ScriptedBackend([]).call(ask("hi"))


async def test_cancellation_ends_a_call_at_once() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await ScriptedBackend(hang).call(ask("hi"))


async def test_traits_need_no_call_and_closing_twice_is_fine() -> None:
    backend = ScriptedBackend(hang)
    assert isinstance(backend.traits("m"), ModelTraits)
    await backend.aclose()
    await backend.aclose()
