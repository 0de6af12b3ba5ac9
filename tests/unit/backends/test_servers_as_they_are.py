"""Servers as they are: what they send around a reply, before it, after it and in its place, over real HTTP. A whole
reply is taken at the first request, whatever wraps it; half a reply is never taken."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from rlm.backends.anthropic.backend import AnthropicBackend
from rlm.backends.openai.backend import OpenAIBackend
from rlm.backends.provider import ProviderSettings
from rlm.backends.retry import RetryPolicy
from rlm.core.dialects import EXECUTE_CODE
from rlm.core.exceptions import (
    BackendConnectionError,
    BackendError,
    BadReplyError,
    BadRequestError,
    ContextOverflowError,
    RateLimitError,
    ToolsRefusedError,
)
from rlm.core.types import Message, ModelRequest
from tests.servers import anthropic_server as anthropic
from tests.servers.anthropic_server import anthropic_server
from tests.servers.faults import Answer, WireServer, raw, stream
from tests.servers.openai_server import chunk, completion, openai_server, refusal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ASK = ModelRequest(
    model="m",
    messages=(Message(role="system", content="work"), Message(role="user", content="hi")),
    max_output_tokens=64,
)
EVENTS = {"Content-Type": "text/event-stream"}
JSON = {"Content-Type": "application/json"}


def settings(server: WireServer, retries: int) -> ProviderSettings:
    return ProviderSettings(base_url=server.base_url, retry=RetryPolicy(max_retries=retries, base_s=0.0))


@asynccontextmanager
async def openai(*plan: Answer, retries: int = 0) -> AsyncIterator[tuple[OpenAIBackend, WireServer]]:
    async with openai_server(*plan) as server:
        backend = OpenAIBackend(settings(server, retries))
        yield backend, server
        await backend.aclose()


@asynccontextmanager
async def messages(*plan: Answer, retries: int = 0) -> AsyncIterator[tuple[AnthropicBackend, WireServer]]:
    async with anthropic_server(*plan) as server:
        backend = AnthropicBackend(settings(server, retries))
        yield backend, server
        await backend.aclose()


def data(*events: Any) -> bytes:
    """Events as bytes; what is not text is written as JSON."""
    texts = (each if isinstance(each, str) else json.dumps(each) for each in events)
    return "".join(f"data: {text}\n\n" for text in texts).encode()


def choice(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, **fields}]}


SAID = choice(delta={"content": "The answer is 5."})
STOP = choice(delta={}, finish_reason="stop")
WHOLE = json.dumps(choice(message={"content": "The answer is 5."}, finish_reason="stop")).encode()
REPLY = data(SAID, STOP, "[DONE]")
USAGE = {"prompt_tokens": 11, "completion_tokens": 3}
THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
PARTS = [THOUGHT, {"type": "text", "text": "The answer "}, {"type": "text", "text": "is 5."}]


@pytest.mark.parametrize(
    "body",
    [
        data(SAID, STOP, {"choices": None, "usage": USAGE}, "[DONE]"),
        data(SAID, "null", STOP, "[]", "7", "[DONE]"),
        data({"id": "x", "model": "m"}, SAID, {"usage": USAGE}, STOP, "[DONE]"),
        data({}, SAID, "", STOP, "keep-alive", "[DONE]"),
        b'event: ping\ndata: {"type": "ping"}\n\n' + REPLY,
        data(SAID, STOP, "[DONE]", "[DONE]", SAID),
        data(SAID, STOP, " [done] "),
        data(SAID, STOP, {"error": {"message": "too late"}}),
        data(SAID, choice(delta=None), choice(delta={}), {"choices": [None, {}]}, STOP, "[DONE]"),
        data({**SAID, "usage": []}, {**STOP, "usage": {"prompt_tokens": "x", "completion_tokens": -1}}, "[DONE]"),
        data(choice(delta={"content": PARTS[:2]}), choice(delta={"content": PARTS[2:]}), STOP, "[DONE]"),
        data(choice(message={"content": "The answer is 5."}, finish_reason="stop"), "[DONE]"),
        data(choice(text="The answer is 5.", finish_reason="stop"), "[DONE]"),
        data(choice(message="The answer is 5.", finish_reason="stop"), "[DONE]"),
        data({**SAID, "error": None}, {**STOP, "error": {}}, "[DONE]"),
        data(SAID, STOP).rstrip(b"\n"),
        data(SAID, {"choices": [], "usage": USAGE}),
        data(SAID, STOP, "[DONE]").replace(b"\n\n", b"\n"),
        b'data: {"choices": [{"delta": {"content": "The answer is 5."}, "logprobs": NaN}]}\n\n' + data(STOP),
    ],
)
@pytest.mark.parametrize("headers", [EVENTS, JSON], ids=["stream", "json"])
async def test_a_stream_is_read_whatever_is_around_it_and_whatever_it_is_called(
    body: bytes, headers: dict[str, str]
) -> None:
    async with openai(raw(body, headers=headers)) as (backend, server):
        assert (await backend.call(ASK)).text == "The answer is 5."
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (REPLY, "Text/Event-Stream; charset=UTF-8"),
        (WHOLE, "text/event-stream"),
        (b"\xef\xbb\xbf\n " + WHOLE, "text/plain"),
        (b": hello\n\n" + REPLY, "application/octet-stream"),
        (b"retry: 3\n" + REPLY, "application/json"),
        (json.dumps(choice(message={"content": PARTS}, finish_reason="stop")).encode(), "application/json"),
        (json.dumps(choice(delta={"content": "The answer is 5."}, finish_reason="stop")).encode(), "application/json"),
        (json.dumps({"choices": choice(message={"content": "The answer is 5."})["choices"][0]}).encode(), "a/b"),
    ],
)
async def test_the_beginning_of_a_body_says_what_it_is(body: bytes, kind: str) -> None:
    async with openai(raw(body, headers={"Content-Type": kind})) as (backend, _):
        assert (await backend.call(ASK)).text == "The answer is 5."


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (b'"a\\ud83d"', b'"\\ude00b"', "a\U0001f600b"),
        (b'"a\\ud83d"', b'"b"', "a\ufffdb"),
        (b'"a\xf0\x9f"', b'"\x98\x80b"', "a\U0001f600b"),
        (b'"a\xff"', b'"b"', "a\ufffdb"),
    ],
)
async def test_halves_of_characters_are_joined_or_replaced(first: bytes, second: bytes, text: str) -> None:
    pieces = (b'data: {"choices": [{"delta": {"content": %s}}]}\n\n' % each for each in (first, second))
    async with openai(raw(b"".join(pieces) + data(STOP), headers=EVENTS)) as (backend, _):
        assert (await backend.call(ASK)).text == text


async def test_a_reply_under_another_good_status_is_one() -> None:
    async with openai(raw(WHOLE, status=201)) as (backend, _):
        assert (await backend.call(ASK)).text == "The answer is 5."


async def test_a_raw_line_break_in_a_text_spoils_nothing() -> None:
    async with openai(raw(WHOLE.replace(b"answer ", b"answer\n"))) as (backend, _):
        assert (await backend.call(ASK)).text == "The answer\nis 5."


async def test_a_reply_that_is_whole_survives_the_loss_of_its_connection() -> None:
    async with openai(stream(data(SAID, STOP), end="abort")) as (backend, server):
        assert (await backend.call(ASK)).text == "The answer is 5."
        assert len(server.requests) == 1


async def test_a_reply_that_is_whole_is_taken_when_its_stream_falls_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlm.backends.provider.SILENCE_S", 0.05)
    async with openai(stream(data(SAID, STOP), end="hang")) as (backend, server):
        assert (await backend.call(ASK)).text == "The answer is 5."
        assert len(server.requests) == 1


FAILED = {"code": 502, "message": "provider disconnected"}


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (
            data(SAID, {"error": FAILED, **choice(delta={}, finish_reason="error")}),
            BackendConnectionError,
            "provider dis",
        ),
        (data(SAID, choice(delta={}, finish_reason="error"), "[DONE]"), BadReplyError, "gave up"),
        (data(SAID, choice(delta={}, finish_reason="ABORT"), "[DONE]"), BadReplyError, "gave up"),
        (data(SAID, choice(delta={}, error=FAILED)), BackendConnectionError, "provider dis"),
        (data({"choices": [], "error": FAILED}, "[DONE]"), BackendConnectionError, "provider dis"),
        (data(SAID, {"error": "boom"}), BackendConnectionError, "boom"),
        (data(SAID, {"error": True, "message": "boom"}), BackendConnectionError, "boom"),
        (data(SAID, {"object": "error", "message": "boom", "code": 429}), RateLimitError, "boom"),
        (data({"error": {"code": "429", "message": "slow"}}), RateLimitError, "slow"),
        (data({"error": {"code": 1301, "message": "odd"}}), BackendConnectionError, "odd"),
        (b'event: error\ndata: {"message": "boom", "type": "server_error"}\n\n', BackendConnectionError, "boom"),
        (b"event: error\ndata: boom\n\n", BackendConnectionError, "boom"),
        (
            data({"choices": [], "error": {"code": 400, "message": "prompt is too long: 1284668 tokens"}}),
            ContextOverflowError,
            "1284668",
        ),
        (data({"error": {"message": "the prompt exceeds the context window"}}), ContextOverflowError, "window"),
        (data(SAID, '{"choices": [{"del'), BadReplyError, "isn't part"),
        (data(SAID), BadReplyError, "ended before"),
    ],
)
async def test_an_error_within_a_stream_is_a_failed_attempt_and_never_an_answer(
    body: bytes, kind: type[BackendError], words: str
) -> None:
    async with openai(raw(body, headers=EVENTS), retries=1) as (backend, server):
        if kind is ContextOverflowError:
            with pytest.raises(kind, match=words):
                await backend.call(ASK)
            return
        assert (await backend.call(ASK)).text == "ok"
        assert len(server.requests) == 2
    async with openai(raw(body, headers=EVENTS)) as (backend, _):
        with pytest.raises(kind, match=words):
            await backend.call(ASK)


@pytest.mark.parametrize(
    "body",
    [
        {"error": FAILED, **choice(message={"content": "The answer is"}, finish_reason="error")},
        choice(message={"content": "The answer is"}, finish_reason="error", error=FAILED),
        [{"error": FAILED}],
    ],
)
async def test_an_error_in_a_body_of_200_is_one_too(body: Any) -> None:
    async with openai(raw(json.dumps(body).encode())) as (backend, _):
        with pytest.raises(BackendConnectionError, match="provider disconnected"):
            await backend.call(ASK)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<!doctype html><title>Welcome to\nnginx</title><p>No", "Welcome to nginx"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b'[{"detail": [{"msg": "no such route"}]}]', "no such route"),
        (b'{"status": "alive"}', "alive"),
    ],
)
async def test_a_server_of_something_else_is_told_at_once(body: bytes, words: str) -> None:
    async with openai(raw(body), retries=4) as (backend, server):
        with pytest.raises(BadRequestError, match=f"base URL.*{words}"):
            await backend.call(ASK)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([{"error": {"code": 400, "message": "Unknown name of a field"}}], "Unknown name of a field"),
        ({"detail": [{"loc": ["body"], "msg": "field required"}]}, "field required"),
        ({"errors": [{"title": "bad", "detail": "too many"}]}, "too many"),
        ({"error": {"error": {"message": "deep"}}}, "deep"),
        ({"error": {"message": {"detail": "deeper"}}}, "deeper"),
        (
            {"error": {"message": "Provider returned error", "metadata": {"raw": "no such thing"}}},
            "error: no such thing",
        ),
        ({"error_msg": "in Chinese clouds", "error_code": 17}, "in Chinese clouds"),
        ("plain words", "plain words"),
        ({"error": {"code": None, "message": "", "metadata": {"raw": "raw words"}}}, "raw words"),
        ({"unheard": "of"}, "unheard"),
    ],
)
async def test_a_refusal_of_any_shape_is_told_in_its_words(body: Any, words: str) -> None:
    async with openai(raw(json.dumps(body).encode(), status=400)) as (backend, _):
        with pytest.raises(BadRequestError, match=words):
            await backend.call(ASK)


@pytest.mark.parametrize("key", ["x", "1", "none", "test", "EMPTY"])
async def test_a_key_of_a_few_letters_masks_nothing(key: str) -> None:
    said = "maximum context length is 1; none of the test is EMPTY"
    async with openai_server(refusal(400, said)) as server:
        backend = OpenAIBackend(replace(settings(server, 0), key=key))
        with pytest.raises(ContextOverflowError, match=said):
            await backend.call(ASK)
        await backend.aclose()


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        *((reason, "length") for reason in ("MAX_TOKENS", "max_tokens", "Length", "model_length", "token_limit")),
        *((reason, "length") for reason in ("max-output-tokens", "maxTokens", "model_context_window_exceeded")),
        *((reason, "stop") for reason in ("STOP", "end_turn", "eos", "COMPLETE")),
        *((reason, "tool_calls") for reason in ("tool_use", "function_call", "TOOL_CALLS")),
        *((reason, "content_filter") for reason in ("SAFETY", "content-filter", "refusal")),
        ({"type": "length"}, "length"),
        ("novel", "unknown"),
    ],
)
async def test_reasons_to_end_are_understood_in_any_spelling(reason: Any, finish: str) -> None:
    streamed = stream(chunk({"content": "The answer is f"}), chunk({}, reason), data("[DONE]"))
    async with openai(streamed, completion("The answer is f", finish=reason)) as (backend, _):
        assert [(await backend.call(ASK)).finish for _ in range(2)] == [finish, finish]
    async with messages(anthropic.message(anthropic.text("The answer is f"), stop=reason)) as (claude, _):
        assert (await claude.call(ASK)).finish == finish


@pytest.mark.parametrize(("written", "finish"), [(63, "stop"), (64, "length"), (65, "length")])
async def test_a_reply_that_used_its_whole_cap_was_cut_off(written: int, finish: str) -> None:
    answer = completion("ok", usage={"prompt_tokens": 5, "completion_tokens": written})
    async with openai(answer) as (backend, _):
        assert (await backend.call(ASK)).finish == finish


@pytest.mark.parametrize(
    "usage", [{"prompt_tokens": "12", "completion_tokens": 3.0}, {"input_tokens": 12.0, "output_tokens": "3"}]
)
async def test_counts_are_read_as_they_are_written(usage: dict[str, Any]) -> None:
    places: tuple[Any, ...] = ({"usage": usage}, choice(usage=usage), {"x_groq": {"usage": usage}})
    for place in places:
        async with openai(raw(data(SAID, {**STOP, **place}, "[DONE]"), headers=EVENTS)) as (backend, _):
            counted = (await backend.call(ASK)).usage
            assert (counted.input_tokens, counted.output_tokens) == (12, 3)


LEGACY = {"content": None, "function_call": {"name": "execute_code", "arguments": '{"code": "print(1)"}'}}


async def test_a_function_call_of_old_is_a_call() -> None:
    halves = ({"name": "execute_code", "arguments": '{"code": '}, {"arguments": '"print(1)"}'})
    streamed = data(*(choice(delta={"function_call": half}) for half in halves), STOP)
    whole = json.dumps(choice(message=LEGACY, finish_reason="function_call")).encode()
    async with openai(raw(streamed, headers=EVENTS), raw(whole)) as (backend, _):
        for _ in range(2):
            [call] = (await backend.call(replace(ASK, tools=(EXECUTE_CODE,)))).tool_calls
            assert (call.name, json.loads(call.arguments)) == ("execute_code", {"code": "print(1)"})


BEGIN = {"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 4, "output_tokens": 1}}}
TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
MORE = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "The answer is 5."}}
ENDS = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3.0}}
LAST = {"type": "message_stop"}


def without(event: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in names}


@pytest.mark.parametrize(
    "body",
    [
        data(BEGIN, TEXT, MORE, ENDS, LAST, "[DONE]"),
        data(BEGIN, TEXT, MORE, ENDS, "[DONE]"),
        data(
            BEGIN, TEXT, MORE, ENDS, LAST, {"type": "content_block_delta", "index": 9, "delta": {"partial_json": "{"}}
        ),
        data({"type": "message_start", "message": None}, TEXT, MORE, ENDS, LAST),
        data({"type": "message_start", "message": {"content": None, "usage": {"input_tokens": 4.0}}}, TEXT, MORE, ENDS),
        data(BEGIN, without(TEXT, "index"), without(MORE, "index"), ENDS, LAST),
        data(BEGIN, {**TEXT, "content_block": {"text": ""}}, MORE, ENDS, LAST),
        data(BEGIN, MORE, ENDS, LAST),
        b"event: ping\ndata: {}\n\n" + data(BEGIN, TEXT, MORE, "null", {}, ENDS, LAST),
        b"".join(
            b"event: %s\n" % event["type"].encode() + data(without(event, "type"))
            for event in (BEGIN, TEXT, MORE, ENDS, LAST)
        ),
        json.dumps({"content": "The answer is 5.", "stop_reason": "end_turn"}).encode(),
        json.dumps({"content": [{"text": "The answer is 5."}], "usage": [], "stop_reason": "end_turn"}).encode(),
    ],
)
async def test_messages_are_read_whatever_proxies_make_of_them(body: bytes) -> None:
    async with messages(raw(body, headers=EVENTS)) as (backend, server):
        assert (await backend.call(ASK)).text == "The answer is 5."
        assert len(server.requests) == 1


@pytest.mark.parametrize("index", [lambda number: number, lambda number: 0, lambda number: None])
@pytest.mark.parametrize("later", [lambda number: number, lambda number: number + 9, lambda number: None])
async def test_blocks_are_told_apart_however_a_server_numbers_them(index: Any, later: Any) -> None:
    uses = [{"type": "tool_use", "id": f"c{number}", "name": "f", "input": {}} for number in (1, 2)]
    events = [BEGIN, TEXT, {**MORE, "index": None}]
    for number, use in enumerate(uses, 1):
        start = {"type": "content_block_start", "index": index(number), "content_block": use}
        events += [start, start]
        place = index(number) if index(1) == 0 else later(number)
        for half in ('{"x":', f"{number}}}"):
            events.append({"type": "content_block_delta", "index": place, "delta": {"partial_json": half}})
    async with messages(raw(data(*events, ENDS, LAST), headers=EVENTS)) as (backend, _):
        reply = await backend.call(ASK)
    assert reply.text == "The answer is 5."
    called = [(call.id, json.loads(call.arguments)) for call in reply.tool_calls]
    assert called == [("c1", {"x": 1}), ("c2", {"x": 2})]


async def test_the_input_of_a_tool_may_come_as_an_object() -> None:
    use = {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "a", "name": "f"}}
    given = {"type": "content_block_delta", "index": 0, "delta": {"partial_json": {"x": 1}}}
    async with messages(raw(data(BEGIN, use, given, ENDS, LAST), headers=EVENTS)) as (backend, _):
        [call] = (await backend.call(ASK)).tool_calls
        assert (call.id, call.name, json.loads(call.arguments)) == ("a", "f", {"x": 1})


@pytest.mark.parametrize(
    ("said", "before", "after"),
    [
        (
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            "max_tokens",
            "max_completion_tokens",
        ),
        ("Unknown field stream_options", "stream_options", None),
        ("System role not supported", "system", None),
        ("Unrecognized request argument supplied: reasoning_effort", "reasoning_effort", None),
    ],
)
async def test_a_request_is_written_otherwise_for_a_server_that_asks_for_it(
    said: str, before: str, after: str | None
) -> None:
    async with openai(refusal(400, said)) as (backend, server):
        asked = replace(ASK, effort="low")
        assert [(await backend.call(asked)).text for _ in range(2)] == ["ok", "ok"]
        first, *rest = [json.dumps(each.body) for each in server.requests]
    assert f'"{before}"' in first
    assert len(rest) == 2
    assert not any(f'"{before}"' in each for each in rest)
    assert all(f'"{after}"' in each for each in rest) == (after is not None)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "registry.ollama.ai/library/gemma3:4b does not support tools"),
        (400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
        (404, "No endpoints found that support tool use. To learn more"),
        (500, "tools param requires --jinja flag"),
        (400, "`tool calling` is not supported with this model"),
        (422, "Unrecognized request argument supplied: tools"),
        (400, "litellm.UnsupportedParamsError: groq does not support parameters: ['tools'], for model=m"),
        (400, "Function calling is not enabled for this model"),
    ],
)
async def test_that_a_model_takes_no_tools_is_told_and_remembered(status: int, said: str) -> None:
    async with openai(refusal(status, said)) as (backend, server):
        assert backend.traits("m").native_tools
        with pytest.raises(ToolsRefusedError, match="--dialect code"):
            await backend.call(replace(ASK, tools=(EXECUTE_CODE,)))
        assert not backend.traits("m").native_tools
        assert backend.traits("another").native_tools
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    "said",
    [
        "An assistant message with 'tool_calls' must be followed by tool messages",
        "Invalid schema for function 'execute_code': it is not an object",
        "Unknown parameter: 'messages[2].tool_calls'",
    ],
)
async def test_other_words_of_tools_do_not_refuse_them(said: str) -> None:
    async with openai(refusal(400, said)) as (backend, _):
        with pytest.raises(BadRequestError) as caught:
            await backend.call(replace(ASK, tools=(EXECUTE_CODE,)))
        assert type(caught.value) is BadRequestError
