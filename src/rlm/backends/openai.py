"""Models over the OpenAI chat-completions API and every server that speaks it: vLLM, Ollama, llama.cpp, OpenRouter.
It sends the key to the configured host and nowhere else, and keeps no conversation."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rlm.backends.http_client import HttpClient
from rlm.backends.openai_errors import Refusal, read_refusal, read_refusal_in_reply, to_error
from rlm.backends.openai_wire import decode_reply, encode_request
from rlm.backends.retry import OnRetry, RetryPolicy, call_with_retries, ignore_retry
from rlm.core.exceptions import AuthenticationError, BackendError, BadReplyError
from rlm.core.types import ModelReply, ModelRequest, ModelTraits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.backends import BackendSetup

OPENAI_URL = "https://api.openai.com/v1"
_KEY = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAISettings:
    """Where and how an `OpenAIBackend` calls."""

    base_url: str = OPENAI_URL
    key: str | None = field(default=None, repr=False)
    timeout_s: float = 300.0
    """Of one attempt, to the last byte."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """For the proxy variables."""


class OpenAIBackend:
    """Calls `/chat/completions` below a base URL; a reply is read whole.

    Reasoning models (`o*`, `gpt-5` and later) are sent `max_completion_tokens` and no temperature, which they refuse;
    others `max_tokens`. Where a server reports no usage, it is estimated.
    """

    def __init__(self, settings: OpenAISettings, *, on_retry: OnRetry = ignore_retry) -> None:
        self._settings = settings
        self._on_retry = on_retry
        self._client = HttpClient(
            settings.base_url,
            key=settings.key,
            timeout_s=settings.timeout_s,
            environ=settings.environ,
        )

    @classmethod
    def from_setup(cls, setup: BackendSetup) -> OpenAIBackend:
        """Make the backend from configuration and environment.

        Raises:
            AuthenticationError: OpenAI's own API is meant and OPENAI_API_KEY isn't set, or holds no key.
            ConfigError: the base URL is none.
        """
        config = setup.config.openai
        base_url = config.base_url or setup.environ.get("OPENAI_BASE_URL") or OPENAI_URL
        settings = OpenAISettings(
            base_url=base_url,
            key=_read_key(setup.environ, needed=_is_openai(base_url)),
            timeout_s=config.request_timeout_s,
            retry=RetryPolicy(max_retries=config.max_retries),
            environ=setup.environ,
        )
        return cls(settings, on_retry=setup.on_retry)

    def traits(self, model: str) -> ModelTraits:  # noqa: ARG002 - prices come from the configuration
        return ModelTraits(native_tools=True)

    async def call(self, request: ModelRequest) -> ModelReply:
        body = encode_request(request)
        return await call_with_retries(lambda: self._attempt(request, body), self._settings.retry, self._on_retry)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _attempt(self, request: ModelRequest, body: bytes) -> ModelReply:
        reply = await self._client.post("/chat/completions", body)
        if reply.status != 200:
            raise self._error(read_refusal(reply), request)
        try:
            return decode_reply(reply.body, request)
        except BadReplyError as error:
            if refusal := read_refusal_in_reply(reply):
                raise self._error(refusal, request) from error
            raise BadReplyError(f"{self._client.host}: {error}", status=reply.status) from error

    def _error(self, refusal: Refusal, request: ModelRequest) -> BackendError:
        return to_error(refusal, host=self._client.host, model=request.model, key=self._settings.key)


def _is_openai(base_url: str) -> bool:
    return urlsplit(base_url).hostname == urlsplit(OPENAI_URL).hostname


def _read_key(environ: Mapping[str, str], *, needed: bool) -> str | None:
    key = environ.get("OPENAI_API_KEY", "").strip()
    if not key and needed:
        raise AuthenticationError("OPENAI_API_KEY is not set; set it, or set OPENAI_BASE_URL to a server without keys")
    if key and not _KEY.fullmatch(key):
        raise AuthenticationError("OPENAI_API_KEY holds characters that no key has, such as spaces or line breaks")
    return key or None
