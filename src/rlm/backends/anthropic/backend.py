"""Models over the Anthropic messages API. It sends the key to the configured host and nowhere else; of a conversation
it keeps the opaque thinking between tool calls, and nothing that was said."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rlm.backends.anthropic.wire import AnthropicWire
from rlm.backends.provider import HttpBackend, ProviderSettings, settings_of
from rlm.backends.retry import OnRetry, ignore_retry

if TYPE_CHECKING:
    from rlm.backends import BackendSetup


class AnthropicBackend(HttpBackend):
    """Calls `/v1/messages` below a base URL."""

    def __init__(self, settings: ProviderSettings, *, on_retry: OnRetry = ignore_retry) -> None:
        base_url = settings.base_url and settings.base_url.rstrip("/").removesuffix("/v1")  # the path has it
        wire = AnthropicWire(prompt_cache=settings.prompt_cache)
        super().__init__(wire, replace(settings, base_url=base_url), on_retry)

    @classmethod
    def from_setup(cls, setup: BackendSetup) -> AnthropicBackend:
        """Make the backend from configuration and environment.

        Raises:
            AuthenticationError: Anthropic's own API is meant and ANTHROPIC_API_KEY isn't set, or isn't a key.
            ConfigError: the base URL isn't a URL.
        """
        settings = settings_of(AnthropicWire(), setup.config.anthropic, setup)
        return cls(settings, on_retry=setup.on_retry)
