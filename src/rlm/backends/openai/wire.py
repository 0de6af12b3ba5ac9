"""The OpenAI chat-completions wire, as its servers speak it: what goes out (`request`), what comes in (`reply`), and
the reasoning that has to go back with the calls it led to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.backends.openai.reply import OpenAIDraft, decode_reply
from rlm.backends.openai.request import FORMS, encode_request
from rlm.backends.reasoning import ReasoningMemory

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from rlm.core.types import ModelReply, ModelRequest


class OpenAIWire:
    """Chat completions; the base URL ends in `/v1` with most servers.

    Reasoning models (`o*`, `gpt-5` and later) are sent `max_completion_tokens` and no temperature, which they refuse;
    others `max_tokens`. Where a server reports no usage, it is estimated.
    """

    name = "openai"
    url = "https://api.openai.com/v1"
    path = "/chat/completions"
    models_path = "/models"
    forms = FORMS

    def __init__(self) -> None:
        self._memory = ReasoningMemory()

    def headers(self, key: str | None) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {key}"} if key else {}

    def encode(self, request: ModelRequest, *, stream: bool = False, forms: Set[str] = frozenset()) -> bytes:
        return encode_request(request, self._memory, stream=stream, forms=forms)

    def decode(self, body: bytes, request: ModelRequest) -> ModelReply:
        return decode_reply(body, request, self._memory)

    def draft(self, request: ModelRequest) -> OpenAIDraft:
        return OpenAIDraft(request, self._memory)
