"""Reads tool calls that a model wrote into its text, in the markup of whatever it was trained on (`families`). Only
finds the name and the arguments; whether they are any good, and whether the tool may be called so, is judged elsewhere.

The rules:
- What opens a call counts outside of backticks and quotation marks, at the beginning of a line or anywhere, if what
  follows it can be a call: JSON, `name` with arguments, elements, a line break.
- JSON ends where JSON ends, whatever stands in its strings; anything else at a closing tag after which the line ends or
  another tag follows, else at the first, else at the end of the text.
- What opens like a call and can't be read is one without a name: it is never an answer.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from rlm.core.dialects import codelike
from rlm.core.dialects.families import CALLS, ENDS, either
from rlm.core.dialects.passages import Fence, Taken
from rlm.core.dialects.scanning import Text, compiled
from rlm.core.types import ToolCall

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rlm.core.dialects.passages import Passages
    from rlm.core.types import Json

CODE_TOOL = "execute_code"
FUNCTIONS = frozenset(
    {"FINAL", "FINAL_VAR", "SHOW_VARS", "chunks", "llm_map", "save_artifact"}
    | {"llm_query", "llm_query_batched", "rlm_query", "rlm_query_batched"}
)
"""Functions of the REPL, which small models call as if they were tools."""
_NAME = re.compile(r""""name"\s*:\s*"([\w.-]+)\"""")
_NAMED_HERE = re.compile(rf'"(?:functions\.)?(?:{CODE_TOOL}|{"|".join(sorted(FUNCTIONS))})"')
_ARGUMENTS = re.compile(r""""(?:arguments|parameters)"\s*:\s*""")
_DESCRIBES = '"properties": {'
"""What the parameters of a tool have in its description, which small models repeat before they call it."""
_DATA = frozenset({"json", "tool_call", "tool_calls", ""})
_WRAPPER = re.compile(either(list(CALLS)))
_CLOSINGS = {opening: closing for opening, closing in CALLS.items() if closing}
_NAMED = re.compile(
    r"<(?P<prefix>\w+:|[|｜]DSML[|｜])?(?P<tag>function|invoke)(?:=|\s+name=)[\"']?(?P<name>[\w.-]+)[\"']?[^>\n]{0,80}>"
)
_PARAMETER = re.compile(r"""<(?:\w+:|[|｜]DSML[|｜])?parameter(?:=|\s+name=)["']?(\w+)["']?[^>\n]{0,80}>""")
_PARAMETER_END = re.compile(r"</(?:\w+:|[|｜]DSML[|｜])?parameter>")
_BEGUN = re.compile(r"<[|｜]tool[_▁]call[_▁]begin[|｜]>")
_BEGUN_END = re.compile(r"<[|｜]tool[_▁]call[_▁]end[|｜]>")
_BEGUN_NEXT = re.compile(r"<[|｜]tool[_▁]calls?[_▁](?:section[_▁])?(?:begin|end)[|｜]>")
_SEPARATOR = re.compile(r"<[|｜]tool[_▁](?:sep|call[_▁]argument[_▁]begin)[|｜]>")
_NUMBERED = re.compile(r":\d+\Z")
_PYTHON_TAG = re.compile(r"(?:<\|python_tag\|>|<\|action_start\|><\|interpreter\|>)[ \t]*\n?")
_METHOD = ".call"
_TURN_END = re.compile(rf"{either(ENDS)}|<\|action_end\|>")
_CODE_ELEMENT = re.compile(r"<(execute_code)>")
_CODE_FENCE = re.compile(r"<(code|tool_code|execute|execute_ipython|execute_python|python|ipython|repl)>|\[(PYTHON)\]")
_FENCE_TAGS = {"code": "", "python": "python", "ipython": "python", "PYTHON": "python"}
"""What fence a tag stands for; any other says outright that its code is to run."""
_ACTION = re.compile(r"[ \t*]*+Action[* \t]*+:[* \t`]*+([\w.-]++)[` \t]*+\n\s*+\**+Action[ _]Input[* \t]*+:[* \t]*+")
_ACTION_END = re.compile(r"^[ \t*]*(?:Observation|Thought|Action|Final Answer)[* \t]*:", re.MULTILINE)
_BARE = re.compile(r"([ \t]*)(?=\[?\s*\{\s*\"(?:name|tool_name|function|type|id)\"\s*:)")
_BARE_NAMED = re.compile(rf"[ \t]*(?:>>>)?(?:functions\.)?{CODE_TOOL}(?::\d+)?(?:\[ARGS\])?\s*(?=\{{\s*\")")
_ORPHAN = re.compile(
    rf"</(?:\w+:|[|｜]DSML[|｜])?(?:tool_calls?|function_calls?|function|invoke|parameter|tool_use)>"
    rf"|{either(list(CALLS.values()))}|<[|｜]tool[_▁]call[_▁]end[|｜]>"
)
_MOST_CLOSINGS = 20
"""How many closing tags are looked at for the one that closes."""
_MOST_BROKEN = 100
_AFTER_CLOSING = re.compile(r"[ \t\r]*(?:\n|<|\Z)")
_SPACE = re.compile(r"\s*")
_JSON_FENCE = re.compile(r"```\w*[ \t]*\n")
_FENCE_END = re.compile(r"\s*```")
_BETWEEN = re.compile(r"[\s;,]*")
_KEYED = re.compile(r"(?:\[CALL_ID\][\w-]*)?(?:\[ARGS\])?\s*(?=[{\[])")
_TOOL_NAME = re.compile(r"[A-Za-z_][\w.-]{0,80}")
_PAIR = re.compile(r"<arg_key>\s*([\w.-]{1,80})\s*</arg_key>\s*<arg_value>")
_PAIR_END = re.compile(r"</arg_value>")
_CALLED = re.compile(r"call:([\w.-]{1,80})\s*\{")
_GEMMA_PAIR = re.compile(r"(\w{1,80}):<\|\"\|>")
_GEMMA_END = re.compile(r"<\|\"\|>")
_SPOKEN = re.compile(r"\[?\s*[A-Za-z_][\w.]{0,80}\(")
_ELEMENTS = re.compile(
    r"<(?:name|tool_name)>\s*([\w.-]{1,80})\s*</(?:name|tool_name)>\s*<(arguments|parameters|input)>"
)
_INNER = re.compile(r"<[|｜]tool[_▁]call[_▁]begin[|｜]>|<(?:\w+:|[|｜]DSML[|｜])?(?:function|invoke|tool_call)\b")
_LOOKS_CALLED = re.compile(
    r"<[|｜](?:[\w▁]{0,30}(?:tool|function|action|recipient)[\w▁]{0,30}|python_tag)[|｜]>\s*[\[{<\n\w]"
    r"|<(?:\w+:|[|｜]DSML[|｜])?(?:tool_calls?|function_calls?|tool_use|invoke|function)\b[^<>\n]{0,80}>\s*[\[{<\n]"
    r"|^<\|(?:constrain|channel|start|message)\|>|\[TOOL_CALLS\]\s*[\[{]|^\[TOOL_CALLS\]|^Action Input:",
    re.MULTILINE,
)
_decoder = json.JSONDecoder(strict=False)


