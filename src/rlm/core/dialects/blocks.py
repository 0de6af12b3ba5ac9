"""Reads one fence: where it opens, what is code in it, and where it ends. In linear time, for a text may be hostile.

The rules:
- A fence opens at the beginning of a line with three or more backticks or tildes and perhaps a language, and closes
  with at least as many. One that never closes ends with the text. In a block quote the quote's marks are taken off.
- In code of Python the marks close wherever Python has no backtick: in a line with more text, after code, deeper in;
  two tildes too many or too few do no harm. What follows them opens the next fence if it is a language, else is prose.
  In a string they are a part of it: a fence goes on to the first closing at which its code is Python.
- A tag of thought is code where it stands in a string. Between lines of code a whole thought is taken out; a closing
  tag that nothing opened ends a thought that the code was a part of.
- Code may begin in the opening line, and be the whole of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from rlm.core.dialects.passages import Fence, Taken
from rlm.core.dialects.repairs import is_python
from rlm.core.dialects.scanning import Text, compiled
from rlm.core.dialects.thoughts import CLOSING, OPENING

REPL_TAG = "repl"
PYTHON_TAGS = frozenset({"python", "py", "python3", "ipython", "tool_code", "execute_code"})
OUTPUT_TAGS = frozenset(
    {"output", "out", "stdout", "text", "txt", "plaintext", "console", "result", "json", "markdown"}
)
_CODE_TAGS = PYTHON_TAGS | {REPL_TAG}
TAGS = _CODE_TAGS | OUTPUT_TAGS | {"bash", "sh", "shell", "sql", "yaml", "xml", "html", "tool_call"}
_MOST_MARKS, _MOST_INDENT = 8, 12
_CLOSING_INDENT = 3
"""How much deeper than its opening a fence may close, in characters, if it holds no Python."""

_ITEM = r"(?:(?:[*+-]|\d{1,3}[.)])[ \t]+)?"
_OPEN = re.compile(rf"([ \t\u00a0\u200b\ufeff]*{_ITEM})(`{{3,}}|~{{3,}})[ \t]*\{{?([\w+.-]*)([^\n]*)")
_NAMED = re.compile(r"^[ \t\u200b\ufeff]*(?:`{3,}|~{3,})[ \t]*\w+[ \t]*$", re.MULTILINE)
_CODE_LINE = re.compile(
    rf"^[ \t\u200b\ufeff]*(?:`{{3,}}|~{{3,}})[ \t]*(?:{'|'.join(sorted(_CODE_TAGS))})\b", re.MULTILINE | re.IGNORECASE
)
_QUOTE_MARK = re.compile(r"^[ \t]*>[ \t]?", re.MULTILINE)
_UNQUOTED_LINE = re.compile(r"^(?![ \t]*>)", re.MULTILINE)
_ATTRIBUTE = re.compile(r"[\w-]+=\S|\{|\[")
_TAG = re.compile(r"[ \t]*([\w+-]+)[ \t\r]*(?:\n|\Z)")
_TAG_LINE = re.compile(rf"^[ \t]*(?:{CLOSING.pattern})", re.MULTILINE | re.IGNORECASE)
_OPENING_LINE = re.compile(rf"^[ \t]*(?:{OPENING.pattern})", re.MULTILINE | re.IGNORECASE)
_TOKEN = re.compile(
    rf"(?P<string>'''|\"\"\"|['\"])|\#(?:[^\n`]++|`{{1,2}}(?!`)|`{{3,}}+(?![ \t\r]*(?:\n|\Z)))*"
    rf"|(?P<marks>`{{3,}}|^[ \t]*~{{3,}}[ \t]*$)"
    rf"|^[ \t]*(?:(?P<closing>{CLOSING.pattern})|(?P<opening>{OPENING.pattern}))",
    re.MULTILINE | re.IGNORECASE,
)
_STRING_REST = {
    "'''": re.compile(r"(?:[^'\\]|\\.|'(?!''))*'''", re.DOTALL),
    '"""': re.compile(r'(?:[^"\\]|\\.|"(?!""))*"""', re.DOTALL),
    "'": re.compile(r"(?:[^'\\\n]|\\.)*'?", re.DOTALL),
    '"': re.compile(r'(?:[^"\\\n]|\\.)*"?', re.DOTALL),
}
_LONG_ENDS = {mark: re.compile(mark) for mark in ("'''", '"""')}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opening:
    """How a fence opened."""

    indent: int
    mark: str
    language: str
    first: str
    """Code in the opening line."""
    start: int
    """Where its lines begin."""

    @property
    def is_code(self) -> bool:
        return self.language in _CODE_TAGS

    @property
    def may_be_code(self) -> bool:
        return self.is_code or not self.language


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stop:
    """A place where a fence may end."""

    end: int
    """The end of the code."""
    after: int
    """Where reading goes on."""
    tag: bool = False
    """Whether it is the closing tag of a thought."""
    shorter: bool = False
    """Whether it has fewer marks than the opening, and closes only where nothing else does."""
    holes: tuple[tuple[int, int], ...] = ()
    """The thoughts between lines of code."""


def fenced(text: Text, position: int) -> Taken | None:
    """The fence that opens in the line at `position`."""
    opening = _OPEN.match(text.text, position)
    if opening is None:
        return None
    if opening[2][0] == "`" and "`" in opening[4]:
        return _inline(opening)
    return _read(text, _opened(text, opening))


def quoted_fence(text: Text, position: int) -> Taken | None:
    """The fence that opens at `position` in a block quote."""
    mark = _QUOTE_MARK.match(text.text, position)
    if mark is None or not (opening := _OPEN.match(text.text, mark.end())) or opening[3].lower() not in _CODE_TAGS:
        return None
    left = text.next(_UNQUOTED_LINE, position)
    end = len(text) if left is None else left.start()
    text.tries -= 1
    if text.tries < 0:  # so many quotes: this one is a single fence
        return Taken(end=end, fence=Fence(language=opening[3].lower(), code=text.text[opening.end() : end]))
    inner = Text(_QUOTE_MARK.sub("", text.text[position:end]), cut=text.cut and left is None)
    taken = fenced(inner, 0)
    if taken is None or taken.fence is None:
        return None
    after = position
    for _ in range(inner.text.count("\n", 0, taken.end)):
        after = text.line_end(after)
    return Taken(end=after if inner.text[: taken.end].endswith("\n") else end, fence=taken.fence, closed=taken.closed)


def _inline(opening: re.Match[str]) -> Taken | None:
    """A fence that opens and closes in one line: only where its tag says that it is code."""
    code, mark, rest = opening[4].partition(opening[2])
    if opening[3].lower() not in _CODE_TAGS or not mark or rest.strip() or code[:1] not in (" ", "\t"):
        return None
    return Taken(end=opening.end(), fence=Fence(language=opening[3].lower(), code=code.strip()))


def _opened(text: Text, opening: re.Match[str]) -> _Opening:
    language, rest = opening[3].lower(), opening[4].strip()
    has_code = language in _CODE_TAGS and rest and not _ATTRIBUTE.match(rest)
    return _Opening(
        indent=len(opening[1].strip("\u200b\ufeff")),
        mark=opening[2],
        language=language,
        first=f"{rest}\n" if has_code and is_python(rest) else "",
        start=min(opening.end() + 1, len(text)),
    )


def _read(text: Text, opening: _Opening) -> Taken:
    """The fence; or the end of a thought, which it was a part of."""
    inner = _stop_in_code(text, opening) if opening.may_be_code else None
    if inner is not None and inner.tag:
        if opening.is_code or _goes_on(text, inner.after, _stop_of_lines(text, opening)):
            return Taken(end=inner.after, unopened=True)
        inner = None
    plain = _stop_of_lines(text, opening)
    stop = inner if inner is not None and _is_better(text, opening, inner, plain) else plain
    if stop is None or stop is not inner:
        if tag := _stray_tag(text, opening, stop):
            return Taken(end=tag.end(), unopened=True)
        if stop and text.cut and opening.is_code and not is_python(_code(text, opening, stop)):
            stop = None  # it ends in a string that was cut off
    whole = stop or _Stop(end=len(text), after=len(text))
    fence = Fence(language=opening.language, code=_code(text, opening, whole))
    return Taken(end=whole.after, fence=fence, closed=stop is not None)


def _is_better(text: Text, opening: _Opening, inner: _Stop, plain: _Stop | None) -> bool:
    """Whether a fence ends where Python says so, rather than at its first closing line."""
    if plain is None or (inner.end == plain.end and not inner.holes):
        return True
    if inner.end <= plain.end:
        return is_python(_code(text, opening, inner))
    text.tries -= 1
    if text.tries < 0:
        return False
    following = text.next(_CODE_LINE, plain.after)
    return following is None or following.start() >= inner.end or is_python(_code(text, opening, inner))


def _stop_of_lines(text: Text, opening: _Opening) -> _Stop | None:
    """The first line that closes, whatever the fence holds."""
    char, count = opening.mark[0], min(len(opening.mark), _MOST_MARKS)
    indent = min(opening.indent, _MOST_INDENT) + _CLOSING_INDENT
    closing = text.next(compiled(rf"(?m)^[ \t]{{0,{indent}}}{char}{{{count},}}[ \t\r]*$"), opening.start)
    return None if closing is None else _Stop(end=closing.start(), after=text.line_end(closing.end()))


def _stop_in_code(text: Text, opening: _Opening) -> _Stop | None:
    """The first place outside of strings and comments where the fence may end."""
    position, holes, shorter = opening.start, list[tuple[int, int]](), None
    while (token := _TOKEN.search(text.text, position)) is not None:
        position = token.end()
        if token["string"]:
            if (after := _string_end(text, token)) is None:
                return None
            position = after
        elif token["closing"]:
            return _Stop(end=token.start(), after=token.end(), tag=True, holes=tuple(holes))
        elif token["opening"]:
            if (closing := text.next_said(CLOSING, position)) is not None:
                holes.append((token.start(), closing.end()))
                position = closing.end()
        elif token["marks"] and (stop := _stop_at(text, opening, token)):
            if not stop.shorter:
                return replace(stop, holes=tuple(holes))
            shorter = shorter or replace(stop, holes=tuple(holes))
    return shorter


def _string_end(text: Text, token: re.Match[str]) -> int | None:
    mark = token["string"]
    if mark in _LONG_ENDS and text.next(_LONG_ENDS[mark], token.end()) is None:
        return None
    found = _STRING_REST[mark].match(text.text, token.end())
    return None if found is None else found.end()


def _stop_at(text: Text, opening: _Opening, token: re.Match[str]) -> _Stop | None:
    """The end of the fence at marks in its code."""
    run = token["marks"].strip()
    start = token.start() + token["marks"].index(run)
    if run[0] != opening.mark[0] and not (opening.is_code and text.begins_line(start) and text.ends_line(token.end())):
        return None
    shorter = run[0] == opening.mark[0] and len(run) < len(opening.mark)
    if shorter and not (opening.is_code and text.begins_line(start) and text.ends_line(token.end())):
        return None
    end = text.line_start(start) if text.begins_line(start) else start
    if text.ends_line(token.end()):
        return _Stop(end=end, after=text.line_end(token.end()), shorter=shorter)
    tag = _TAG.match(text.text, token.end())
    if tag is not None and tag[1].lower() in TAGS:  # the marks, or the last of them, open the next fence
        return _Stop(end=end, after=token.end() - min(len(run), len(opening.mark)))
    return _Stop(end=end, after=token.end())


def _stray_tag(text: Text, opening: _Opening, stop: _Stop | None) -> re.Match[str] | None:
    """The closing tag of a thought that nothing in the fence opened."""
    tag = text.next(_TAG_LINE, opening.start)
    if tag is None or (stop is not None and tag.start() >= stop.end):
        return None
    opened = text.next(_OPENING_LINE, opening.start)
    if opened is not None and opened.start() < tag.start():
        return None
    return tag if opening.is_code or _goes_on(text, tag.end(), stop) else None


def _goes_on(text: Text, position: int, stop: _Stop | None) -> bool:
    """Whether a fence that holds such a tag ends only with another fence: it was never closed itself."""
    if stop is None:
        return True
    opened = text.next(_NAMED, position)
    return opened is not None and opened.start() < stop.end


def _code(text: Text, opening: _Opening, stop: _Stop) -> str:
    """What is code between the opening and the stop, without the indentation of the opening."""
    pieces, position = [opening.first], opening.start
    for start, end in stop.holes:
        pieces.append(text.text[position:start])
        position = end
    code = "".join([*pieces, text.text[position : max(position, stop.end)]])
    if not opening.indent:
        return code
    return "".join(_outdented(line, opening.indent) for line in code.splitlines(keepends=True))


def _outdented(line: str, indent: int) -> str:
    return line[indent:] if not line[:indent].strip() else line
