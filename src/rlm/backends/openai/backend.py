"""Models over the OpenAI chat-completions API and every server that speaks it: vLLM, Ollama, llama.cpp, OpenRouter.
It sends the key to the configured host and nowhere else; of a conversation it keeps the opaque reasoning between tool
calls, and nothing that was said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.backends.openai.wire import OpenAIWire
from rlm.backends.provider import HttpBackend, ProviderSettings, settings_of
from rlm.backends.retry import OnRetry, ignore_retry

if TYPE_CHECKING:
    from rlm.backends import BackendSetup


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