def looks_called(text: Text) -> bool:
    """Whether a text has the markup of a call, whoever's it may be."""
    return text.next_said(_LOOKS_CALLED, 0) is not None


def calls_in(passages: Passages) -> list[ToolCall]:
    """The calls that a text makes by markup; where there is none, those of execute_code and of functions of the REPL in
    bare JSON or in a JSON fence."""
    if passages.calls:
        return passages.calls
    bodies = [fence.code for fence in passages.fences if fence.language in _DATA]
    if not bodies and not passages.cut:
        bodies = [passages.prose]
    found = [_bare_calls(body) for body in bodies if body.lstrip()[:1] in ("{", "[") and _NAMED_HERE.search(body)]
    return [call for calls in found for call in calls if _is_ours(call)]


def spoken_call(code: str) -> ToolCall | None:
    """The call of the tool that code is and nothing else: `execute_code(code="...")`, bare or printed."""
    calls = _python_calls(code) if CODE_TOOL in code else []
    return calls[0] if len(calls) == 1 and calls[0].name.rpartition(".")[2] == CODE_TOOL else None


def _is_ours(call: ToolCall) -> bool:
    """Whether JSON is surely a call: of execute_code, or of a function of the REPL with arguments."""
    name = call.name.rpartition(".")[2]
    if name == CODE_TOOL:
        return _DESCRIBES not in call.arguments
    return name in FUNCTIONS and call.arguments.strip() not in ("", "{}")


