"""Watches one completion, and says where it goes wrong: each thing once, in short, with the way on.

An answer that is held back is taken when it comes again, and where no turn is left it is not held back at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.events import Advised
from rlm.core.loop.advice.answers import Typed, is_empty, unseen
from rlm.core.loop.advice.circles import Circles
from rlm.core.loop.advice.errors import is_of_data, way_on
from rlm.core.loop.advice.looking import look
from rlm.core.loop.advice.outputs import hidden_words, is_cut, is_data
from rlm.core.loop.advice.queries import QUERIES, is_apology, is_blind, prompts_in
from rlm.core.loop.advice.sources import wrong_sources
from rlm.core.loop.advice.wording import strings, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from rlm.core.config import Config
    from rlm.core.run import Task
    from rlm.core.types import ExecResult, Final, Json

REPEATED_WARM = 3
"""From so many cells in a row on that failed by the same error, or did the same again, the temperature is raised,
where one is set."""
DATA_CHARS = 2_000
"""How much is shown of an output that is the data itself."""
WARMER = 0.4
"""How much higher the temperature is with each such cell, up to 1."""
_ASKED_CHARS = 20_000
"""So much of a task is looked at."""
_LOOKED_AT = 20
"""So many sub-calls are looked at: the note is for the first ones of a model that doesn't know how they work."""

BLIND = (
    "llm_query sees nothing but its prompt, and the prompt {prompt} holds nothing of `context`. Put the text to read "
    "into it, such as llm_query(question + '\\n\\n' + part), or look for the answer in `context` with Python: {look}"
)
APOLOGY = (
    "Held back: that answer only says that it can't be answered. A sub-model sees nothing but its prompt: give it the "
    "text to read, or look for the answer in `context` with Python: {look}\n"
    "If it is your answer all the same, send it again."
)
UNSEEN = (
    "Held back: {part} was neither printed nor computed by a cell. Compute it in code and give that value, as in "
    "FINAL(result). If you are sure of it, send the same answer again."
)
CUT = (
    "Held back: you answer after an output of which you saw only a part ({chars:,} characters were cut out). Search, "
    "count or filter in code, and give that value, as in FINAL(result). If you are sure, send the same answer again."
)
HIDDEN = "What was cut out of that output has {words}, which the rest has not: print only the lines with it."
EMPTY = (
    "Held back: that says that nothing was found, which mostly means that the code doesn't fit the data. Print a small "
    "part of the data that should have been found, compare it with your condition or pattern, and correct that: "
    "{look}\nIf it is right all the same, send it again."
)
DATA = (
    "That printed the data itself, of which you can only see so little. It is in `context`: have code search it, count "
    "in it or take it apart, as in {look}"
)
ANEW = "Your last replies are taken out of this conversation, for they did the same again. Go another way. {way}"
SAME = (
    "You ran this same cell before, with the same result. If that is the answer, give it by FINAL(value) in code; else "
    "look at something else."
)
ERROR = "The same {kind} again. {way}"


