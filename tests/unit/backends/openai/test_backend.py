"""The OpenAI backend against a real local server, fault by fault."""

from __future__ import annotations

import asyncio
import gzip
import json
import traceback
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import pytest

from rlm.backends import BackendSetup
from rlm.backends.http_client import Timeouts
from rlm.backends.openai.backend import OpenAIBackend
from rlm.backends.provider import ProviderSettings
from rlm.backends.retry import RetryPolicy
from rlm.core.config import Config, ProviderConfig
from rlm.core.exceptions import (
    AuthenticationError,
    BackendConnectionError,
    BackendError,
    BadReplyError,
    BadRequestError,
    ConfigError,
    ContextOverflowError,
    QuotaExhaustedError,
    RateLimitError,
)
from rlm.core.types import Message, ModelRequest, TokenUsage, ToolCall
from tests.servers.faults import (
    Answer,
    WireServer,
    flood,
    not_http,
    raw,
    reset,
    silent,
    together,
    truncated,
)
from tests.servers.openai_server import completion, echo, echo_key, openai_server, refusal, wire_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = "sk-proj-Zm9vYmFyYmF6cXV4"
ASK = ModelRequest(model="m", messages=(Message(role="user", content="hi"),), max_output_tokens=64)


@asynccontextmanager
async def backend_for(server: WireServer, *, retries: int = 0, timeout_s: float = 30.0) -> AsyncIterator[OpenAIBackend]:
    policy = RetryPolicy(max_retries=retries, base_s=0.0)
    backend = OpenAIBackend(
        ProviderSettings(
            base_url=server.base_url, key=KEY, timeouts=Timeouts(first_byte_s=timeout_s, idle_s=timeout_s), retry=policy
        ),
        on_retry=lambda *_: None,
    )
    yield backend
    await backend.aclose()


async def failure(answer: Answer, *, timeout_s: float = 30.0) -> BackendError:
    async with openai_server(answer) as server, backend_for(server, timeout_s=timeout_s) as backend:
        with pytest.raises(BackendError) as caught:
            await backend.call(ASK)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    return caught.value


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refusal(401, f"Incorrect API key: {KEY}"), AuthenticationError, "check OPENAI_API_KEY"),
        (refusal(403, "Country not supported"), AuthenticationError, "Country not supported"),
        (refusal(404, "model not found"), BadRequestError, "no model 'm'.*base URL"),
        (refusal(400, "bad parameter"), BadRequestError, "bad parameter"),
        (refusal(400, "too long", code="context_length_exceeded"), ContextOverflowError, "window"),
        (refusal(400, "This model's maximum context length is 10 tokens"), ContextOverflowError, "window"),
        (refusal(413, "large"), ContextOverflowError, "window"),
        (refusal(402, "pay"), QuotaExhaustedError, "billing"),
        (refusal(429, "over", code="insufficient_quota"), QuotaExhaustedError, "billing"),
        (refusal(429, "slow down"), RateLimitError, "rate limit"),
        (refusal(500), BackendConnectionError, "failed"),
        (refusal(503), BackendConnectionError, "overloaded"),
        (refusal(408), BackendConnectionError, "failed"),
        (raw(b"<html>Bad gateway", status=502), BackendConnectionError, "failed"),
        (raw(b'{"error": "model is required"}', status=400), BadRequestError, "model is required"),
        (raw(b'{"detail": [{"msg": "too deep"}]}', status=422), BadRequestError, "too deep"),
        (raw(b"[" * 99_999, status=418), BadRequestError, "refused"),
        (raw(b'{"error": {"code": 429, "message": "busy upstream"}}'), RateLimitError, "busy upstream"),
        (raw(b'{"error": {"code": "odd", "message": "upstream"}}'), BackendConnectionError, "upstream"),
        (raw(b"{nonsense"), BadReplyError, "isn't a chat completion"),
        (raw(b'{"choices": [{"message": {"content": 3}}]}'), BadReplyError, "isn't a chat completion"),
        (raw(b"", status=204), BadRequestError, "refused"),
        (raw(b"plain", headers={"Content-Encoding": "gzip"}), BadReplyError, "cut short|not HTTP"),
        (truncated, BadReplyError, "cut short"),
        (reset, BackendConnectionError, "127.0.0.1"),
        (not_http(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), BadReplyError, "not HTTP"),
        (not_http(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000 + b"\r\n\r\n"), BadReplyError, "not HTTP"),
        (flood(64 * 2**20), BadReplyError, "larger than 32 MB"),
        (
            raw(gzip.compress(b" " * 64 * 2**20), headers={"Content-Encoding": "gzip"}),
            BadReplyError,
            "larger than 32 MB",
        ),
    ],
)
async def test_a_fault_becomes_the_error_that_says_what_to_do(
    answer: Answer, kind: type[BackendError], words: str
) -> None:
    error = await failure(answer)
    assert type(error) is kind
    assert error.exit_code == 4
    with pytest.raises(kind, match=words):
        raise error


async def test_a_server_that_never_answers_is_left_in_time() -> None:
    error = await failure(silent, timeout_s=0.1)
    assert type(error) is BackendConnectionError
    assert "within 0.1 s" in str(error)


async def test_a_closed_port_is_a_connection_error() -> None:
    async with openai_server() as server:
        pass
    async with backend_for(server) as backend:
        with pytest.raises(BackendConnectionError, match=r"127\.0\.0\.1"):
            await backend.call(ASK)


async def test_an_echoed_key_is_masked() -> None:
    error = await failure(echo_key)
    assert "[masked]" in str(error)