# What opens a call


def wrapped(text: Text, position: int) -> Taken | None:
    """Calls between the marks of a family."""
    opening = _WRAPPER.match(text.text, position)
    if opening is None or (opening[0] == "functools" and not text.text.startswith("[{", opening.end())):
        return None
    start = _skip(_SPACE, text, opening.end())
    closing = _closing_of(opening[0])
    for read in BODIES.values():
        if (taken := read(text, start)) is not None:
            return _closed(text, taken, closing)
    if _INNER.match(text.text, start):
        return Taken(end=start)
    if "call" not in opening[0].lower() or not (text.ends_line(opening.end()) or text.text[start : start + 1] in "[{`"):
        return None
    return _unread(text, start, closing)


def named(text: Text, position: int) -> Taken | None:
    """`<function=name>` or `<invoke name="name">`, around parameters, JSON or code."""
    opening = _NAMED.match(text.text, position)
    if opening is None:
        return None
    start = _skip(_SPACE, text, opening.end())
    if not (text.begins_line(position) or text.ends_line(opening.end()) or text.text[start : start + 1] in ("{", "<")):
        return None
    name, closing = opening["name"], compiled(re.escape(f"</{opening['prefix'] or ''}{opening['tag']}>"))
    if text.text.startswith("{", start) and (decoded := _decoded(text, start)) is not None:
        taken = Taken(end=decoded[1], calls=(ToolCall(id="", name=name, arguments=text.text[start : decoded[1]]),))
        return _closed(text, taken, closing)
    body, end, closed = _body(text, opening.end(), closing)
    arguments = _parameters(body) or body.strip("\n")
    return Taken(end=end, calls=(ToolCall(id="", name=name, arguments=arguments),), closed=closed)


def begun(text: Text, position: int) -> Taken | None:
    """`<|tool_call_begin|>`, a name and arguments, with one separator or another between."""
    opening = _BEGUN.match(text.text, position)
    if opening is None:
        return None
    end = text.next(_BEGUN_END, opening.end())
    stop = end or text.next(_BEGUN_NEXT, opening.end())
    body = text.text[opening.end() : stop.start() if stop else len(text)]
    parts = _SEPARATOR.split(body, maxsplit=1)
    kind, rest = parts[0].strip(), parts[1].strip() if len(parts) > 1 else ""
    if kind == "function":
        kind, _, rest = rest.partition("\n")
        if (inner := _NAMED.search(parts[1])) is not None:
            kind, rest = inner["name"], _parameters(parts[1]) or ""
    name = _NUMBERED.sub("", kind.strip()).removeprefix("functions.")
    call = ToolCall(id="", name=name, arguments=_unfenced(rest.strip()))
    return Taken(end=end.end() if end else len(body) + opening.end(), calls=(call,), closed=end is not None)


def python_tag(text: Text, position: int) -> Taken | None:
    """`<|python_tag|>` before code, before JSON, or before `name.call(...)`."""
    opening = _PYTHON_TAG.match(text.text, position)
    if opening is None:
        return None
    body, end, closed = _body(text, opening.end(), _TURN_END)
    if body.lstrip()[:1] in ("{", "["):
        calls = _bare_calls(body)
    else:
        calls = [call for call in _python_calls(body) if call.name == CODE_TOOL or f"{call.name}{_METHOD}(" in body]
    if not calls or any(not call.name for call in calls):
        calls = [ToolCall(id="", name=CODE_TOOL, arguments=_as_arguments(_unfenced(body)))]
    return Taken(end=end, calls=tuple(calls), closed=closed)


