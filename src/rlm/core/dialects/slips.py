"""Remembers what a model said in one completion, to tell a slip from what is meant: code that is better not run, a text
given to FINAL that is the name of a variable, and going in circles. Knows code as text only, and runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.dialects import codelike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.types import ModelReply

MAX_CELLS = 20
"""How many cells of one reply are run: who fills the output with fences has lost the way."""
SAME_TOLD = 2
"""After so many repetitions of a reply to the same effect, the model is told each time."""
SAME_STUCK = 7
"""After so many the model is stuck."""
ASTRAY_STUCK = 8
"""After so many replies in a row from which nothing could be followed, it is stuck too."""

TWICE = "The same code stood here several times in a row; it ran once."
TOO_MANY = f"Not run: of one reply at most {MAX_CELLS} cells are run."
TOO_EARLY = (
    "Not run: this gives FINAL a constant, but was written before the output of the code above it was seen. Read that "
    "output, then call FINAL in a reply of its own."
)
A_NAME = (
    "Not run: FINAL({name!r}) gives that very text, and there is a variable of that name. For its value write "
    "FINAL({name}); if the text itself is the answer, write FINAL(str({name!r}))."
)
AGAIN = (
    "You have sent the same reply {times} times in a row, each time to the same effect. Do something else: print what "
    "the variables hold, take a smaller step, or give the best answer you have with FINAL(value)."
)


class Memory:
    """Of one completion."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        """The variables that its cells have set."""
        self._reply: object = None
        self._turn: object = None
        self._same = 0
        self._astray = 0

    @property
    def stuck(self) -> str | None:
        """Why nothing more is to be hoped for; None while there is hope."""
        if self._same >= SAME_STUCK:
            return f"the model sent the same reply {self._same + 1} times in a row, each time to the same effect"
        if self._astray >= ASTRAY_STUCK:
            return f"the model's last {self._astray} replies held nothing to run and no answer"
        return None

    def hear(self, reply: ModelReply, *, astray: bool) -> None:
        """Note a reply, and whether there was nothing in it to follow."""
        self._reply = (reply.text, [(call.name, call.arguments) for call in reply.tool_calls])
        self._astray = self._astray + 1 if astray else 0

    def circling(self, results: Sequence[str]) -> str | None:
        """What to tell a model whose last reply and its results are those of the turn before, once more."""
        turn = (self._reply, list(results))
        self._same, self._turn = self._same + 1 if turn == self._turn else 0, turn
        return AGAIN.format(times=self._same + 1) if self._same >= SAME_TOLD else None

    def problem(self, code: str, before: Sequence[str]) -> str | None:
        """Why `code` is not to be run after the cells `before` it in the same reply."""
        if before and code == before[-1]:
            return TWICE
        if len(before) >= MAX_CELLS:
            return TOO_MANY
        tree = codelike.parse(code)
        if tree is None:
            return None
        finals = codelike.fixed_finals(tree) if "FINAL" in code else []
        if finals and before:
            return TOO_EARLY
        known = self.names | codelike.names_set(tree)
        for name in finals:
            if isinstance(name, str) and name in known:
                return A_NAME.format(name=name)
        self.names = known
        return None

    def as_code(self, answer: str) -> str | None:
        """The cell that a `FINAL(answer)` in prose stands for, where `answer` is Python over variables that are set."""
        tree = codelike.parse(answer)
        if tree is None or self.names.isdisjoint(codelike.names_used(tree)):
            return None
        return f"FINAL({answer})"
