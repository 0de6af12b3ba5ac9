"""What every backend that reaches a model must do, over each of them and against a real server; a new one joins by one
more subject. litellm is imported by the first test here that calls it, and by no other module's tests."""

from __future__ import annotations

import asyncio
import json
import traceback
from typing import Any

import pytest

from rlm.backends import provider
from rlm.backends.litellm.backend import _importing
from rlm.core.exceptions import (
    AuthenticationError,
    BackendConnectionError,
    BackendError,
    BadReplyError,
    BadRequestError,
    ContextOverflowError,
    QuotaExhaustedError,
    RateLimitError,
)
from rlm.core.types import Image, Message, ModelRequest, ModelTraits, ToolCall, ToolSpec
from tests.contract.model_backends import KEY, SUBJECTS, Sent, Subject, running
from tests.servers.faults import Answer, endless, flood, raw, reset, silent, stream, truncated
from tests.support.images import GIF, WEBP, jpeg, png

TOOL = ToolSpec(name="execute_code", description="Run", parameters={"type": "object", "properties": {}})


@pytest.fixture(autouse=True)
def key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """litellm takes keys from there and from nowhere else."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture(scope="session")
def litellm() -> None:
    """Wait for the import: it sets warning filters of its own, which end with the test that they were set in."""
    _importing().result()


@pytest.fixture(params=sorted(SUBJECTS))
def subject(request: pytest.FixtureRequest) -> Subject:
    if request.param.startswith("litellm"):
        request.getfixturevalue("litellm")
    return SUBJECTS[request.param]


@pytest.fixture(params=sorted(name for name, each in SUBJECTS.items() if each.streams))
def streaming(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param]


@pytest.fixture(params=sorted(name for name, each in SUBJECTS.items() if each.bounded))
def bounded(request: pytest.FixtureRequest) -> Subject:
    return SUBJECTS[request.param]


def ask(subject: Subject, prompt: str = "hi", **more: Any) -> ModelRequest:
    messages = (Message(role="user", content=prompt),)
    return ModelRequest(model=subject.model, messages=messages, max_output_tokens=64, **more)


async def failure(subject: Subject, answer: Answer, *, patience_s: float = 30.0) -> BackendError:
    async with running(subject, answer, patience_s=patience_s) as (backend, _):
        with pytest.raises(BackendError) as caught:
            await backend.call(ask(subject))
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return caught.value


async def test_a_call_gives_text_and_usage(subject: Subject) -> None:
    async with running(subject, subject.words.text("héllo\n\u2028 \U0001f600")) as (backend, _):
        reply = await backend.call(ask(subject))
    assert reply.text == "héllo\n\u2028 \U0001f600"
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (11, 7)
    assert reply.tool_calls == ()
    assert reply.finish == "stop"


async def test_the_output_cap_is_sent_and_a_reply_that_met_it_says_so(subject: Subject) -> None:
    async with running(subject, subject.words.cut_off) as (backend, server):
        reply = await backend.call(ask(subject))
        body = server.requests[0].body
    assert body.get("max_tokens") == 64
    assert (reply.text, reply.finish) == ("and then", "length")


async def test_a_tool_call_comes_in_and_its_result_goes_out(subject: Subject) -> None:
    call = ToolCall(id="call_7", name="execute_code", arguments='{"code": "1"}')
    asked = ask(subject, tools=(TOOL,))
    answers = (subject.words.call(call.id, call.name, call.arguments), subject.words.text("done"))
    async with running(subject, *answers) as (backend, server):
        reply = await backend.call(asked)
        assert reply.finish == "tool_calls"
        assert [(each.id, each.name) for each in reply.tool_calls] == [("call_7", "execute_code")]
        turn = Message(role="assistant", content="", tool_calls=reply.tool_calls)
        result = Message(role="tool", content="4", tool_call_id="call_7")
        again = ModelRequest(
            model=subject.model, messages=(*asked.messages, turn, result), max_output_tokens=64, tools=(TOOL,)
        )
        assert (await backend.call(again)).text == "done"
        assert "call_7" in str(server.requests[1].body)
        assert "execute_code" in str(server.requests[1].body["tools"])


async def test_a_schema_is_asked_for(subject: Subject) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    async with running(subject, subject.words.text('{"age": 3}')) as (backend, server):
        reply = await backend.call(ask(subject, response_schema=schema))
        assert "age" in str(server.requests[0].body)
    assert reply.text == '{"age": 3}'


@pytest.mark.parametrize("said", ["What are these?", "a\udc80b"])
async def test_images_arrive_whole_and_in_order_beside_the_text(subject: Subject, said: str) -> None:
    pictures = (png(3, 2), jpeg(4, 4), GIF, WEBP)
    message = Message(role="user", content=said, images=tuple(map(Image.of, pictures)))
    asked = ModelRequest(model=subject.model, messages=(message,), max_output_tokens=64)
    async with running(subject, subject.words.text("two")) as (backend, server):
        assert (await backend.call(asked)).text == "two"
        body = server.requests[0].body
    kinds = ("image/png", "image/jpeg", "image/gif", "image/webp")
    assert subject.words.images(body) == [Sent(*each) for each in zip(kinds, pictures, strict=True)]
    assert [part["text"] for part in body["messages"][0]["content"] if "text" in part] == [said.replace("\udc80", "?")]


async def test_lone_surrogates_are_sent_as_question_marks(subject: Subject) -> None:
    async with running(subject, subject.words.text("ok")) as (backend, server):
        await backend.call(ask(subject, "a\udc80b"))
        assert "a?b" in str(server.requests[0].body)


async def test_two_hundred_calls_at_once_get_each_its_own_answer(subject: Subject) -> None:
    async with running(subject) as (backend, server):
        server.default = subject.words.echo
        asks = [ask(subject, f"call {number}") for number in range(200)]
        replies = await asyncio.gather(*(backend.call(each) for each in asks))
    assert [reply.text for reply in replies] == [f"call {number}" for number in range(200)]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, AuthenticationError),
        (402, QuotaExhaustedError),
        (403, AuthenticationError),
        (404, BadRequestError),
        (400, BadRequestError),
        (413, ContextOverflowError),
        (429, RateLimitError),
        (500, BackendConnectionError),
        (503, BackendConnectionError),
        (529, BackendConnectionError),
    ],
)
async def test_a_refusal_is_the_error_of_its_status(subject: Subject, status: int, kind: type[BackendError]) -> None:
    error = await failure(subject, subject.words.refusal(status, f"no, not with {KEY}"))
    assert type(error) is kind
    assert error.status == status
    assert error.retryable == (kind in (RateLimitError, BackendConnectionError))


async def test_a_prompt_that_is_too_long_is_told_from_a_bad_request(subject: Subject) -> None:
    assert type(await failure(subject, subject.words.overflow)) is ContextOverflowError


async def test_no_credit_is_told_from_a_rate_limit(subject: Subject) -> None:
    error = await failure(subject, subject.words.quota)
    assert type(error) is QuotaExhaustedError
    assert not error.retryable


async def test_retry_after_is_heard(subject: Subject) -> None:
    error = await failure(subject, subject.words.refusal(429, "slow", headers={"Retry-After": "12"}))
    assert error.retry_after_s == 12.0


async def test_passing_faults_are_retried_and_lasting_ones_are_not(subject: Subject) -> None:
    faults = (subject.words.refusal(500), subject.words.refusal(429, headers={"Retry-After": "0"}), reset)
    async with running(subject, *faults, subject.words.text("at last"), retries=3) as (backend, server):
        assert (await backend.call(ask(subject))).text == "at last"
        assert len(server.requests) == 4
    async with running(subject, subject.words.refusal(401), retries=3) as (backend, server):
        with pytest.raises(AuthenticationError):
            await backend.call(ask(subject))
        assert len(server.requests) == 1


@pytest.mark.parametrize("fault", [reset, truncated, raw(b"{nonsense"), raw(b"{}"), raw(b"[" * 99_999)])
async def test_a_broken_answer_is_an_error_that_may_pass(subject: Subject, fault: Answer) -> None:
    error = await failure(subject, fault)
    assert type(error) in (BadReplyError, BackendConnectionError)


async def test_a_server_that_never_answers_is_left_in_time(subject: Subject) -> None:
    error = await failure(subject, silent, patience_s=0.3)
    assert type(error) is BackendConnectionError


async def test_a_reply_without_end_is_cut_off_by_its_size(bounded: Subject) -> None:
    error = await failure(bounded, flood(2**30))
    assert type(error) is BadReplyError
    assert "32 MB" in str(error)


async def test_cancellation_closes_the_connection(subject: Subject) -> None:
    async with running(subject, silent) as (backend, server):
        task = asyncio.create_task(backend.call(ask(subject)))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10):
            await server.hung_up.wait()


async def test_closing_twice_is_fine_and_traits_need_no_call(subject: Subject) -> None:
    async with running(subject, silent) as (backend, _):
        assert isinstance(backend.traits(subject.model), ModelTraits)
        await backend.aclose()
        await backend.aclose()


async def test_a_stream_may_be_cut_anywhere_by_the_network(streaming: Subject) -> None:
    words = streaming.words
    sent = (words.begun + words.more + words.end).replace("\n", "\r\n").encode()
    async with running(streaming, stream(*(bytes([byte]) for byte in sent))) as (backend, _):
        assert (await backend.call(ask(streaming))).text == "part"


async def test_a_stream_that_breaks_off_is_repeated_and_the_reply_has_its_own_usage(streaming: Subject) -> None:
    words = streaming.words
    async with running(streaming, stream(words.begun), words.text("whole"), retries=1) as (backend, server):
        reply = await backend.call(ask(streaming))
        assert len(server.requests) == 2
    assert (reply.text, reply.usage.input_tokens, reply.usage.output_tokens) == ("whole", 11, 7)


@pytest.mark.parametrize("end", ["eof", "abort", "hang"])
@pytest.mark.parametrize("begun", [True, False])
async def test_a_stream_that_breaks_off_may_be_billed(streaming: Subject, end: Any, begun: bool) -> None:
    said = streaming.words.begun if begun else ": hello\n\n"
    error = await failure(streaming, stream(said, end=end), patience_s=0.2)
    assert (error.billed, error.usage) == (True, None)


@pytest.mark.parametrize("fault", [reset, truncated, raw(b"{nonsense"), silent])
async def test_an_attempt_whose_fate_is_unknown_may_be_billed(subject: Subject, fault: Answer) -> None:
    assert (await failure(subject, fault, patience_s=0.2)).billed


@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
async def test_a_refusal_by_its_status_is_free(subject: Subject, status: int) -> None:
    assert not (await failure(subject, subject.words.refusal(status))).billed


@pytest.mark.parametrize("status", [502, 504])
async def test_what_a_gateway_lost_may_be_billed(subject: Subject, status: int) -> None:
    assert (await failure(subject, subject.words.refusal(status))).billed


@pytest.mark.parametrize("junk", ["data: {nonsense\n\n", "data: \xff\n\n", 'data: {"type": 3}\n\n', "data: []\n\n"])
async def test_an_event_that_is_no_event_is_a_bad_reply(streaming: Subject, junk: str) -> None:
    error = await failure(streaming, stream(streaming.words.begun, junk.encode("latin-1")))
    assert type(error) is BadReplyError


@pytest.mark.parametrize("begun", [True, False])
async def test_an_error_within_a_stream_is_the_error_it_says(streaming: Subject, begun: bool) -> None:
    said = 'data: {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}\n\n'
    error = await failure(streaming, stream(streaming.words.begun if begun else "", said))
    assert type(error) is BackendConnectionError
    assert "busy" in str(error)
    assert error.billed == begun


@pytest.mark.parametrize(("kind", "billed"), [("rate_limit_error", False), ("api_error", True), ("mystery", True)])
async def test_an_error_under_status_200_may_be_billed_unless_it_refuses(
    bounded: Subject, kind: str, billed: bool
) -> None:
    said = json.dumps({"type": "error", "error": {"type": kind, "message": "no"}})
    assert (await failure(bounded, raw(said.encode()))).billed == billed


async def test_silence_before_a_stream_and_within_it_ends_the_attempt(streaming: Subject) -> None:
    for answer, words in ((stream(end="hang"), "first_byte"), (stream(streaming.words.begun, end="hang"), "idle")):
        error = await failure(streaming, answer, patience_s=0.2)
        assert type(error) is BackendConnectionError
        assert words in str(error)


async def test_a_stream_without_end_is_cut_off(streaming: Subject) -> None:
    error = await failure(streaming, endless(b": ping\n\n" * 100_000))
    assert type(error) is BadReplyError
    assert "32 MB" in str(error)


async def test_a_stream_that_outgrows_its_grant_is_closed_and_what_came_is_the_reply(streaming: Subject) -> None:
    async with running(streaming, endless(streaming.words.more.encode() * 50)) as (backend, server):
        reply = await backend.call(ask(streaming))
        async with asyncio.timeout(10):
            await server.hung_up.wait()
    assert (reply.finish, set(reply.text)) == ("length", {"t"})
    assert reply.usage.output_tokens >= 64


async def test_a_reply_that_said_its_end_is_whole_when_the_stream_falls_silent(
    streaming: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "SILENCE_S", 0.05)
    words = streaming.words
    async with running(streaming, stream(words.begun, words.said_end, end="hang"), patience_s=20.0) as (
        backend,
        server,
    ):
        reply = await backend.call(ask(streaming))
        assert len(server.requests) == 1
    assert (reply.text, reply.finish) == ("par", "stop")


async def test_a_server_that_refuses_to_stream_is_asked_without(streaming: Subject) -> None:
    no = streaming.words.refusal(400, "stream is not supported for this model")
    async with running(streaming, no) as (backend, server):
        await backend.call(ask(streaming))
        await backend.call(ask(streaming))
        assert [bool(each.body.get("stream")) for each in server.requests] == [True, False, False]


async def test_a_reply_looks_the_same_streamed_and_whole(streaming: Subject) -> None:
    whole = SUBJECTS[next(name for name in SUBJECTS if SUBJECTS[name] is streaming).replace("streamed", "whole")]
    replies = []
    for each in (streaming, whole):
        async with running(each, each.words.call("call_7", "execute_code", '{"code": "é"}')) as (backend, _):
            replies.append(await backend.call(ask(each)))
    assert replies[0].usage == replies[1].usage
    assert replies[0].finish == replies[1].finish
    assert replies[0].tool_calls[0].id == replies[1].tool_calls[0].id