def code_element(text: Text, position: int) -> Taken | None:
    """`<execute_code>` around code."""
    opening = _CODE_ELEMENT.match(text.text, position)
    if opening is None or not text.begins_line(position):
        return None
    body, end, closed = _body(text, opening.end(), compiled(f"</{opening[1]}>"))
    return Taken(end=end, calls=(ToolCall(id="", name=opening[1], arguments=body.strip("\n")),), closed=closed)


def code_fence(text: Text, position: int) -> Taken | None:
    """A tag around code that stands for a fence."""
    opening = _CODE_FENCE.match(text.text, position)
    if opening is None or not text.begins_line(position):
        return None
    tag = opening[1] or opening[2]
    closing = compiled(re.escape(f"</{tag}>" if opening[1] else f"[/{tag}]"))
    found = text.next_said(closing, opening.end())
    if found is None and not text.ends_line(opening.end()):
        return None
    body, end, closed = _body(text, opening.end(), closing)
    fence = Fence(language=_FENCE_TAGS.get(tag, "repl"), code=_unfenced(body.strip("\n")))
    return Taken(end=end, fence=fence, closed=closed)


def action(text: Text, position: int) -> Taken | None:
    """`Action: name` and `Action Input: ...`, each in a line of its own."""
    opening = _ACTION.match(text.text, position)
    if opening is None or not text.begins_line(position):
        return None
    end = text.next(_ACTION_END, opening.end())
    body = text.text[opening.end() : end.start() if end else len(text)].strip()
    call = ToolCall(id="", name=opening[1], arguments=_unfenced(body))
    return Taken(end=end.start() if end else len(text), calls=(call,), closed=end is not None)


def bare(text: Text, position: int) -> Taken | None:
    """A call of execute_code, or of a function of the REPL, as JSON, without any marks, in a line of its own."""
    if (named := _BARE_NAMED.match(text.text, position)) is not None:
        decoded = _decoded(text, named.end())
        if decoded is None:
            return None
        call = ToolCall(id="", name=CODE_TOOL, arguments=text.text[named.end() : decoded[1]])
        return Taken(end=decoded[1], calls=(call,), closed=bool(text.text[decoded[1] :].strip()))
    opening = _BARE.match(text.text, position)
    if opening is None:
        return None
    calls, end = _json_calls(text, opening.end(1))
    if not calls or not all(map(_is_ours, calls)):
        return None
    return Taken(end=end, calls=tuple(calls), closed=bool(text.text[end:].strip()))


def orphan(text: Text, position: int) -> Taken | None:
    """A closing tag of a call that nothing opened: it says nothing."""
    found = _ORPHAN.match(text.text, position)
    if found is None or not (text.begins_line(position) or text.ends_line(found.end())):
        return None
    return Taken(end=found.end())


# What may stand in the marks of a family


def json_body(text: Text, start: int) -> Taken | None:
    """One JSON call, or several."""
    fence = _JSON_FENCE.match(text.text, start)
    begin = _skip(_SPACE, text, fence.end()) if fence else start
    if text.text[begin : begin + 1] not in ("{", "["):
        return None
    calls, end = _json_calls(text, begin)
    if not calls:
        return None
    return Taken(end=_skip(_FENCE_END, text, end) if fence else end, calls=tuple(calls))


def keyed_body(text: Text, start: int) -> Taken | None:
    """Mistral's `name[ARGS]{...}` and `name{...}`."""
    name = _TOOL_NAME.match(text.text, start)
    mark = _KEYED.match(text.text, name.end()) if name else None
    if name is None or mark is None or (decoded := _decoded(text, mark.end())) is None:
        return None
    call = ToolCall(id="", name=name[0], arguments=text.text[mark.end() : decoded[1]])
    return Taken(end=decoded[1], calls=(call,))


def paired_body(text: Text, start: int) -> Taken | None:
    """GLM's name with `<arg_key>` and `<arg_value>`."""
    name = _TOOL_NAME.match(text.text, start)
    if name is None:
        return None
    position, values = _skip(_SPACE, text, name.end()), {}
    while (pair := _PAIR.match(text.text, position)) is not None:
        value, position, _ = _body(text, pair.end(), _PAIR_END)
        values[pair[1]] = value.strip("\n")
        position = _skip(_SPACE, text, position)
    call = ToolCall(id="", name=name[0], arguments=json.dumps(values))
    return Taken(end=position, calls=(call,)) if values else None


