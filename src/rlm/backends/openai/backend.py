"""Models over the OpenAI chat-completions API and every server that speaks it: vLLM, Ollama, llama.cpp, OpenRouter.
It sends the key to the configured host and nowhere else, and keeps no conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.backends.openai.wire import OpenAIDraft, decode_reply, encode_request
from rlm.backends.provider import HttpBackend, ProviderSettings, settings_of
from rlm.backends.retry import OnRetry, ignore_retry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.backends import BackendSetup
    from rlm.core.types import ModelReply, ModelRequest


class OpenAIWire:
    """Chat completions; the base URL ends in `/v1` with most servers.

    Reasoning models (`o*`, `gpt-5` and later) are sent `max_completion_tokens` and no temperature, which they refuse;
    others `max_tokens`. Where a server reports no usage, it is estimated.
    """

    name = "openai"
    url = "https://api.openai.com/v1"
    path = "/chat/completions"

    def headers(self, key: str | None) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def encode(self, request: ModelRequest, *, stream: bool) -> bytes:
        return encode_request(request, stream=stream)

    def decode(self, body: bytes, request: ModelRequest) -> ModelReply:
        return decode_reply(body, request)

    def draft(self, request: ModelRequest) -> OpenAIDraft:
        return OpenAIDraft(request)


class OpenAIBackend(HttpBackend):
    """Calls `/chat/completions` below a base URL."""

    def __init__(self, settings: ProviderSettings, *, on_retry: OnRetry = ignore_retry) -> None:
        super().__init__(OpenAIWire(), settings, on_retry)

    @classmethod
    def from_setup(cls, setup: BackendSetup) -> OpenAIBackend:
        """Make the backend from configuration and environment.

        Raises:
            AuthenticationError: OpenAI's own API is meant and OPENAI_API_KEY isn't set, or isn't a key.
            ConfigError: the base URL isn't a URL.
        """
        settings = settings_of(OpenAIWire(), setup.config.openai, setup)
        return cls(settings, on_retry=setup.on_retry)
