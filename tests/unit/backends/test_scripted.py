"""The scripted backend, which other tests stand on."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from rlm.backends.scripted import ScriptedBackend, ScriptedFiles, tool_call
from rlm.core.exceptions import BadRequestError, RateLimitError
from rlm.core.types import Message, ModelReply, ModelRequest, TokenUsage

if TYPE_CHECKING:
    from pathlib import Path


def ask(prompt: str = "hi", model: str = "m") -> ModelRequest:
    return ModelRequest(model=model, messages=(Message(role="user", content=prompt),), max_output_tokens=100)


async def test_replies_come_once_each_in_order() -> None:
    backend = ScriptedBackend(["one", ModelReply(text="two", usage=TokenUsage(input_tokens=5))])
    assert (await backend.call(ask())).text == "one"
    assert (await backend.call(ask())).usage == TokenUsage(input_tokens=5)
    with pytest.raises(BadRequestError, match="no reply left"):
        await backend.call(ask())


async def test_requests_are_kept() -> None:
    backend = ScriptedBackend(["one"])
    await backend.call(ask("what?"))
    assert backend.requests == [ask("what?")]


async def test_an_exception_in_the_script_is_raised() -> None:
    error = RateLimitError("slow down")
    with pytest.raises(RateLimitError) as caught:
        await ScriptedBackend([error]).call(ask())
    assert caught.value is error


async def test_functions_of_the_request_answer_and_may_be_asynchronous() -> None:
    async def later(request: ModelRequest) -> str:
        return request.messages[-1].content.upper()

    backend = ScriptedBackend([later, lambda request: later])
    assert (await backend.call(ask("a"))).text == "A"
    assert (await backend.call(ask("b"))).text == "B"


async def test_one_function_answers_every_request() -> None:
    backend = ScriptedBackend(lambda request: request.model)
    assert [(await backend.call(ask(model=name))).text for name in "abc"] == ["a", "b", "c"]


async def test_each_model_may_have_its_own_script() -> None:
    backend = ScriptedBackend({"big": ["B"], "small": lambda _: "s"})
    assert (await backend.call(ask(model="small"))).text == "s"
    assert (await backend.call(ask(model="big"))).text == "B"
    with pytest.raises(BadRequestError, match="no script for model 'other'"):
        await backend.call(ask(model="other"))


async def test_a_tool_call_is_a_reply() -> None:
    reply = await ScriptedBackend([tool_call("execute_code", code="1+1")]).call(ask())
    assert reply.finish == "tool_calls"
    assert json.loads(reply.tool_calls[0].arguments) == {"code": "1+1"}
    assert reply.usage.output_tokens > 0


async def test_cap_usage_spends_the_whole_output_cap() -> None:
    backend = ScriptedBackend(["short"], cap_usage=True)
    assert (await backend.call(ask())).usage.output_tokens == 100


async def test_the_peak_of_concurrent_requests_is_counted() -> None:
    backend = ScriptedBackend(lambda _: "x", latency_s=0.001)
    await asyncio.gather(*(backend.call(ask()) for _ in range(7)))
    assert backend.peak_in_flight == 7


def test_a_bare_text_is_no_script() -> None:
    with pytest.raises(TypeError, match="put the one text into a list"):
        ScriptedBackend("hello")


async def test_a_file_of_replies_is_named_by_the_model(tmp_path: Path) -> None:
    path = tmp_path / "replies.json"
    path.write_text('["one", "two"]')
    backend = ScriptedFiles()
    assert [(await backend.call(ask(model=str(path)))).text for _ in range(2)] == ["one", "two"]


@pytest.mark.parametrize("content", [None, "no json", '{"a": 1}'])
async def test_a_file_that_is_no_script_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "replies.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadRequestError, match=r"a list of replies"):
        await ScriptedFiles().call(ask(model=str(path)))
