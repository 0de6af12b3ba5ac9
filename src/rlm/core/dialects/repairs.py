"""Slips of the keyboard in code, and of whatever showed it: what is no Python, and becomes it by one small repair.

Each repair leaves strings and comments alone, unless it takes a mark off every line. It is tried only on code that
isn't Python, and counts only where the result is; in linear time.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rlm.core.dialects import codelike

Repair = Callable[[str], str]

_CURLY_STRING = re.compile(rf"“([^“”\n]*+)”|‘([^‘’\n]*+)’|(?:{codelike.STRING})", re.DOTALL)
_SPACES = {
    ord(space): " " for space in "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
}
_SPACES |= {0x202F: " ", 0x205F: " ", 0x3000: "  "}
_INVISIBLE = dict.fromkeys((0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x00AD))
_STRAIGHT = str.maketrans("“”„‟″‘’‚‛′", "\"\"\"\"\"'''''")
_MINUS = str.maketrans("−–—‐‑‒", "------")
_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3001: ",", 0x3002: ".", 0x3010: "[", 0x3011: "]"}
_ENTITIES = {"&lt;": "<", "&gt;": ">", "&amp;": "&", "&quot;": '"', "&#39;": "'", "&apos;": "'", "&#x27;": "'"}
_ENTITY = re.compile("|".join(_ENTITIES))
_ESCAPED = re.compile(r"\\([!=<>\[\]()_*#+.{}-])")
_PROMPT = re.compile(r"(?:>>>|\.\.\.)(?: |$)")
_IN = re.compile(r"^[ \t]*In ?\[[\d* ]*\]: ?", re.MULTILINE)
_OUT = re.compile(r"^[ \t]*Out ?\[[\d* ]*\]:.*\n?", re.MULTILINE)
_MAGIC = re.compile(
    r"^([ \t]*)%{1,2}(?:time|timeit|capture|matplotlib|load_ext|autoreload|python|py)\b[ \t]*(.*)$", re.MULTILINE
)
_SETTINGS = re.compile(r"-|inline|widget|notebook|autoreload|\d|\w+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """Code that was repaired."""

    code: str
    what: str
    """What was taken for what, in words."""


def repaired(code: str) -> Repaired | None:
    """The code as Python, where it isn't and a repair makes it so; None where it is, or none does."""
    if len(code) > codelike.MAX_CHARS or (codelike.parse(code) is not None and not _IN.match(code)):
        return None  # the number of a notebook's cell is Python by accident
    for what, repair in REPAIRS.items():
        if (made := repair(code)) != code and codelike.parse(made) is not None:
            return Repaired(code=made, what=what)
    return _repaired_by_several(code)


def _repaired_by_several(code: str) -> Repaired | None:
    used: list[str] = []
    for what, repair in REPAIRS.items():
        made = repair(code)
        used += [what] if made != code else []
        code = made
    return Repaired(code=code, what=", ".join(used)) if len(used) > 1 and codelike.parse(code) is not None else None


def is_python(code: str) -> bool:
    """Whether it is Python, or becomes it by a repair."""
    return codelike.parse(code) is not None or repaired(code) is not None


def _between(repair: Repair) -> Repair:
    """The repair of what stands between strings and comments."""

    def made(code: str) -> str:
        pieces, position = [], 0
        for found in codelike.STRINGS.finditer(code):
            pieces += [repair(code[position : found.start()]), found[0]]
            position = found.end()
        return "".join([*pieces, repair(code[position:])])

    return made


def _straightened(code: str) -> str:
    made = _CURLY_STRING.sub(_straight_string, code)
    return made if codelike.parse(made) is not None else code.translate(_STRAIGHT)


def _straight_string(found: re.Match[str]) -> str:
    inside = found[1] if found[1] is not None else found[2]
    if inside is None:
        return found[0]
    return f'"{inside}"' if '"' not in inside else "'" + inside.replace("'", "\\'") + "'"


def _without_prompts(code: str) -> str:
    """The input of a session that was shown, without its output."""
    lines = code.split("\n")
    if not any(line.lstrip().startswith(">>>") for line in lines):
        return code
    shown = [line.lstrip() for line in lines]
    return "\n".join(line[found.end() :] for line in shown if (found := _PROMPT.match(line)))


def _without_cell_marks(code: str) -> str:
    return _IN.sub("", _OUT.sub("", code))


def _without_magic(code: str) -> str:
    return _MAGIC.sub(lambda found: found[1] + ("" if _SETTINGS.match(found[2]) else found[2]), code)


def _dedented(code: str) -> str:
    """The code without the indentation that all of its lines have, or that all but the first have."""
    made = textwrap.dedent(code)
    return made if made != code else code.lstrip(" \t")


REPAIRS: Mapping[str, Repair] = {
    "indentation of the whole": _dedented,
    "non-breaking or wide spaces": _between(lambda text: text.translate(_SPACES)),
    "invisible characters": _between(lambda text: text.translate(_INVISIBLE)),
    "curly quotation marks": _straightened,
    "dashes for minus signs": _between(lambda text: text.translate(_MINUS)),
    "full-width punctuation": _between(lambda text: text.translate(_WIDE)),
    "backslashes before operators": _between(lambda text: _ESCAPED.sub(r"\1", text)),
    "HTML entities": lambda code: _ENTITY.sub(lambda found: _ENTITIES[found[0]], code),
    "prompts of a session": _without_prompts,
    "numbers of notebook cells": _without_cell_marks,
    "notebook commands": _without_magic,
}
