"""What is sent, and what is believed of what comes back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm.backends.openai.reply import OpenAIDraft
from rlm.backends.openai.wire import OpenAIWire
from rlm.core.exceptions import BadReplyError
from rlm.core.types import Image, Message, ModelReply, ModelRequest, TokenUsage, ToolCall, ToolSpec
from tests.support.images import png

ASK = ModelRequest(
    model="llama-3", messages=(Message(role="user", content="hi"),), max_output_tokens=100, temperature=0.2
)


WIRE = OpenAIWire()


def sent(request: ModelRequest) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(WIRE.encode(request))
    return body


def decode_reply(body: bytes, request: ModelRequest) -> ModelReply:
    return WIRE.decode(body, request)


def reply(**changes: Any) -> bytes:
    message = {"role": "assistant", "content": "hello", **changes.pop("message", {})}
    body = {"choices": [{"message": message, "finish_reason": changes.pop("finish", "stop")}], **changes}
    return json.dumps(body).encode()


def test_a_plain_request_has_no_more_than_it_needs() -> None:
    assert sent(ASK) == {
        "model": "llama-3",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 100,
        "temperature": 0.2,
    }


def test_images_follow_the_text_as_data_urls_of_bounded_detail() -> None:
    message = Message(role="user", content="hi", images=(Image.of(png()),))
    text, image = sent(replace(ASK, messages=(message,)))["messages"][0]["content"]
    assert text == {"type": "text", "text": "hi"}
    assert image["image_url"].pop("url").startswith("data:image/png;base64,iVBORw0KGgo")
    assert image == {"type": "image_url", "image_url": {"detail": "high"}}


@pytest.mark.parametrize("model", ["o3", "o4-mini", "gpt-5", "gpt-5-mini", "openai/gpt-5"])
def test_reasoning_models_get_their_own_cap_and_no_temperature(model: str) -> None:
    body = sent(replace(ASK, model=model))
    assert body["max_completion_tokens"] == 100
    assert not {"max_tokens", "temperature"} & body.keys()


@pytest.mark.parametrize("model", ["gpt-4o", "gpt-oss-120b", "olmo-2", "openai/gpt-oss-20b"])
def test_other_models_get_max_tokens(model: str) -> None:
    assert sent(replace(ASK, model=model))["max_tokens"] == 100


def test_tool_calls_and_their_answers_go_out_as_the_wire_has_them() -> None:
    call = ToolCall(id="c1", name="execute_code", arguments='{"code": "4" }')
    messages = (
        Message(role="assistant", content="", tool_calls=(call,)),
        Message(role="tool", content="4", tool_call_id="c1"),
    )
    spec = ToolSpec(name="execute_code", description="Run", parameters={"type": "object", "properties": {}})
    body = sent(replace(ASK, messages=messages, tools=(spec,)))
    wire_call = {"id": "c1", "type": "function", "function": {"name": "execute_code", "arguments": '{"code": "4" }'}}
    assert body["messages"] == [
        {"role": "assistant", "content": "", "tool_calls": [wire_call]},
        {"role": "tool", "content": "4", "tool_call_id": "c1"},
    ]
    assert body["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_a_response_schema_goes_out_as_response_format() -> None:
    body = sent(replace(ASK, response_schema={"type": "integer"}))
    assert body["response_format"]["json_schema"]["schema"] == {"type": "integer"}


def test_lone_surrogates_are_replaced_rather_than_fatal() -> None:
    body = sent(replace(ASK, messages=(Message(role="user", content="a\udc80b é"),)))
    assert body["messages"][0]["content"] == "a?b é"


def test_usage_is_read_with_cached_tokens_and_cost() -> None:
    usage = {
        "prompt_tokens": 50,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 40},
        "cost": 0.002,
    }
    got = decode_reply(reply(usage=usage), ASK)
    assert got.usage == TokenUsage(input_tokens=50, output_tokens=9, cached_tokens=40)
    assert got.cost_usd == 0.002


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": 0, "completion_tokens": None}])
def test_missing_usage_is_estimated(usage: dict[str, Any] | None) -> None:
    got = decode_reply(reply(usage=usage), ASK)
    assert got.usage.input_tokens > 0
    assert got.usage.output_tokens > 0


def test_more_cached_than_sent_is_not_believed() -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 500}}
    assert decode_reply(reply(usage=usage), ASK).usage.cached_tokens == 5


@pytest.mark.parametrize(
    ("wire", "finish"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("odd", "unknown"),
        (None, "unknown"),
    ],
)
def test_finish_reasons(wire: str | None, finish: str) -> None:
    assert decode_reply(reply(finish=wire), ASK).finish == finish


def test_tool_calls_come_in_with_an_id_and_text_arguments() -> None:
    calls = [
        {"function": {"name": "f", "arguments": {"a": 1}}},
        {"id": "x", "function": {"name": "g", "arguments": "{"}},
        {"id": "y", "function": {"name": "h", "arguments": None}},
    ]
    got = decode_reply(reply(message={"content": None, "tool_calls": calls}, finish="tool_calls"), ASK)
    assert got.text == ""
    assert got.tool_calls == (
        ToolCall(id=got.tool_calls[0].id, name="f", arguments='{"a":1}'),
        ToolCall(id="x", name="g", arguments="{"),
        ToolCall(id="y", name="h", arguments=""),
    )
    assert len(got.tool_calls[0].id) == 9


def test_a_refusal_is_the_text() -> None:
    assert decode_reply(reply(message={"content": None, "refusal": "I won't"}), ASK).text == "I won't"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"<html>",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {"content": 7}}]}',
        b'{"choices": [{"message": {"content": [7]}}]}',
        b'{"choices": [{"message": {"tool_calls": [{"function": {"arguments": "{}"}}]}}]}',
        b"[" * 100_000,
        b'{"x": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_completion_is_a_bad_reply(body: bytes) -> None:
    with pytest.raises(BadReplyError, match="isn't a chat completion"):
        decode_reply(body, ASK)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["choices", "message", "content", "tool_calls", "function", "usage"]), inner)
    ),
)


@given(ANY_JSON)
def test_any_json_is_a_reply_or_a_bad_reply(body: Any) -> None:
    try:
        got = decode_reply(json.dumps(body).encode(), ASK)
    except BadReplyError:
        return
    assert isinstance(got.text, str)


@given(st.text(alphabet=st.characters()))
def test_any_text_can_be_sent(text: str) -> None:
    body = sent(replace(ASK, messages=(Message(role="user", content="x" + text),)))
    assert body["messages"][0]["content"] == "x" + text.encode("utf-8", "replace").decode()


def drafted(*events: Any) -> OpenAIDraft:
    draft = WIRE.draft(ASK)
    for event in events:
        draft.add(event if isinstance(event, bytes) else json.dumps(event).encode())
    return draft


def delta(finish: str | None = None, **change: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": change, "finish_reason": finish}]}


def call_delta(arguments: str, **more: Any) -> dict[str, Any]:
    return delta(tool_calls=[{"function": {"arguments": arguments, **more.pop("function", {})}, **more}])


@pytest.mark.parametrize(
    "events",
    [
        (
            call_delta("", index=0, id="a", function={"name": "f"}),
            call_delta("{}", index=0),
            call_delta("[]", index=1, id="b", function={"name": "g"}),
        ),
        (call_delta("{}", id="a", function={"name": "f"}), call_delta("[]", id="b", function={"name": "g"})),
        (
            call_delta("{}", index=0, id="a", function={"name": "f"}),
            call_delta("[]", index=0, id="b", function={"name": "g"}),
        ),
        (
            call_delta("{", id="a", function={"name": "f"}),
            call_delta("}", id="a"),
            call_delta("[]", index=1, id="b", function={"name": "g"}),
        ),
    ],
)
def test_tool_calls_are_told_apart_however_a_server_numbers_them(events: tuple[Any, ...]) -> None:
    reply = drafted(*events, delta("tool_calls"), b"[DONE]").reply()
    assert [(call.id, call.name, call.arguments) for call in reply.tool_calls] == [("a", "f", "{}"), ("b", "g", "[]")]


def test_a_stream_needs_an_end_and_says_what_it_cost_until_then() -> None:
    assert drafted(delta(content="a"), b"[DONE]").reply().finish == "unknown"
    assert drafted(delta(content="a"), delta("stop")).reply().finish == "stop"
    broken = drafted(delta(content="a" * 300))
    with pytest.raises(BadReplyError, match="ended before"):
        broken.reply()
    spent = broken.spent()
    assert spent is not None
    assert spent.output_tokens >= 100


@pytest.mark.parametrize("events", [(), (b"[DONE]",), ({"choices": []}, b"[DONE]")])
def test_a_stream_without_a_reply_is_a_bad_reply(events: tuple[Any, ...]) -> None:
    draft = drafted(*events)
    with pytest.raises(BadReplyError):
        draft.reply()
    assert draft.spent() is None


def test_a_tool_call_without_a_name_is_a_bad_reply() -> None:
    with pytest.raises(BadReplyError, match="without a name"):
        drafted(call_delta("{}", index=0, id="a"), delta("tool_calls"), b"[DONE]").reply()


def test_other_choices_and_odd_deltas_are_passed_over() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "no"}, "finish_reason": None}]}
    odd = {"choices": [{"index": 0, "delta": None, "finish_reason": None}]}
    assert drafted(other, odd, delta(refusal="I won't"), delta("stop")).reply().text == "I won't"


def test_tokens_written_to_the_cache_are_read() -> None:
    details = {"cached_tokens": 40, "cache_write_tokens": 30}
    usage = {"prompt_tokens": 50, "completion_tokens": 9, "prompt_tokens_details": details}
    got = decode_reply(reply(usage=usage), ASK).usage
    assert (got.cached_tokens, got.cache_write_tokens) == (40, 10)


@given(st.lists(ANY_JSON))
def test_any_events_are_a_reply_or_a_bad_reply(events: list[Any]) -> None:
    try:
        got = drafted(*({"choices": [{"delta": event}]} for event in events), b"[DONE]").reply()
    except BadReplyError:
        return
    assert isinstance(got.text, str)
