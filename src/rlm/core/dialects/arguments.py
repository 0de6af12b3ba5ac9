"""Reads the arguments of a tool call, which models often write as broken JSON. What is cut off is never completed.

The rules: strict JSON is taken as it is, but for raw newlines in strings, which are allowed. Else it may stand in a
fence or in a string, have trailing commas and unknown escapes, or be a Python literal. For `execute_code` alone, whose
one argument is code, the quotes in the code may lack their escapes, or the arguments may be the code itself; of several
readings the first that is Python is right. What may mean two things that both run is not read at all: a backslash
before a raw newline is a continued line or a broken `\\n`.
"""

from __future__ import annotations

import json
import re
import textwrap
from itertools import chain
from typing import TYPE_CHECKING

from rlm.core.dialects import codelike, fences
from rlm.core.dialects.repairs import is_python

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rlm.core.types import Json

# Alternatives with different first characters, possessive, and the string may end with the text: no way to backtrack.
_STRING_OR_COMMA = re.compile(r'"(?:[^"\\]++|\\.)*(?:"|\\?\Z)|,(?=\s*+[}\]])', re.DOTALL)
_BAD_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_QUOTE = re.compile(r"\\([\"\\\\])")
_CODE_KEY = re.compile(r"""\s*\{\s*["'](?:code|source|python)["']\s*:\s*["']""")
_CODE_END = {quote: re.compile(rf"{quote}\s*,?\s*\}}\s*\Z") for quote in "\"'"}
"""By the quote that opened the code: another one is a part of code that was cut off."""
_NOTHING = frozenset({"", "null", "None", "nil", "undefined", '""', "''", '{}"', "{}}", '{"":""}'})
"""What can only mean that there are no arguments."""
_CODE_LINE = re.compile(
    r"\s*(?:import |from [\w.]+ import |(?:async )?def |class |for |while |if |with |try:|@|#"
    r"|[\w.\[\], ]+[+*/|&-]?= |[\w.]+\()"
)
_UNESCAPED = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "/": "/"}
_TWO_MEANINGS = "\\\n"
_BACKSPACE, _WORD_EDGE = "\b", r"\b"
"""No code holds a backspace: it was the edge of a word in a pattern, whose escape lacked its own."""
_TAIL = 50
"""How many characters at the end are searched for the end of the code."""


def read_object(text: str) -> dict[str, Json]:
    """The arguments of any tool.

    Raises:
        ValueError: they are no JSON object, nor close to one; the message is fit for the model.
    """
    if _means_nothing(text):
        return {}
    value = read_value(text)
    if isinstance(value, str):
        value = {} if _means_nothing(value) else read_value(value)
    if isinstance(value, dict):
        return value
    raise ValueError("a JSON object is needed")


def read_code(text: str, *, strictly: bool = False) -> str:
    """The code in the arguments of `execute_code`; `strictly` is for what may be cut off: nothing is guessed.

    Raises:
        ValueError: there is none, or it was cut off; the message is fit for the model.
    """
    certain, guessed = [unfenced(code) for code in _codes(text)], map(unfenced, () if strictly else _guesses(text))
    readings = list(chain(certain, guessed))
    for is_right in (_parses, is_python):
        if code := next((code for code in readings if is_right(code)), None):
            return code
    if certain:
        return certain[0]  # the cell will say what is wrong with it
    read_object(text)  # says what is wrong with the JSON
    raise ValueError('it needs {"code": "<Python source>"}')


def read_value(text: str) -> Json:
    """The JSON value that `text` is or nearly is.

    Raises:
        ValueError: it is not.
    """
    try:
        return json.loads(text, strict=False)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        for mended in _mended(text):
            try:
                return mended()
            except (ValueError, RecursionError):
                continue
        raise error from None


def unfenced(code: str) -> str:
    """`code` without the fences around it; as it is, where it is Python already, begins as code, or has none."""
    if ("```" not in code and "~~~" not in code) or _CODE_LINE.match(code) or codelike.parse(code) is not None:
        return code
    blocks, _ = fences.split(code)
    return "\n".join(block.code for block in blocks if block.code.strip()) or code


def _parses(code: str) -> bool:
    return codelike.parse(code) is not None


def _means_nothing(text: str) -> bool:
    return "".join(text.split()) in _NOTHING


def _codes(text: str) -> list[str]:
    """The code in arguments that can be read as JSON."""
    try:
        return list(_codes_of(read_value(text)))
    except ValueError:
        return []


def _guesses(text: str) -> Iterator[str]:
    """What the code may be in arguments that are no JSON: what stands where the code should, or the whole."""
    tail = max(0, len(text) - _TAIL)
    if (opening := _CODE_KEY.match(text)) and (
        closing := _CODE_END[opening[0][-1]].search(text, max(opening.end(), tail))
    ):
        inside = text[opening.end() : closing.start()]
        if _TWO_MEANINGS in inside:
            return
        yield _ESCAPE.sub(_unescaped, inside)
        yield _QUOTE.sub(r"\1", inside)
        yield inside
    elif text.lstrip()[:1] not in ("{", "[", '"', ""):
        yield text


def _codes_of(value: Json) -> Iterator[str]:
    """The code in a value: the member `code`, or the only member; or a text, which may hold such JSON once more."""
    if isinstance(value, str):
        yield from _codes(value) if value.lstrip().startswith("{") else ()
        yield value
        return
    if not isinstance(value, dict):
        return
    found = value.get("code", next(iter(value.values())) if len(value) == 1 else None)
    if isinstance(found, str):
        code = textwrap.dedent(found) if found.startswith("\n") else found  # as it stands in triple quotes
        yield code.replace(_BACKSPACE, _WORD_EDGE)
    elif isinstance(found, list) and all(isinstance(line, str) for line in found):
        yield "\n".join(found)


def _mended(text: str) -> Iterator[Callable[[], Json]]:
    """Ways to read what is nearly JSON, each a function that may raise ValueError."""
    if _TWO_MEANINGS in text:
        return
    yield lambda: json.loads(_STRING_OR_COMMA.sub(_mend, text), strict=False)
    blocks, _ = fences.split(text) if "```" in text else ([], "")
    if blocks and text.lstrip().startswith("```"):
        yield lambda: json.loads(_STRING_OR_COMMA.sub(_mend, blocks[0].code), strict=False)
    if text.lstrip().startswith("{"):
        yield lambda: codelike.literal(text.strip())


def _mend(found: re.Match[str]) -> str:
    """A string with valid escapes only; nothing for a comma too many."""
    return "" if found[0] == "," else _BAD_ESCAPE.sub(_valid, found[0])


def _valid(escape: re.Match[str]) -> str:
    kind = escape[1]
    if kind == "'":
        return kind
    return escape[0] if len(kind) > 1 or kind in '"\\/bfnrt' else "\\" + escape[0]


def _unescaped(escape: re.Match[str]) -> str:
    return _UNESCAPED.get(escape[1], escape[0])
