"""What clients of OpenAI's wire send and get. Fields that a run has no use for pass unread; those without which clients
fail are always there.

Source: https://platform.openai.com/docs/api-reference.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from rlm.core.types import Json  # noqa: TC001 (msgspec reads it at run time)
from rlm.service.conversations import ChatMessage  # noqa: TC001 (as above)


class AskedModel(Struct, frozen=True, kw_only=True):
    """What every request of a model has."""

    model: str = "rlm"
    metadata: dict[str, str] | None = None
    stream: bool | None = False


class ChatRequest(AskedModel, frozen=True, kw_only=True):
    """A chat completion that is asked for."""

    messages: list[ChatMessage]
    stream_options: dict[str, Json] | None = None
    response_format: dict[str, Json] | None = None
    max_completion_tokens: int | None = None
    max_tokens: int | None = None


class ResponseRequest(AskedModel, frozen=True, kw_only=True):
    """A response that is asked for."""

    input: str | list[ChatMessage]
    instructions: str | None = None
    background: bool | None = False
    previous_response_id: str | None = None
    text: dict[str, Json] | None = None
    max_output_tokens: int | None = None


class ListedModel(Struct, frozen=True, kw_only=True):
    """A model, by its name."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str = "rlm"


class ModelList(Struct, frozen=True, kw_only=True):
    """Every model that a token may use."""

    data: list[ListedModel]
    object: Literal["list"] = "list"


class CachedTokens(Struct, frozen=True, kw_only=True):
    """How many of the tokens sent were in a cache of the provider."""

    cached_tokens: int


class ReasoningTokens(Struct, frozen=True, kw_only=True):
    """How many of the tokens written were reasoning."""

    reasoning_tokens: int = 0


class ChatUsage(Struct, frozen=True, kw_only=True):
    """The tokens of a chat completion, those of all model calls of its run."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens


class ChatReply(Struct, frozen=True, kw_only=True):
    """The message that answers a conversation."""

    content: str
    role: Literal["assistant"] = "assistant"
    refusal: None = None


class ChatChoice(Struct, frozen=True, kw_only=True):
    """The answer of a chat completion, of which there is one."""

    message: ChatReply
    finish_reason: Literal["stop", "length"]
    index: int = 0
    logprobs: None = None


class ChatCompletion(Struct, frozen=True, kw_only=True):
    """A conversation that was answered."""

    id: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: ChatUsage
    object: Literal["chat.completion"] = "chat.completion"


class ResponseText(Struct, frozen=True, kw_only=True):
    """The text of a message."""

    text: str
    type: Literal["output_text"] = "output_text"
    annotations: list[Json] = []


class ResponseMessage(Struct, frozen=True, kw_only=True):
    """A message that a response came to."""

    id: str
    content: list[ResponseText]
    type: Literal["message"] = "message"
    role: Literal["assistant"] = "assistant"
    status: Literal["completed"] = "completed"


class ResponseUsage(Struct, frozen=True, kw_only=True):
    """The tokens of a response, those of all model calls of its run."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: CachedTokens
    output_tokens_details: ReasoningTokens = ReasoningTokens()


class ResponseFault(Struct, frozen=True, kw_only=True):
    """Why a response failed."""

    message: str | None
    code: Literal["server_error"] = "server_error"


class IncompleteDetails(Struct, frozen=True, kw_only=True):
    """Why a response is not complete: its run reached a cap."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ModelResponse(Struct, frozen=True, kw_only=True):
    """A response, as it stands."""

    id: str
    created_at: int
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
    background: bool
    model: str
    output: list[ResponseMessage]
    usage: ResponseUsage | None = None
    error: ResponseFault | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: None = None
    metadata: dict[str, str] = {}
    object: Literal["response"] = "response"
    parallel_tool_calls: bool = False
    tool_choice: Literal["auto"] = "auto"
    tools: list[Json] = []
    temperature: None = None
    top_p: None = None


class OpenAIFault(Struct, frozen=True, kw_only=True):
    """What went wrong."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    code: str
    """The HTTP status."""
    param: None = None


class OpenAIError(Struct, frozen=True, kw_only=True):
    """An error, as OpenAI's clients read it."""

    error: OpenAIFault