def gemma_body(text: Text, start: int) -> Taken | None:
    """Gemma's `call:name{key:<|"|>value<|"|>}`."""
    opening = _CALLED.match(text.text, start)
    if opening is None:
        return None
    position, values = opening.end(), {}
    while (pair := _GEMMA_PAIR.match(text.text, position)) is not None:
        end = text.next(_GEMMA_END, pair.end())
        values[pair[1]] = text.text[pair.end() : end.start() if end else len(text)]
        position = _skip(_BETWEEN, text, end.end() if end else len(text))
    end_at = position + 1 if text.text.startswith("}", position) else position
    return Taken(end=end_at, calls=(ToolCall(id="", name=opening[1], arguments=json.dumps(values)),))


def python_body(text: Text, start: int) -> Taken | None:
    """`[name(key="value")]`, with or without the brackets."""
    if not _SPOKEN.match(text.text, start):
        return None
    body, _, _ = _body(text, start, _ORPHAN)
    calls = _python_calls(body)
    return Taken(end=start + len(body), calls=tuple(calls)) if calls else None


def element_body(text: Text, start: int) -> Taken | None:
    """`<name>` and `<arguments>`, each an element."""
    opening = _ELEMENTS.match(text.text, start)
    if opening is None:
        return None
    body, end, _ = _body(text, opening.end(), compiled(f"</{opening[2]}>"))
    return Taken(end=end, calls=(ToolCall(id="", name=opening[1], arguments=body.strip()),))


BODIES: Mapping[str, Callable[[Text, int], Taken | None]] = {
    "JSON": json_body,
    "Mistral": keyed_body,
    "GLM": paired_body,
    "Gemma": gemma_body,
    "Python": python_body,
    "elements": element_body,
}


# Their parts


def _skip(pattern: re.Pattern[str], text: Text, position: int) -> int:
    found = pattern.match(text.text, position)
    return position if found is None else found.end()


def _closing_of(opening: str) -> re.Pattern[str] | None:
    known = _CLOSINGS.get(opening.replace("｜", "|").replace("▁", "_"))
    return None if known is None else compiled(either([known]))


def _closed(text: Text, taken: Taken, closing: re.Pattern[str] | None) -> Taken:
    """What was read in the marks of a family, and the mark that closes them."""
    end = _skip(_SPACE, text, taken.end)
    found = None if closing is None else closing.match(text.text, end)
    if found is not None:
        return Taken(end=found.end(), calls=taken.calls)
    return Taken(end=taken.end, calls=taken.calls, closed=closing is None or end < len(text))


def _unread(text: Text, start: int, closing: re.Pattern[str] | None) -> Taken:
    body, end, closed = (text.text[start:], len(text), False) if closing is None else _body(text, start, closing)
    code = _unfenced(body)
    if code != body and codelike.parse(code) is not None:
        return Taken(end=end, calls=(ToolCall(id="", name=CODE_TOOL, arguments=_as_arguments(code)),), closed=closed)
    return Taken(end=end, calls=(_broken_call(body),), closed=closed)


def _body(text: Text, start: int, closing: re.Pattern[str]) -> tuple[str, int, bool]:
    """What stands before the closing tag, where that ends, and whether there is one."""
    first, found = None, text.next(closing, start)
    for _ in range(_MOST_CLOSINGS):
        if found is None:
            break
        if not _in_string(text, start, found):
            first = first or found
            if _AFTER_CLOSING.match(text.text, found.end()):
                break
        found = text.next(closing, found.end())
    found = found or first
    if found is None:
        return text.text[start:], len(text), False
    return text.text[start : found.start()], found.end(), True


def _in_string(text: Text, start: int, found: re.Match[str]) -> bool:
    """Whether a tag stands in a string of the code that begins at `start`."""
    if text.text[found.start() - 1 : found.start()] == "\n":
        return False
    for string in codelike.STRINGS.finditer(text.text, start):
        if string.end() > found.start():
            mark = string[0][0]
            return mark != "#" and string.start() < found.start() and len(string[0]) > 1 and string[0].endswith(mark)
    return False


