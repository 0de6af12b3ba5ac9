"""The Anthropic messages wire: what goes out (`request`), what comes in (`reply`), and the thinking that has to go back
with the calls it led to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rlm.backends.anthropic.reply import AnthropicDraft, decode_reply
from rlm.backends.anthropic.request import NO_EFFORT, NO_THINKING, encode_request
from rlm.backends.reasoning import ReasoningMemory

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from rlm.core.types import ModelReply, ModelRequest

VERSION = "2023-06-01"


class AnthropicWire:
    """Messages; the base URL ends before `/v1`, and may end in it.

    A response schema is sent as `output_config`, since models that always think refuse to be forced to call a tool.
    Thinking that came with tool calls goes back with them. Where a server reports no usage, it is estimated.
    """

    name = "anthropic"
    url = "https://api.anthropic.com"
    path = "/v1/messages"
    models_path = "/v1/models?limit=1000"
    forms: Mapping[str, re.Pattern[str]] = {
        NO_EFFORT: re.compile(r"effort", re.IGNORECASE),
        NO_THINKING: re.compile(r"thinking|signature", re.IGNORECASE),
    }

    def __init__(self, *, prompt_cache: bool = True) -> None:
        self._prompt_cache = prompt_cache
        self._memory = ReasoningMemory()

    def headers(self, key: str | None) -> Mapping[str, str]:
        return {"anthropic-version": VERSION, **({"x-api-key": key} if key else {})}

    def encode(self, request: ModelRequest, *, stream: bool = False, forms: Set[str] = frozenset()) -> bytes:
        memory = ReasoningMemory() if NO_THINKING in forms else self._memory
        return encode_request(request, memory, stream=stream, prompt_cache=self._prompt_cache, forms=forms)

    def decode(self, body: bytes, request: ModelRequest) -> ModelReply:
        return decode_reply(body, request, self._memory)

    def draft(self, request: ModelRequest) -> AnthropicDraft:
        return AnthropicDraft(request, self._memory)
