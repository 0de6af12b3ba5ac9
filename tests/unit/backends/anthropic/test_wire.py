"""What is sent to Anthropic, and what is believed of what comes back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm.backends.anthropic.wire import AnthropicWire
from rlm.backends.reasoning import ReasoningMemory
from rlm.core.exceptions import BadReplyError
from rlm.core.types import Image, Message, ModelReply, ModelRequest, TokenUsage, ToolCall, ToolSpec
from tests.servers.anthropic_server import problem_of
from tests.support.images import png

WIRE = AnthropicWire()
SYSTEM = Message(role="system", content="Work.")
USER = Message(role="user", content="hi")
ASK = ModelRequest(model="claude", messages=(USER,), max_output_tokens=100)
MARK = {"type": "ephemeral"}


def sent(request: ModelRequest, wire: AnthropicWire = WIRE, *, stream: bool = False) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(wire.encode(request, stream=stream))
    return body


def called(call_id: str = "c1", arguments: str = '{"code":"1"}', text: str = "") -> Message:
    call = ToolCall(id=call_id, name="execute_code", arguments=arguments)
    return Message(role="assistant", content=text, tool_calls=(call,))


def result(call_id: str = "c1", text: str = "4") -> Message:
    return Message(role="tool", content=text, tool_call_id=call_id)


def whole(*blocks: dict[str, Any], stop: str = "end_turn", **more: Any) -> ModelReply:
    return WIRE.decode(json.dumps({"content": blocks, "stop_reason": stop, **more}).encode(), ASK)


def test_a_plain_request_has_no_more_than_it_needs() -> None:
    assert sent(replace(ASK, temperature=0.2)) == {
        "model": "claude",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        "max_tokens": 100,
        "temperature": 0.2,
    }
    assert sent(ASK, stream=True)["stream"] is True


def test_the_system_prompt_stands_apart() -> None:
    body = sent(replace(ASK, messages=(SYSTEM, USER)))
    assert body["system"] == [{"type": "text", "text": "Work.", "cache_control": MARK}]
    assert [turn["role"] for turn in body["messages"]] == ["user"]


def test_tool_calls_and_results_are_blocks_and_users_neighbours_one_turn() -> None:
    spec = ToolSpec(name="execute_code", description="Run", parameters={"type": "object"})
    messages = (USER, called(text="Look."), result(), replace(USER, content="And now?"))
    body = sent(replace(ASK, messages=messages, tools=(spec,)))
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Look."},
                {"type": "tool_use", "id": "c1", "name": "execute_code", "input": {"code": "1"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c1", "content": "4"},
                {"type": "text", "text": "And now?"},
            ],
        },
    ]
    assert body["tools"] == [{"name": "execute_code", "description": "Run", "input_schema": {"type": "object"}}]


@pytest.mark.parametrize("arguments", ['{"code": ', "[1]", "\udc80", "[" * 9_999])
def test_arguments_that_are_no_object_go_back_as_text(arguments: str) -> None:
    use = sent(replace(ASK, messages=(USER, called(arguments=arguments), result())))["messages"][1]["content"][0]
    assert list(use["input"]) == ["INVALID_JSON"]
    assert (
        sent(replace(ASK, messages=(USER, called(arguments=""), result())))["messages"][1]["content"][0]["input"] == {}
    )


def test_marks_end_the_system_prompt_and_the_last_two_of_the_users_turns() -> None:
    messages = [SYSTEM, USER]
    for number in range(4):
        messages += [called(f"c{number}"), result(f"c{number}")]
    body = sent(replace(ASK, messages=tuple(messages)))
    marked = [number for number, turn in enumerate(body["messages"]) if "cache_control" in turn["content"][-1]]
    assert marked == [6, 8]
    assert "cache_control" in body["system"][0]


@pytest.mark.parametrize("said", ["hi", " "])
def test_images_come_before_the_text_and_may_end_what_is_cached(said: str) -> None:
    message = Message(role="user", content=said, images=(Image.of(png()),) * 2)
    body = sent(replace(ASK, messages=(SYSTEM, message)))
    blocks = body["messages"][0]["content"]
    assert [block["type"] for block in blocks] == (["image", "image"] if said == " " else ["image", "image", "text"])
    assert blocks[0]["source"].keys() == {"type", "media_type", "data"}
    assert blocks[-1]["cache_control"] == MARK
    assert problem_of(body) is None


def test_a_single_question_and_a_user_who_wants_none_get_no_marks() -> None:
    assert "cache_control" not in json.dumps(sent(ASK))
    assert "cache_control" not in json.dumps(
        sent(replace(ASK, messages=(SYSTEM, USER)), AnthropicWire(prompt_cache=False))
    )


def test_a_schema_goes_out_as_output_config_where_it_can_be_said() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert sent(replace(ASK, response_schema=schema))["output_config"]["format"]["type"] == "json_schema"
    assert "output_config" not in sent(replace(ASK, response_schema={"type": "integer"}))


def test_all_of_the_prompt_is_input() -> None:
    usage = {"input_tokens": 4, "cache_read_input_tokens": 50, "cache_creation_input_tokens": 6, "output_tokens": 9}
    expected = TokenUsage(input_tokens=60, output_tokens=9, cached_tokens=50, cache_write_tokens=6)
    assert whole({"type": "text", "text": "a"}, usage=usage).usage == expected


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": 0, "output_tokens": None}])
def test_missing_usage_is_estimated(usage: dict[str, Any] | None) -> None:
    got = whole({"type": "text", "text": "abc"}, usage=usage).usage
    assert got.input_tokens > 0 < got.output_tokens


@pytest.mark.parametrize(
    ("wire", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "length"),
        (None, "unknown"),
    ],
)
def test_stop_reasons(wire: str, finish: str) -> None:
    assert whole({"type": "text", "text": "a"}, stop=wire).finish == finish


def test_blocks_of_other_kinds_are_passed_over() -> None:
    got = whole({"type": "web_search", "of": 1}, {"type": "text", "text": "a"}, {"type": "text", "text": "b"})
    assert got.text == "ab"


def think(wire: AnthropicWire, request: ModelRequest, call_id: str = "c1") -> dict[str, Any]:
    """Have `wire` read a reply that thought before its call; return the thinking block."""
    block = {"type": "thinking", "thinking": "", "signature": "abc="}
    use = {"type": "tool_use", "id": call_id, "name": "execute_code", "input": {"code": "1"}}
    wire.decode(json.dumps({"content": [block, use], "stop_reason": "tool_use"}).encode(), request)
    return block


def test_thinking_goes_back_with_the_call_it_led_to() -> None:
    wire = AnthropicWire()
    block = think(wire, ASK)
    body = sent(replace(ASK, messages=(USER, called(), result())), wire)
    assert body["messages"][1]["content"][0] == block
    assert body["messages"][1]["content"][1]["type"] == "tool_use"


@pytest.mark.parametrize(
    "request_",
    [
        replace(ASK, messages=(USER, USER, called(), result())),
        replace(ASK, messages=(replace(USER, content="another"), called(), result())),
        replace(ASK, messages=(USER, called("other"), result("other"))),
        replace(ASK, messages=(USER, called(), result()), model="claude-other"),
    ],
)
def test_thinking_of_another_conversation_stays_out(request_: ModelRequest) -> None:
    wire = AnthropicWire()
    think(wire, ASK)
    assert "thinking" not in json.dumps(sent(request_, wire))


def test_the_oldest_thinking_goes_when_there_is_too_much() -> None:
    memory = ReasoningMemory(kept_chars=25)
    for name in ("a", "b", "c"):
        reply = ModelReply(text="", usage=TokenUsage(), tool_calls=called(name).tool_calls)
        memory.keep(ASK, reply, ({"type": "thinking", "t": name},))
    kept = [name for name in "abc" if memory.before(replace(ASK, messages=(USER, called(name))), 1)]
    assert kept == ["b", "c"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"<html>",
        b"[]",
        b"{}",
        b'{"content": 3}',
        b'{"content": [7]}',
        b'{"content": [{"type": "text", "text": 7}]}',
        b'{"content": null, "usage": {"input_tokens": -5}}',
        b"[" * 100_000,
        b'{"x": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_message_is_a_bad_reply(body: bytes) -> None:
    with pytest.raises(BadReplyError, match="isn't a message"):
        WIRE.decode(body, ASK)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "content_block_delta", "index": 0, "delta": {"partial_json": "{"}},
        {"type": "content_block_delta", "index": 0},
        {"type": "message_start", "message": {"content": 7}},
        {"type": "error", "error": {"type": "x"}},
    ],
)
def test_an_event_out_of_place_is_a_bad_reply(event: Any) -> None:
    with pytest.raises(BadReplyError):
        WIRE.draft(ASK).add(json.dumps(event).encode())


@given(
    st.lists(st.sampled_from([USER, replace(USER, content=""), Message(role="assistant", content=" "), SYSTEM, "call"]))
)
def test_any_conversation_goes_out_as_the_api_wants_it(shape: list[Any]) -> None:
    messages: list[Message] = [USER]
    for number, each in enumerate(shape):
        messages += [called(f"c{number}"), result(f"c{number}", "")] if each == "call" else [each]
    assert problem_of(sent(replace(ASK, messages=tuple(messages)))) is None


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "content", "usage", "delta", "index", "message", "content_block", "text"]), inner
        )
    ),
)


@given(st.lists(ANY_JSON), st.sampled_from(["message_start", "content_block_start", "message_delta", "message_stop"]))
def test_any_events_are_a_reply_or_a_bad_reply(events: list[Any], kind: str) -> None:
    draft = WIRE.draft(ASK)
    try:
        for event in events:
            draft.add(json.dumps({**event, "type": kind} if isinstance(event, dict) else event).encode())
        reply = draft.reply()
    except BadReplyError:
        return
    assert reply.usage.input_tokens > 0
    assert draft.spent() is not None
