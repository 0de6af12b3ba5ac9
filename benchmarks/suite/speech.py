"""How a well-behaved model puts an intent into words, in either dialect."""

from __future__ import annotations

import json
from typing import Literal, TypeAlias

from benchmarks.suite.policy import Intent
from rlm.backends.scripted import tool_call
from rlm.core.types import ModelReply, TokenUsage, ToolCall

DialectName: TypeAlias = Literal["tools", "code"]

USAGE = TokenUsage(input_tokens=500, output_tokens=50)


def proper(intent: Intent, dialect: DialectName) -> ModelReply:
    """The reply that the prompt asks for; where no code may run any more, the answer as text."""
    if not intent.code:
        return text(intent.answer)
    if dialect == "code":
        return text(f"{intent.thought}\n\n{fence(intent.code)}")
    return calling(intent.thought, called(intent.code))


def text(words: str) -> ModelReply:
    return ModelReply(text=words, usage=USAGE)


def calling(words: str, *calls: ToolCall) -> ModelReply:
    return ModelReply(text=words, tool_calls=calls, usage=USAGE, finish="tool_calls")


def called(code: str) -> ToolCall:
    return tool_call("execute_code", code=code)


def called_with(arguments: str, name: str = "execute_code") -> ToolCall:
    """A call whose arguments are any text."""
    return ToolCall(id=tool_call(name).id, name=name, arguments=arguments)


def fence(code: str, language: str = "repl") -> str:
    return f"```{language}\n{code}\n```"


def as_json(code: str) -> str:
    return json.dumps({"code": code})


def several(intent: Intent, dialect: DialectName, *codes: str) -> ModelReply:
    """Each of `codes` as a cell of its own."""
    if dialect == "code":
        return text(intent.thought + "\n\n" + "\n\nthen\n\n".join(map(fence, codes)))
    return calling(intent.thought, *map(called, codes))
