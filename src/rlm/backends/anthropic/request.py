"""Writes requests for the Anthropic messages wire: the system prompt apart, turns that alternate, and marks where the
cache should end. It reads no reply. Source: https://platform.claude.com/docs/en/api/messages"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from rlm.backends.anthropic.schema import to_output_schema
from rlm.backends.json_text import encode
from rlm.backends.tool_calls import arguments_of, name_of, with_known_ids

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Set

    from rlm.backends.reasoning import ReasoningMemory
    from rlm.core.types import Image, Json, Message, ModelRequest, ToolSpec

EMPTY = "(empty)"
"""The text that stands in for an empty message, which the API refuses."""
NO_THINKING = "thinking"
"""The other form of a request: without the thinking that came before, for servers that don't know it as their own."""
NO_EFFORT = "effort"
"""The form without an effort."""
_EFFORTS = {"none": "low", "minimal": "low"}
"""What is nearest to an effort that Anthropic's models don't know."""
MARKED_MESSAGES = 2
"""How many of the user's last turns are marked: one ends what the last request cached, one what this request will."""

_Mark: TypeAlias = dict[str, str]
_MARK: _Mark = {"type": "ephemeral"}


class _Text(Struct, tag="text"):
    text: str
    cache_control: _Mark | UnsetType = UNSET


class _Image(Struct, tag="image"):
    source: dict[str, str]
    cache_control: _Mark | UnsetType = UNSET


class _ToolUse(Struct, tag="tool_use"):
    id: str
    name: str
    input: dict[str, Json]
    cache_control: _Mark | UnsetType = UNSET


class _ToolResult(Struct, tag="tool_result"):
    tool_use_id: str
    content: str
    cache_control: _Mark | UnsetType = UNSET


_Block: TypeAlias = _Text | _Image | _ToolUse | _ToolResult


class _Turn(Struct):
    role: str
    content: list[_Block | dict[str, Json]]


class _Tool(Struct):
    name: str
    description: str
    input_schema: Mapping[str, Json]


class _Request(Struct, omit_defaults=True):
    model: str
    messages: list[_Turn]
    max_tokens: int
    system: list[_Text] = []
    tools: list[_Tool] = []
    temperature: float | None = None
    output_config: dict[str, Json] | None = None
    stream: bool = False


def encode_request(
    request: ModelRequest, thinking: ReasoningMemory, *, stream: bool, prompt_cache: bool, forms: Set[str] = frozenset()
) -> bytes:
    """The body of a request, in some of its other forms. Lone surrogates, which JSON can't carry, become `?`."""
    request = replace(request, messages=tuple(with_known_ids(request.messages)))
    system = [_Text(message.content) for message in request.messages if message.role == "system" and message.content]
    turns = list(_turns(request, thinking))
    if prompt_cache and system:  # a request without a system prompt is a single question, and nothing follows it
        _mark(system, turns)
    body = _Request(
        model=request.model,
        messages=turns,
        max_tokens=request.max_output_tokens,
        system=system,
        tools=[_to_tool(tool) for tool in request.tools],
        temperature=request.temperature,
        output_config=_to_output_config(request, forms),
        stream=stream,
    )
    return encode(body)


def _turns(request: ModelRequest, thinking: ReasoningMemory) -> Iterator[_Turn]:
    """The messages as turns: neighbours of one role are one turn, and the results of tools come first in theirs."""
    turn: _Turn | None = None
    for position, message in enumerate(request.messages):
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if turn is not None and turn.role != role:
            yield _complete(turn)
            turn = None
        turn = turn or _Turn(role, [])
        turn.content += thinking.before(request, position)
        turn.content += _blocks(message)
    if turn is not None:
        yield _complete(turn)


def _complete(turn: _Turn) -> _Turn:
    if turn.role == "user":
        turn.content.sort(key=lambda block: not isinstance(block, _ToolResult))
    return turn if turn.content else _Turn(turn.role, [_Text(EMPTY)])


def _blocks(message: Message) -> Iterator[_Block]:
    """The content of a message; images come before the text, where Anthropic's models read them best."""
    yield from map(_to_image, message.images)
    if message.role == "tool":
        yield _ToolResult(message.tool_call_id or "", message.content)
    elif message.content.strip():
        yield _Text(message.content)
    for call in message.tool_calls:
        yield _ToolUse(call.id, name_of(call), arguments_of(call))


def _to_image(image: Image) -> _Image:
    return _Image({"type": "base64", "media_type": image.media_type, "data": b64encode(image.data).decode("ascii")})


def _mark(system: list[_Text], turns: list[_Turn]) -> None:
    """Mark the end of the system prompt, which covers the tools before it, and of the user's last turns."""
    system[-1].cache_control = _MARK
    for turn in [turn for turn in turns if turn.role == "user"][-MARKED_MESSAGES:]:
        last = turn.content[-1]
        if not isinstance(last, dict):
            last.cache_control = _MARK


def _to_tool(tool: ToolSpec) -> _Tool:
    return _Tool(tool.name, tool.description, tool.parameters)


def _to_output_config(request: ModelRequest, forms: Set[str]) -> dict[str, Json] | None:
    schema = None if request.response_schema is None else to_output_schema(request.response_schema)
    config: dict[str, Json] = {} if schema is None else {"format": {"type": "json_schema", "schema": schema}}
    if request.effort is not None and NO_EFFORT not in forms:
        config["effort"] = _EFFORTS.get(request.effort, request.effort)
    return config or None