class Adviser:
    """What has been seen of one completion so far."""

    def __init__(self, task: Task, config: Config, shown: Callable[[], Iterable[str]]) -> None:
        """`shown` gives all that the model was shown by now, the task first."""
        self._context = task.context
        self._asked = task.prompt[:_ASKED_CHARS]
        self._config = config
        self._shown = shown
        self._said: set[str] = set()
        self._waiting: dict[str, str] = {}
        """The notes for the end of this turn, each with its name."""
        self._noted: dict[str, str] = {}
        """The notes that were said, as above; they hold where the model is asked anew."""
        self._words: set[str] = set()
        """The words of all code so far."""
        self._queries = 0
        self._apologies: set[str] = set()
        self._typed = Typed()
        self._is_typed = True
        """Whether what the cell in progress gives as the answer was typed."""
        self._circles = Circles()
        self._cut_chars = 0
        """How much was cut out of the last output."""
        self._is_data = False
        """Whether the last output was the data itself."""
        self._way = ""
        """What to do instead of the last cell."""

    @property
    def temperature(self) -> float | None:
        """The temperature of the next turn; raised only where the user gave one, for not every model takes one."""
        usual = self._config.temperature
        if usual is None or not self._config.advice or self._circles.repeated < REPEATED_WARM:
            return usual
        return max(usual, min(1.0, usual + WARMER * (self._circles.repeated - REPEATED_WARM + 1)))

    @property
    def shown_chars(self) -> int:
        """How much is shown of what the last cell printed."""
        limit_chars = self._config.cell_output_chars
        return min(limit_chars, DATA_CHARS) if self._is_data and self._config.advice else limit_chars

    def begin_turn(self) -> None:
        """Take note that a turn begins: what was not said in the last one is not said any more."""
        self._waiting.clear()
        self._circles.begin_turn()

    def begin(self, code: str) -> None:
        """Take note of a cell before it runs."""
        self._words.update(words(code))
        self._is_typed = self._typed.gives_final(code)

    def query(self, name: str, args: tuple[Json, ...], kwargs: Mapping[str, Json]) -> None:
        """Take note of a call of guest code before it is answered."""
        if not self._has_data or self._queries >= _LOOKED_AT or "blind_query" in self._said:
            return
        prompts = prompts_in(name, args, kwargs)
        self._queries += bool(prompts)
        if prompts and all(is_blind(each, self._words, self._asked, self._shown()) for each in prompts):
            self._wait("blind_query", BLIND.format(prompt=_quoted(prompts[0]), look=self._look))

    def answered(self, name: str, answer: Json) -> None:
        """Take note of what a call of guest code was answered."""
        for text in strings(answer) if name in QUERIES else ():
            if is_apology(text):
                self._apologies.add(text.strip())

    def end(self, code: str, result: ExecResult) -> None:
        """Take note of what became of a cell."""
        self._circles.end(code, result)
        self._way = "" if result.error is None else way_on(result.error, self._context)
        if result.error is not None and self._circles.failed > 1:
            self._wait("same_error", ERROR.format(kind=result.error.kind, way=self._way))
        elif result.error is not None and is_of_data(result.error, self._context):
            self._wait("same_error", self._way)
        elif result.error is None and self._circles.is_same:
            self._wait("same_cell", SAME)
        if result.output:
            self._see(result)

    def held(self, final: Final, *, in_code: bool) -> Iterator[Advised]:
        """What is to be said in place of taking an answer, given in code or in prose, its sources checked; nothing
        where it may be taken.
        """
        if wrong := wrong_sources(final.sources, asked=self._config.cite and self._context.kind != "none"):
            yield from self._held("sources", wrong)
        texts = strings(final.value) or [final.text]
        by_other = self._apologies.issuperset(text.strip() for text in texts)
        if by_other or (self._has_data and all(map(is_apology, texts))):
            yield from self._held("apology", APOLOGY.format(look=self._look))
        elif self._has_data and is_empty(final):
            yield from self._held("empty_answer", EMPTY.format(look=self._look))
        elif not self._has_data or (in_code and not self._is_typed) or {"unseen_answer", "cut_answer"} & self._said:
            return
        elif self._cut_chars:
            yield from self._held("cut_answer", CUT.format(chars=self._cut_chars))
        elif part := unseen(final.text, self._shown()):
            yield from self._held("unseen_answer", UNSEEN.format(part=_quoted(part)))

    def notes(self) -> Iterator[Advised]:
        """What is to be said after the results of this turn, and how it will be asked otherwise."""
        for message, name in self._waiting.items():
            yield Advised(name=name, message=message)
        name = "same_error" if self._circles.error else "same_cell"
        if self.temperature != self._config.temperature:
            message = f"the next request has temperature {self.temperature:g}"
            yield Advised(name=name, message=message, way="temperature")
        if self._circles.is_worth_nothing:
            message = ANEW.format(way="\n".join(self._noted | self._waiting) or self._way or SAME)
            yield Advised(name=name, message=message, way="anew")
        if self._circles.is_stuck:
            message = (
                f"the last {self._circles.failed} cells failed by the same {self._circles.error.partition(':')[0]}"
            )
            yield Advised(name="same_error", message=message, way="landing")

    def said(self, advised: Iterable[Advised]) -> None:
        """Take note of what was said, now or in the record."""
        for each in advised:
            if each.way == "note" and each.name != "same_cell":
                self._noted[each.message] = each.name
            self._said |= {each.message} if each.name == "same_error" else {each.name, each.message}

    def _see(self, result: ExecResult) -> None:
        """Take note of what a cell printed."""
        limit_chars = self._config.cell_output_chars
        self._cut_chars = result.output_chars - limit_chars if is_cut(result, limit_chars) else 0
        self._is_data = self._cut_chars > 0 and is_data(result.output, self._context)
        if self._is_data:
            self._wait("printed_data", DATA.format(look=self._look))
        if self._cut_chars and (hidden := hidden_words(result, limit_chars, self._asked)):
            self._wait("cut_output", HIDDEN.format(words=", ".join(hidden)))

    @property
    def _look(self) -> str:
        return look(self._context, self._asked)

    @property
    def _has_data(self) -> bool:
        """Whether there is data that the model hasn't seen by being given the task."""
        return not self._context.is_shown

    def _wait(self, name: str, message: str) -> None:
        if self._said.isdisjoint((name, message)):
            self._waiting[message] = name

    def _held(self, name: str, message: str) -> Iterator[Advised]:
        if name not in self._said:
            yield Advised(name=name, message=message, way="held")


def _quoted(text: str) -> str:
    """A text in quotation marks, cut to some sixty characters."""
    line = " ".join(text.split())
    return f'"{line[:60]}…"' if len(line) > 60 else f'"{line}"'
