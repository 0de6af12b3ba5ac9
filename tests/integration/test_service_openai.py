"""The service as a model of OpenAI's own client, of litellm and of llm."""

import openai
import pytest
from openai import AsyncOpenAI

from tests.integration.test_service import place  # noqa: F401 - a fixture


@pytest.fixture
async def client(place):  # noqa: F811
    async with place.open() as served, AsyncOpenAI(**served.openai) as made:
        yield made


async def test_a_chat_is_answered_whole_and_streamed_and_a_long_message_is_context(client):
    assert [model.id async for model in await client.models.list()] == ["rlm/held/m"]
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "x" * 9_000}]
    answer = await client.chat.completions.create(model="rlm/held/m", messages=messages, metadata={"max_turns": "3"})
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("9000", "stop")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    options = {"include_usage": True}
    stream = await client.chat.completions.create(
        model="rlm/held/m", messages=messages, stream=True, stream_options=options
    )
    deltas, used = [], None
    async for chunk in stream:
        deltas += [choice.delta for choice in chunk.choices]
        used = chunk.usage or used
    assert "".join(delta.content or "" for delta in deltas) == "9000"
    assert "turn 1" in "".join((delta.model_extra or {}).get("reasoning_content") or "" for delta in deltas)
    assert used.total_tokens > 0
    with pytest.raises(openai.UnprocessableEntityError, match="max_turns"):
        await client.chat.completions.create(model="rlm/held/m", messages=messages, metadata={"max_turns": "-1"})
    with pytest.raises(openai.BadRequestError, match="nothing is asked"):
        await client.chat.completions.create(model="rlm/held/m", messages=messages[:1])
    with pytest.raises(openai.AuthenticationError):
        await client.with_options(api_key="wrong").models.list()


async def test_a_response_is_answered_followed_up_and_made_in_the_background(client, place):  # noqa: F811
    first = await client.responses.create(model="rlm/held/m", input="how long?")
    assert (first.status, first.output_text) == ("completed", "0")
    place.answering.clear()
    following = await client.responses.create(
        model="rlm/held/m", input="and now?", previous_response_id=first.id, background=True
    )
    assert following.status in ("queued", "in_progress")
    place.asked.clear()
    await place.asked.wait()
    assert "user: how long?\n\nassistant: 0" in place.said[-1]
    cancelled = await client.responses.cancel(following.id)
    assert (cancelled.status, (await client.responses.retrieve(following.id)).status) == ("cancelled", "cancelled")
    place.answering.set()
    kinds = [event.type async for event in await client.responses.create(model="rlm", input="?", stream=True)]
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve("resp_0")


async def test_litellm_uses_it_as_a_model(client, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    asked = {"api_base": str(client.base_url), "api_key": client.api_key}
    answer = await litellm.acompletion("openai/rlm/held/m", messages=[{"role": "user", "content": "?"}], **asked)
    assert answer.choices[0].message.content == "0"


async def test_llm_uses_it_as_a_registered_model(client, monkeypatch, tmp_path):
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    import llm
    from llm.default_plugins.openai_models import AsyncChat, Chat
    from llm.plugins import load_plugins, pm

    clients = []

    class KeptChat(AsyncChat):
        """What llm opens it never closes."""

        def get_client(self, *args, **given):
            clients.append(super().get_client(*args, **given))
            return clients[-1]

    class Registered:
        @llm.hookimpl
        def register_models(self, register):
            given = {"model_name": "rlm/held/m", "api_base": str(client.base_url)}
            register(Chat("rlm-served", **given), KeptChat("rlm-served", **given))

    load_plugins()
    plugin = Registered()
    pm.register(plugin)
    try:
        model = llm.get_async_model("rlm-served")
        for is_streamed in (False, True):
            response = model.prompt("x" * 9_000, system="Be short.", key=client.api_key, stream=is_streamed)
            assert await response.text() == "9000"
            assert (await response.usage()).input > 0
    finally:
        pm.unregister(plugin)
        for each in clients:
            await each.close()