async def test_redirects_are_not_followed() -> None:
    async with openai_server() as other:
        location = f"{other.base_url}/chat/completions"
        for status in (301, 302, 307, 308):
            error = await failure(raw(b"", status=status, headers={"Location": location}))
            assert type(error) is BadRequestError
            assert "not followed" in str(error)
        assert other.requests == []


@pytest.mark.parametrize("fault", [refusal(500), refusal(429, headers={"Retry-After": "0"}), reset, truncated])
async def test_passing_faults_are_retried(fault: Answer) -> None:
    async with openai_server(fault, fault, completion("at last")) as server, backend_for(server, retries=2) as backend:
        assert (await backend.call(ASK)).text == "at last"
        assert len(server.requests) == 3
        assert server.requests[0].body == server.requests[2].body


@pytest.mark.parametrize("fault", [refusal(401), refusal(404), refusal(429, code="insufficient_quota")])
async def test_lasting_faults_are_not_retried(fault: Answer) -> None:
    async with openai_server(fault) as server, backend_for(server, retries=3) as backend:
        with pytest.raises(BackendError):
            await backend.call(ASK)
        assert len(server.requests) == 1


async def test_retry_after_is_read_as_seconds_and_as_date() -> None:
    assert (await failure(refusal(429, headers={"Retry-After": "12"}))).retry_after_s == 12.0
    soon = format_datetime(datetime.now(UTC) + timedelta(minutes=10), usegmt=True)
    waited_s = (await failure(refusal(503, headers={"Retry-After": soon}))).retry_after_s
    assert waited_s is not None
    assert 500 < waited_s <= 600


async def test_the_request_carries_key_and_path_and_nothing_of_earlier_replies() -> None:
    cookie = {"Set-Cookie": "a=b", "Content-Type": "application/json"}
    async with openai_server(raw(b"{}", status=400, headers=cookie)) as server, backend_for(server) as backend:
        with pytest.raises(BadRequestError):
            await backend.call(ASK)
        await backend.call(ASK)
        assert server.requests[1].headers["Authorization"] == f"Bearer {KEY}"
        assert server.requests[1].path == "/v1/chat/completions"
        assert "Cookie" not in server.requests[1].headers


async def test_tool_calls_usage_and_finish_are_read() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 64}}
    arguments = json.dumps({"code": "1"})
    answer = completion(None, calls=[wire_call("execute_code", arguments)], usage=usage, finish="tool_calls")
    async with openai_server(answer) as server, backend_for(server) as backend:
        reply = await backend.call(ASK)
    assert reply.tool_calls == (ToolCall(id="call_a", name="execute_code", arguments=arguments),)
    assert reply.usage == TokenUsage(input_tokens=100, output_tokens=3, cached_tokens=64)
    assert reply.finish == "tool_calls"


async def test_two_hundred_requests_are_in_flight_at_one_time() -> None:
    async with openai_server() as server, backend_for(server) as backend:
        server.default = together(200, echo)
        async with asyncio.timeout(30):
            replies = await asyncio.gather(*(backend.call(ASK) for _ in range(200)))
    assert len(replies) == 200


async def test_cancellation_closes_the_connection() -> None:
    async with openai_server(silent) as server, backend_for(server) as backend:
        task = asyncio.create_task(backend.call(ASK))
        await server.arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10):
            await server.hung_up.wait()


async def test_on_retry_hears_of_each_failed_attempt() -> None:
    heard: list[tuple[int | None, int]] = []
    async with openai_server(refusal(500), refusal(503)) as server:
        settings = ProviderSettings(base_url=server.base_url, retry=RetryPolicy(base_s=0.0))
        backend = OpenAIBackend(settings, on_retry=lambda error, _wait, attempt: heard.append((error.status, attempt)))
        await backend.call(ASK)
        await backend.aclose()
    assert heard == [(500, 1), (503, 2)]


def setup(environ: dict[str, str], base_url: str | None = None) -> BackendSetup:
    return BackendSetup(config=Config(openai=ProviderConfig(base_url=base_url)), environ=environ)


@pytest.mark.parametrize(
    "environ",
    [{}, {"OPENAI_API_KEY": "  "}, {"OPENAI_API_KEY": "two words"}, {"OPENAI_BASE_URL": "https://api.openai.com/v1/"}],
)
def test_openai_itself_needs_a_key(environ: dict[str, str]) -> None:
    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
        OpenAIBackend.from_setup(setup(environ))


async def test_other_servers_need_no_key_and_get_none() -> None:
    async with openai_server() as server:
        backend = OpenAIBackend.from_setup(setup({"OPENAI_BASE_URL": server.base_url + "/"}))
        await backend.call(ASK)
        await backend.aclose()
        assert "Authorization" not in server.requests[0].headers


async def test_the_configured_address_wins_over_the_environment() -> None:
    async with openai_server() as server:
        backend = OpenAIBackend.from_setup(setup({"OPENAI_BASE_URL": "http://127.0.0.1:9/"}, server.base_url))
        assert (await backend.call(ASK)).text == "ok"
        await backend.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "localhost:11434/v1",
        "ftp://host/v1",
        "http://",
        "https://u:pass@host/v1",
        "https://h/v1?key=a",
        "http://h:99999/",
    ],
)
def test_a_base_url_that_is_none_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url") as caught:
        OpenAIBackend.from_setup(setup({"OPENAI_API_KEY": KEY}, url))
    assert "pass" not in str(caught.value)
