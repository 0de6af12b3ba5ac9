from __future__ import annotations

import asyncio

import pytest

from rlm.backends.host import QUERY_BYTES, HostBackend
from rlm.core.exceptions import BadRequestError, ContextOverflowError
from rlm.core.types import Image, Message, ModelReply, ModelRequest
from tests.support.images import png


def request(*texts: str, system: str = "") -> ModelRequest:
    roles = ("user", "assistant")
    said = [Message(role=roles[number % 2], content=text) for number, text in enumerate(texts)]
    first = [Message(role="system", content=system)] if system else []
    return ModelRequest(model="host", messages=(*first, *said), max_output_tokens=100)


async def asked(host: HostBackend, *texts: str, system: str = "") -> asyncio.Task[ModelReply]:
    calling = asyncio.ensure_future(host.call(request(*texts, system=system)))
    host.arrived.clear()
    await host.arrived.wait()
    return calling


async def test_a_call_waits_for_its_answer_and_estimates_its_usage() -> None:
    host = HostBackend(60)
    calling = await asked(host, "what?")
    assert [query.id for query in host.waiting] == ["q1"]
    assert host.give("q1", "that")
    reply = await calling
    assert (reply.text, reply.finish, reply.cost_usd) == ("that", "stop", None)
    assert reply.usage.input_tokens > 0
    assert host.waiting == ()


async def test_an_answer_counts_once_and_ids_are_never_used_twice() -> None:
    host = HostBackend(60)
    calling = await asked(host, "what?")
    assert host.give("q1", "first")
    assert not host.give("q1", "second")
    assert (await calling).text == "first"
    again = await asked(host, "what?")
    assert [query.id for query in host.waiting] == ["q2"]
    assert (host.was_asked("q1"), host.was_asked("q3"), host.was_asked("x")) == (True, False, False)
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    assert host.waiting == ()


async def test_a_conversation_goes_on_with_what_is_new() -> None:
    host = HostBackend(60)
    first = await asked(host, "task", system="be a child")
    assert host.waiting[0].is_turn
    host.give("q1", "code")
    await first
    second = await asked(host, "task", "code", "printed", system="be a child")
    (query,) = host.waiting
    assert ([message.content for message in query.messages], query.continues) == (["printed"], "q1")
    host.give("q2", "done")
    await second


async def test_what_a_host_cannot_take_is_refused_at_once() -> None:
    host = HostBackend(60)
    with pytest.raises(ContextOverflowError, match="smaller parts"):
        await host.call(request("x" * (QUERY_BYTES + 1)))
    with_image = Message(role="user", content="see", images=(Image.of(png()),))
    with pytest.raises(BadRequestError, match="images"):
        await host.call(ModelRequest(model="host", messages=(with_image,), max_output_tokens=1))
    assert host.waiting == ()


async def test_a_host_that_never_answers_is_given_up() -> None:
    host = HostBackend(0.01)
    with pytest.raises(TimeoutError, match="nobody answered q1 within 0.01 s"):
        await host.call(request("what?"))
    assert host.waiting == ()


async def test_a_sampler_answers_in_place_of_the_host_unless_it_passes() -> None:
    host = HostBackend(60)

    async def sample(given: ModelRequest) -> str | None:
        return "sampled" if given.messages[0].content == "easy" else None

    host.sampler = sample
    assert (await host.call(request("easy"))).text == "sampled"
    calling = await asked(host, "hard")
    host.give("q1", "by hand")
    assert (await calling).text == "by hand"


async def test_a_host_that_offers_to_be_asked_and_never_answers_is_given_up() -> None:
    host = HostBackend(0.01)

    async def never(_request: ModelRequest) -> str | None:
        return await asyncio.get_running_loop().create_future()

    host.sampler = never
    with pytest.raises(TimeoutError, match=r"did not answer within 0\.01 s"):
        await host.call(request("what?"))
