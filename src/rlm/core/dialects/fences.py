"""Takes a model's text apart, in linear time, for it is hostile and may be large: what was thought, what stands in
fences, which tool calls are written as markup, and the prose between. Nothing is judged or run here.

It goes through the text line by line. At the beginning of a line the rules of `LINE_RULES` are tried, in prose those of
`MARK_RULES` wherever a mark may stand; the first that makes something of the place decides how far it goes. What no
rule wants is prose. The rules themselves stand where they are made: `blocks` (fences), `thoughts`, `markup` (calls),
`endings`; a text in channels (`channels`) is taken apart into what each message says first.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rlm.core.dialects import blocks, endings, markup, prose, thoughts
from rlm.core.dialects.channels import messages_in
from rlm.core.dialects.families import CALLS, ENDS, PRINTED, THOUGHTS, either
from rlm.core.dialects.passages import Fence, Passages, Taken
from rlm.core.dialects.scanning import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Rule = Callable[[Text, int], Taken | None]

LINE_RULES: Mapping[str, Rule] = {
    "a fence": blocks.fenced,
    "a fence in a block quote": blocks.quoted_fence,
    "an answer with a fence in it": prose.answer_with_fence,
    "Action and Action Input": markup.action,
    "bare JSON": markup.bare,
}
MARK_RULES: Mapping[str, Rule] = {
    "a thought": thoughts.thought,
    "a closing tag that nothing opened": thoughts.unopened,
    "a made-up result": thoughts.printed,
    "the end of the turn": endings.turn_end,
    "calls in the marks of a family": markup.wrapped,
    "<function=name>": markup.named,
    "<|tool_call_begin|>": markup.begun,
    "<|python_tag|>": markup.python_tag,
    "<execute_code>": markup.code_element,
    "a tag around code": markup.code_fence,
    "a closing tag of a call": markup.orphan,
}

_LINE_MARK = re.compile(
    r"[ \t\u00a0\u200b\ufeff]*+(?:[`~]{3}|>|[ \t*_#>`-]*+FINAL|\**Action|[{\[]|(?:functions\.)?execute_code"
    r"|(?:[*+-]|\d{1,3}[.)])[ \t]+[`~]{3})"
)
"""What a line begins with, if one of the rules for lines may want it."""
_MARKS = [*THOUGHTS, *THOUGHTS.values(), *CALLS, *CALLS.values(), *ENDS, *(mark for pair in PRINTED for mark in pair)]
_MARK = re.compile(
    rf"(?i:{either(_MARKS)})|</?(?:\w+:|[|｜]DSML[|｜])?(?:function|invoke|parameter|tool_use|function_call|tool_call)"
    r"|<[|｜](?:tool|python_tag|action_start)|<(?:execute|tool_code|code|python|ipython|repl)|\[PYTHON\]"
)


def read(text: str, *, cut: bool = False) -> Passages:
    """Take `text` apart; of one that was `cut` off, a fence or call that never closed is left out."""
    messages = messages_in(text, markup.CODE_TOOL)
    if messages is None:
        return _Reader(Text(text, cut=cut)).read()
    found = _Reader(Text(messages.said, cut=cut)).read()
    found.calls += messages.calls
    if cut and messages.calls and not messages.closed:
        found.incomplete = True
        found.calls.pop()
    return found


def split(text: str) -> tuple[list[Fence], str]:
    """The fenced blocks of `text` in order, and the prose around them."""
    found = read(text)
    return found.fences, found.prose


class _Reader:
    """Where the reading of a text has got to, and what was found."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._position = 0
        self._found = Passages(cut=text.cut)
        self._prose: list[str] = []
        self._spoken: list[str] = []
        self._last: Taken | None = None
        """What the text ended in, if not in prose."""

    def read(self) -> Passages:
        while self._position < len(self._text):
            self._take()
        self._leave_out()
        return self._finished()

    def _take(self) -> None:
        """Take what begins at the line, or the rest of a line, where the reading is."""
        self._text.base = self._position
        if _LINE_MARK.match(self._text.text, self._position):
            for rule in LINE_RULES.values():
                if (taken := rule(self._text, self._position)) is not None:
                    self._add(self._position, taken)
                    return
        end = self._text.line_end(self._position)
        place = self._text.next(_MARK, self._position)
        while place is not None and place.start() < end:
            if (taken := self._at_mark(place)) is not None:
                self._say(place.start())
                self._add(place.start(), taken)
                return
            place = self._text.next(_MARK, place.start() + 1)
        self._say(end)

    def _at_mark(self, place: re.Match[str]) -> Taken | None:
        if self._text.is_quoted(*place.span()):
            return None
        for rule in MARK_RULES.values():
            if (taken := rule(self._text, place.start())) is not None:
                return taken
        return None

    def _say(self, end: int) -> None:
        """What stands up to `end` is prose."""
        words = self._text.text[self._position : end]
        self._prose.append(words)
        self._spoken.append(words)
        self._position = end
        self._last = None if words.strip() else self._last

    def _add(self, start: int, taken: Taken) -> None:
        words = self._text.text[start : taken.end]
        if taken.prose:
            self._say(taken.end)
            return
        self._position = taken.end
        if taken.unopened:
            self._begin_anew()
            return
        if taken.fence is not None:
            self._found.fences.append(taken.fence)
        self._found.calls += taken.calls
        if taken.fence is not None or taken.calls:
            self._spoken.append(words)
            self._last = taken

    def _begin_anew(self) -> None:
        """All before may have been thought."""
        before = self._finished()
        before.cut = False
        self._found = Passages(earlier=before if before.spoken.strip() else before.earlier, cut=self._text.cut)
        self._prose, self._spoken, self._last = [], [], None

    def _finished(self) -> Passages:
        self._found.prose, self._found.spoken = "".join(self._prose), "".join(self._spoken)
        return self._found

    def _leave_out(self) -> None:
        """Of a text that was cut off, take out what it was cut off in."""
        if not self._text.cut or self._last is None or self._last.closed:
            return
        self._found.incomplete = True
        if self._last.fence is not None:
            self._found.fences.pop()
        else:
            del self._found.calls[-len(self._last.calls) :]