def _parameters(body: str) -> str | None:
    """The parameters between tags, as JSON."""
    text, values = Text(body), {}
    opening = _PARAMETER.search(body)
    while opening is not None:
        value, end, closed = _body(text, opening.end(), _PARAMETER_END)
        following = _PARAMETER.search(body, end if closed else opening.end())
        if not closed and following is not None:
            value = body[opening.end() : following.start()]
        values[opening[1]] = value.strip("\n")
        opening = following
    return json.dumps(values) if values else None


def _unfenced(body: str) -> str:
    """What stands in the fence that a body is, else the body."""
    opening = _JSON_FENCE.match(body.lstrip())
    if opening is None:
        return body
    inside = body.lstrip()[opening.end() :]
    return inside.rstrip().removesuffix("```")


def _as_arguments(code: str) -> str:
    return json.dumps({"code": code})


def _decoded(text: Text, start: int) -> tuple[Json, int] | None:
    """The JSON value that begins here, and where it ends. What is broken takes a look at all before it, and so is tried
    only so many times in a text."""
    if text.broken >= _MOST_BROKEN:
        return None
    try:
        return _decoder.raw_decode(text.text, start)
    except (ValueError, RecursionError):
        text.broken += 1
        return None


def _json_calls(text: Text, start: int) -> tuple[list[ToolCall], int]:
    """The calls in the JSON values that stand here, one after another; what describes a tool is none."""
    calls: list[ToolCall] = []
    end = start
    while text.text[start : start + 1] in ("{", "[") and (decoded := _decoded(text, start)) is not None:
        value, end = decoded
        found = map(_object_call, value if isinstance(value, list) else [value])
        calls += [call for call in found if _DESCRIBES not in call.arguments]
        start = _skip(_BETWEEN, text, end)
    return calls, end


def _bare_calls(text: str) -> list[ToolCall]:
    """The calls in a text that begins with JSON, by their parts where that is broken."""
    start = len(text) - len(text.lstrip())
    calls, _ = _json_calls(Text(text), start)
    return calls or [_broken_call(text)]


def _object_call(value: object) -> ToolCall:
    """The call in `{"name": ..., "arguments": ...}`, whatever the members are named."""
    if not isinstance(value, dict):
        return ToolCall(id="", name="", arguments="")
    inner = value.get("function")
    if isinstance(inner, dict):
        return _object_call(inner)
    name = next((value[key] for key in ("name", "tool_name", "function", "tool", "action") if key in value), "")
    keys = ("arguments", "parameters", "args", "input", "tool_input", "action_input")
    if not name and len(value) == 1 and isinstance(only := next(iter(value.values())), dict):
        return ToolCall(id="", name=str(next(iter(value))), arguments=json.dumps(only))
    arguments: object = next((value[key] for key in keys if key in value), {})
    if not name and list(value) == ["code"]:  # one tool takes that alone
        return ToolCall(id="", name=CODE_TOOL, arguments=json.dumps(value))
    return ToolCall(id="", name=str(name), arguments=arguments if isinstance(arguments, str) else json.dumps(arguments))


def _broken_call(text: str) -> ToolCall:
    """The call in what is nearly JSON: by its parts, or as Python would write it."""
    name, arguments = _NAME.search(text), _ARGUMENTS.search(text)
    if name is None and text.lstrip().startswith("{"):
        with suppress(ValueError):
            return _object_call(codelike.literal(text.strip()))
    if name and arguments and (decoded := _decoded(Text(text), arguments.end())) is not None:
        return _object_call({"name": name[1], "arguments": decoded[0]})
    rest = text[arguments.end() :].rstrip().removesuffix("}") if arguments else ""
    return ToolCall(id="", name=name[1] if name else "", arguments=rest.rstrip())


def _python_calls(source: str) -> list[ToolCall]:
    """The calls that a text of Python is and nothing else, with constants for arguments."""
    return [
        ToolCall(id="", name=call.name.removesuffix(_METHOD), arguments=json.dumps(call.arguments))
        for call in codelike.constant_calls(source)
    ]
