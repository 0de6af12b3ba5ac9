"""Takes the messages of the harmony format apart, which gpt-oss speaks: what is in the channel `analysis` is a thought,
what goes to a recipient is a call of it, and the rest is said. Where there is a `final` message, it alone is.

Source: https://cookbook.openai.com/articles/openai-harmony
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rlm.core.dialects.scanning import Text
from rlm.core.types import ToolCall

_HEADER = re.compile(
    r"(?:<\|start\|>\s*(?P<role>\w*)(?:\s+to=(?P<early>[\w.-]+))?\s*)?"
    r"<\|channel\|>\s*(?P<channel>analysis|commentary|final)\b(?:\s+to=(?P<to>[\w.-]+))?"
    r"[^<\n]{0,80}(?:<\|constrain\|>[^<\n]{0,80})?<\|message\|>"
    r"|<\|start\|>\s*assistant\s*<\|message\|>"
)
_END = re.compile(r"<\|(?:end|call|return|start|channel)\|>")
_CONSUMED = re.compile(r"<\|(?:end|call|return)\|>\s*")
_STRIPPED = re.compile(r"\A(?:assistant)?analysis(?=[A-Z\s\"'])")
_STRIPPED_CALL = re.compile(r"\A(?:assistant)?(?=commentary\s+to=functions\.)")
"""The beginning of such a text whose special tokens a server has taken out."""
_STRIPPED_HEADER = re.compile(
    r"assistant(?P<channel>final|commentary|analysis)(?P<to>\s+to=[\w.-]+)?(?:\s*(?:json|code)(?=\s*[{\[]))?"
)
_CODE_TOOLS = frozenset({"python", "ipython", "code_interpreter"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Messages:
    """What a text in channels holds."""

    said: str
    calls: tuple[ToolCall, ...]
    closed: bool
    """Whether the last message was ended."""


def messages_in(text: str, code_tool: str) -> Messages | None:
    """The messages of a text; None where it has none. A call of the model's own Python tool is one of `code_tool`."""
    text = _restored(text)
    if "<|message|>" not in text:
        return None
    source, position = Text(text), 0
    first = source.next_said(_HEADER, 0)
    if first is None or text[: first.start()].strip():  # such a text begins so: elsewhere it is thought or quoted
        return None
    said, final, calls, closed = list[str](), list[str](), list[ToolCall](), True
    while (header := source.next_said(_HEADER, position)) is not None:
        said.append(text[position : header.start()])
        end = source.next_said(_END, header.end())
        body = text[header.end() : end.start() if end else len(text)]
        to, channel = header["to"] or header["early"], header["channel"]
        if to:
            calls.append(_call(to, body, code_tool))
        elif channel != "analysis":
            (final if channel == "final" else said).append(body)
        position, closed = _after(text, end), end is not None
    if position == 0:
        return None
    said.append(text[position:])
    return Messages(said="\n".join(final or said), calls=tuple(calls), closed=closed)


def _after(text: str, end: re.Match[str] | None) -> int:
    if end is None:
        return len(text)
    consumed = _CONSUMED.match(text, end.start())
    return end.start() if consumed is None else consumed.end()


def _call(to: str, body: str, code_tool: str) -> ToolCall:
    name = to.removeprefix("functions.")
    return ToolCall(id="", name=code_tool if name in _CODE_TOOLS else name, arguments=body.strip())


def _restored(text: str) -> str:
    """The text with the special tokens that a server took out, where what is left is clear enough."""
    if _STRIPPED_CALL.match(text):
        text = _STRIPPED_CALL.sub("assistant", text)
    elif _STRIPPED.match(text) and _STRIPPED_HEADER.search(text):
        text = _STRIPPED.sub("<|channel|>analysis<|message|>", text)
    else:
        return text
    return _STRIPPED_HEADER.sub(_header, text).removeprefix("<|end|>")


def _header(found: re.Match[str]) -> str:
    return f"<|end|><|start|>assistant<|channel|>{found['channel']}{found['to'] or ''}<|message|>"
