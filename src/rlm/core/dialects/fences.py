"""Takes a model's text apart, in linear time, for it is hostile and may be large: what was thought, what stands in
fences, which tool calls are written as markup, and the prose between. Nothing is judged or run here.

The rules, line by line:
- A fence opens with three or more backticks or tildes and perhaps a language, and closes with at least as many. One
  that never closes ends with the text.
- A thought opens with `<think>` (`<thinking>`, `<thought>`, `<reasoning>`) at the beginning of a line of prose, and
  goes up to its closing tag or to the end. A closing tag in prose, or at the beginning of a line in a fence, that
  nothing opened ends a thought that began earlier: nothing before it counts.
- A marked call opens with `<tool_call>`, `<function=name>` and the like at the beginning of a line of prose, and goes
  up to its closing tag or to the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([\w+.-]*)([^\n]*)")
_THOUGHT = re.compile(r"[ \t]*<(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_THOUGHT_END = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.IGNORECASE)
_CALL = re.compile(
    r"""[ \t]*<(tool_call|function_call|execute_code|function|invoke)(?:(?:=| name=)["']?([\w.-]+)["']?)?>"""
)
_CLOSING_INDENT = 3
"""How much deeper than its opening a fence may close, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """A fenced block."""

    language: str
    """Lower case, empty where none is named."""
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkedCall:
    """A tool call written as markup."""

    tag: str
    name: str
    """The tool, where the tag names it; else empty."""
    body: str


@dataclass(slots=True, kw_only=True)
class Passages:
    """The parts of a text, each kind in its order."""

    fences: list[Fence] = field(default_factory=list)
    calls: list[MarkedCall] = field(default_factory=list)
    prose: str = ""
    """What is neither thought nor fence nor call."""
    spoken: str = ""
    """All but the thoughts: fences and calls are in it as they were written."""
    incomplete: bool = False
    """Whether a fence or call was left out."""

    @property
    def blank(self) -> bool:
        """Whether nothing is said."""
        return not (self.prose.strip() or self.calls or any(fence.code.strip() for fence in self.fences))


def read(text: str, *, cut: bool = False) -> Passages:
    """Take `text` apart; of one that was `cut` off, a fence or call that never closed is left out."""
    reader = _Reader(text)
    while reader.position < len(text):
        reader.take()
    found = reader.found
    found.prose, found.spoken = "".join(reader.prose), "".join(reader.spoken)
    if cut and reader.open:
        found.incomplete = True
        (found.fences if reader.open == "fence" else found.calls).pop()
    return found


def split(text: str) -> tuple[list[Fence], str]:
    """The fenced blocks of `text` in order, and the prose around them."""
    found = read(text)
    return found.fences, found.prose


def marked_call(text: str) -> MarkedCall | None:
    """The marked call that `text` begins with."""
    opening = _CALL.match(text := text.strip())
    return None if opening is None else _call(text, opening)[0]


class _Reader:
    """Where the reading of a text has got to, and what was found."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0
        self.found = Passages()
        self.prose: list[str] = []
        self.spoken: list[str] = []
        self.open: Literal["fence", "call"] | None = None
        """What the text ended in."""

    def take(self) -> None:
        """Take what begins at the line where the reading is."""
        opening = _FENCE.match(self.text, self.position)
        if opening and "`" not in opening[4]:
            self._take_fence(opening)
        elif opening := _CALL.match(self.text, self.position):
            call, end, closed = _call(self.text, opening)
            self.found.calls.append(call)
            self.open = None if closed else "call"
            self._pass(end)
        elif opening := _THOUGHT.match(self.text, self.position):
            closing = _THOUGHT_END.search(self.text, opening.end())
            self.position = closing.end() if closing else len(self.text)
        else:
            self._take_prose()

    def _take_prose(self) -> None:
        end = self._line_end(self.position)
        if closing := _THOUGHT_END.search(self.text, self.position, end):
            self._discard(closing.end())
            return
        self.prose.append(self.text[self.position : end])
        self._pass(end)

    def _take_fence(self, opening: re.Match[str]) -> None:
        lines: list[str] = []
        position, closed = self._line_end(opening.end()), False
        while position < len(self.text) and not closed:
            end = self._line_end(position)
            line = self.text[position:end]
            if line.lstrip().startswith("</") and (tag := _THOUGHT_END.match(line.lstrip())):
                self._discard(end - len(line.lstrip()) + tag.end())
                return
            closed = _closes(line, opening)
            lines += [] if closed else [_outdented(line, len(opening[1]))]
            position = end
        self.found.fences.append(Fence(language=opening[3].lower(), code="".join(lines)))
        self.open = None if closed else "fence"
        self._pass(position)

    def _pass(self, end: int) -> None:
        """Go on at `end`; what was passed is spoken."""
        self.spoken.append(self.text[self.position : end])
        self.position = end

    def _discard(self, end: int) -> None:
        """Go on at `end`; all before it was thought."""
        self.found, self.prose, self.spoken, self.position = Passages(), [], [], end

    def _line_end(self, position: int) -> int:
        return self.text.find("\n", position) + 1 or len(self.text)


def _call(text: str, opening: re.Match[str]) -> tuple[MarkedCall, int, bool]:
    """The marked call at `opening`, where it ends, and whether it is closed."""
    closing = f"</{opening[1]}>"
    end = text.find(closing, opening.end())
    call = MarkedCall(tag=opening[1], name=opening[2] or "", body=text[opening.end() : end if end >= 0 else None])
    return (call, end + len(closing), True) if end >= 0 else (call, len(text), False)


def _closes(line: str, opening: re.Match[str]) -> bool:
    mark, stripped = opening[2], line.strip()
    indent = len(line) - len(line.lstrip())
    deep = indent > len(opening[1]) + _CLOSING_INDENT
    return not deep and len(stripped) >= len(mark) and not stripped.strip(mark[0])


def _outdented(line: str, indent: int) -> str:
    """The line of an indented fence without the fence's indentation."""
    return line[indent:] if not line[:indent].strip() else line
