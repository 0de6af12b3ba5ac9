"""The backends that reach a model over HTTP, each against a real server that speaks its wire: what the contract tests
need to know of a wire, and nothing else."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from rlm.backends.anthropic.backend import AnthropicBackend
from rlm.backends.http_client import Timeouts
from rlm.backends.litellm.backend import LiteLLMBackend
from rlm.backends.openai.backend import OpenAIBackend
from rlm.backends.provider import ProviderSettings
from rlm.backends.retry import RetryPolicy
from rlm.core.config import LiteLLMConfig
from tests.servers import anthropic_server, openai_server
from tests.servers.faults import Answer, WireServer, event

if TYPE_CHECKING:
    from rlm.core.interfaces import Backend

KEY = "sk-proj-Zm9vYmFyYmF6cXV4"
Maker: TypeAlias = Callable[[WireServer, int, float], "Backend"]
"""A backend for a server, with so many retries and so many seconds' patience."""


@dataclass(frozen=True, slots=True)
class Sent:
    """An image on the wire."""

    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Answers of one wire."""

    serve: Callable[..., AbstractAsyncContextManager[WireServer]]
    echo: Answer
    text: Callable[[str], Answer]
    call: Callable[[str, str, str], Answer]
    """A tool call: its id, its name, its arguments as JSON."""
    cut_off: Answer
    """A reply that reached its output cap."""
    refusal: Callable[..., Answer]
    overflow: Answer
    quota: Answer
    images: Callable[[Mapping[str, Any]], list[Sent]]
    """Those in the last message of a request, as they arrived."""
    begun: str
    """The beginning of a stream, of a reply that says `par`."""
    more: str
    """One more event of it, that says `t`."""
    said_end: str
    """The event by which it says that it ends, which isn't the last."""
    end: str
    """Its last events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One way to call a model."""

    words: Words
    make: Maker
    streams: bool
    model: str = "m"
    bounded: bool = True
    """The size of a reply is."""


@asynccontextmanager
async def running(subject: Subject, *plan: Answer, retries: int = 0, patience_s: float = 30.0) -> AsyncIterator[Any]:
    """A backend and the server it calls."""
    async with subject.words.serve(*plan) as server:
        backend = subject.make(server, retries, patience_s)
        try:
            yield backend, server
        finally:
            await backend.aclose()


def _settings(server: WireServer, retries: int, patience_s: float, *, stream: bool) -> ProviderSettings:
    return ProviderSettings(
        base_url=server.base_url,
        key=KEY,
        stream=stream,
        timeouts=Timeouts(total_s=max(patience_s, 1.0), first_byte_s=patience_s, idle_s=patience_s),
        retry=RetryPolicy(max_retries=retries, base_s=0.0),
    )


def _openai(*, stream: bool) -> Maker:
    return lambda server, retries, patience_s: OpenAIBackend(_settings(server, retries, patience_s, stream=stream))


def _anthropic(*, stream: bool) -> Maker:
    return lambda server, retries, patience_s: AnthropicBackend(_settings(server, retries, patience_s, stream=stream))


def _litellm(server: WireServer, retries: int, patience_s: float) -> Backend:
    config = LiteLLMConfig(base_url=server.base_url, request_timeout_s=patience_s)
    return LiteLLMBackend(config, retry=RetryPolicy(max_retries=retries, base_s=0.0))


def _openai_words(*, stream: bool) -> Words:
    wire = openai_server
    answer = wire.streamed if stream else wire.completion
    return Words(
        serve=wire.openai_server,
        echo=wire.echo,
        text=answer,
        call=lambda call_id, name, arguments: answer(
            None, calls=[wire.wire_call(name, arguments, call_id)], finish="tool_calls"
        ),
        cut_off=answer("and then", finish="length"),
        refusal=wire.refusal,
        overflow=wire.refusal(400, "too long", code="context_length_exceeded"),
        quota=wire.refusal(429, "over", code="insufficient_quota"),
        images=_openai_images,
        begun=wire.chunk({"role": "assistant", "content": "par"}),
        more=wire.chunk({"content": "t"}),
        said_end=wire.chunk({}, "stop"),
        end=wire.chunk({}, "stop") + wire.DONE,
    )


def _anthropic_words(*, stream: bool) -> Words:
    wire = anthropic_server
    answer = wire.streamed if stream else wire.message
    block = event({"type": "content_block_start", "index": 0, "content_block": wire.text("")})
    return Words(
        serve=wire.anthropic_server,
        echo=wire.echo,
        text=lambda said: answer(wire.text(said)),
        call=lambda call_id, name, arguments: answer(
            wire.tool_use(name, wire.json.loads(arguments), call_id), stop="tool_use"
        ),
        cut_off=answer(wire.text("and then"), stop="max_tokens"),
        refusal=wire.refusal,
        overflow=wire.refusal(400, "prompt is too long: 210000 tokens > 200000 maximum"),
        quota=wire.refusal(400, "Your credit balance is too low to access the Anthropic API"),
        images=_anthropic_images,
        begun=wire.start() + block + wire.delta(0, text="par"),
        more=wire.delta(0, text="t"),
        said_end=event({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}),
        end=wire.STOP,
    )


def _openai_images(body: Mapping[str, Any]) -> list[Sent]:
    parts = body["messages"][-1]["content"]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    split = [url.removeprefix("data:").split(";base64,") for url in urls]
    return [Sent(media_type, b64decode(data, validate=True)) for media_type, data in split]


def _anthropic_images(body: Mapping[str, Any]) -> list[Sent]:
    sources = [block["source"] for block in body["messages"][-1]["content"] if block["type"] == "image"]
    return [Sent(source["media_type"], b64decode(source["data"], validate=True)) for source in sources]


SUBJECTS = {
    "anthropic streamed": Subject(words=_anthropic_words(stream=True), make=_anthropic(stream=True), streams=True),
    "anthropic whole": Subject(words=_anthropic_words(stream=False), make=_anthropic(stream=False), streams=False),
    "litellm hosted_vllm": Subject(
        words=_openai_words(stream=False), make=_litellm, streams=False, model="hosted_vllm/m", bounded=False
    ),
    "litellm openai": Subject(
        words=_openai_words(stream=False), make=_litellm, streams=False, model="openai/m", bounded=False
    ),
    "openai streamed": Subject(words=_openai_words(stream=True), make=_openai(stream=True), streams=True),
    "openai whole": Subject(words=_openai_words(stream=False), make=_openai(stream=False), streams=False),
}
