"""Reads tool calls that a model wrote into its text, in the markup of whatever it was trained on. Only finds the name
and the arguments; whether they are any good, and whether the tool may be called so, is judged elsewhere.

Understood are a JSON object with a name and arguments, `<function=name>` or `<invoke name="name">` around parameters or
JSON, and `<execute_code>` around code.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from rlm.core.dialects.fences import MarkedCall, marked_call
from rlm.core.types import ToolCall

if TYPE_CHECKING:
    from rlm.core.dialects.fences import Passages

_PARAMETER = re.compile(r"""<parameter(?:=| name=)["']?(\w+)["']?>""")
_NAME = re.compile(r""""name"\s*:\s*"([\w.-]+)\"""")
_ARGUMENTS = re.compile(r""""(?:arguments|parameters)"\s*:\s*""")
_END = "</parameter>"
_WRAPPERS = ("tool_call", "function_call")
_DATA = frozenset({"json", "tool_call", "tool_calls", ""})


def calls_in(passages: Passages, tool: str) -> list[ToolCall]:
    """The calls that a text makes by markup; where there is none, those to `tool` in bare JSON or in a JSON fence."""
    if passages.calls:
        return [_call(each) for each in passages.calls]
    bodies = [fence.code for fence in passages.fences if fence.language in _DATA] or [passages.prose]
    calls = [_json_call(body) for body in bodies if body.lstrip().startswith("{") and f'"{tool}"' in body]
    return [call for call in calls if call.name == tool]


def _call(marked: MarkedCall) -> ToolCall:
    if marked.tag in _WRAPPERS:
        inner = marked_call(marked.body)
        return _json_call(marked.body) if inner is None or inner.tag in _WRAPPERS else _call(inner)
    name = marked.name or marked.tag
    return ToolCall(id="", name=name, arguments=_parameters(marked.body) or marked.body.strip("\n"))


def _parameters(body: str) -> str | None:
    """The parameters between tags, as JSON."""
    openings = list(_PARAMETER.finditer(body))
    if not openings:
        return None
    ends = [*(opening.start() for opening in openings[1:]), len(body)]
    values = {
        opening[1]: body[opening.end() : end].rpartition(_END)[0] or body[opening.end() : end]
        for opening, end in zip(openings, ends, strict=True)
    }
    return json.dumps({name: value.strip("\n") for name, value in values.items()})


def _json_call(text: str) -> ToolCall:
    """The call in `{"name": ..., "arguments": ...}`, by its parts where the whole is broken JSON."""
    try:
        whole = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return _broken_call(text)
    if not isinstance(whole, dict):
        return ToolCall(id="", name="", arguments="")
    arguments = whole.get("arguments", whole.get("parameters", {}))
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return ToolCall(id="", name=str(whole.get("name", "")), arguments=written)


def _broken_call(text: str) -> ToolCall:
    name, arguments = _NAME.search(text), _ARGUMENTS.search(text)
    rest = text[arguments.end() :].rstrip().removesuffix("}") if arguments else ""
    return ToolCall(id="", name=name[1] if name else "", arguments=rest.rstrip())
