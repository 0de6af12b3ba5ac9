"""Answers that a model typed, rather than have code give them: which they are, and what in them nobody has seen."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from rlm.core.dialects import codelike
from rlm.core.loop.advice.wording import is_near, numbers, ungrouped, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.core.types import Final

_FINALS = frozenset({"FINAL", "FINAL_VAR"})
_FORMS = frozenset({"str", "int", "float", "round", "repr", "dict", "list", "tuple"})
"""Functions that give what they were given in another form."""
_CHECKED_CHARS = 200
"""A longer answer is composed, and may well say what stands nowhere."""
_CHECKED_WORDS = 5
"""So many words at most are an answer without numbers that can be held against what was shown."""
_JUDGEMENTS = frozenset(
    {"yes", "no", "true", "false", "none", "null", "unknown", "maybe", "neither", "both", "all", "positive", "negative"}
    | {"neutral", "mixed", "valid", "invalid", "correct", "incorrect", "pass", "fail", "ok", "not", "found", "nothing"}
    | {"nobody", "never", "always", "high", "medium", "low", "good", "bad"}
)
_EMPTY = re.compile(
    r"|0(?:\.0*)?|none|null|nan|\[\]|\{\}|nothing|not found|(?:(?:there|i) \w+ )?(?:no|none|nothing|not any)\b.{0,120}"
    r"\b(?:found|matche?[sd]?|available|exists?)[.! ]*",
    re.DOTALL,
)
_IDENTIFIER = re.compile(r"[\w./:@-]*\d[\w./:@-]*")


def is_empty(final: Final) -> bool:
    """Whether an answer says that there was nothing to be found."""
    value = final.text.strip() if final.value is None or isinstance(final.value, str) else final.value
    if isinstance(value, str):
        return len(value) <= _CHECKED_CHARS and _EMPTY.fullmatch(value.casefold()) is not None
    return value in (0, [], {}) and value is not False


class Typed:
    """Which variables of a REPL hold no more than what the model typed."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def gives_final(self, code: str) -> bool:
        """Take note of a cell; whether all that it gives as the answer was typed."""
        tree = codelike.parse(code)
        if tree is None:
            return False
        for statement in tree.body:
            self._note(statement)
        given = list(_given(tree)) if "FINAL" in code else []
        return bool(given) and all(self._is_typed(each) for each in given)

    def _note(self, statement: ast.stmt) -> None:
        match statement:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ) if self._is_typed(value) and not _may_change(value):
                self._names.add(name)
            case _ if self._names:
                self._names -= codelike.names_set(ast.Module(body=[statement], type_ignores=[]))

    def _is_typed(self, value: ast.expr) -> bool:
        if isinstance(value, ast.Name):
            return value.id in self._names
        known = self._names | _FORMS
        parts = list(ast.walk(value))
        return all(part.id in known for part in parts if isinstance(part, ast.Name)) and not any(
            isinstance(part, ast.BinOp | ast.comprehension | ast.Lambda | ast.Await) for part in parts
        )


def _may_change(value: ast.expr) -> bool:
    """Whether code can put something into a value later."""
    return any(isinstance(part, ast.List | ast.Dict | ast.Set | ast.Call) for part in ast.walk(value))


def _given(tree: ast.Module) -> Iterator[ast.expr]:
    """What a cell gives to FINAL, and as a name what it gives to FINAL_VAR."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FINALS and node.args:
            argument = node.args[0]
            if node.func.id == "FINAL_VAR" and isinstance(argument, ast.Constant):
                yield ast.Name(id=str(argument.value), ctx=ast.Load())
            else:
                yield argument


def unseen(answer: str, shown: Iterable[str]) -> str | None:
    """A part of a typed answer that stands in nothing that the model was `shown`; None where there is none to be told,
    as in answers of some length and in judgements. Numbers may be rounded."""
    if len(answer) > _CHECKED_CHARS or not answer.strip():
        return None
    texts = [ungrouped(text.casefold()) for text in shown]
    parts = [part.strip("./:@-") for part in _IDENTIFIER.findall(ungrouped(answer.casefold()))]
    if parts:
        known = {float(number) for text in texts for number in numbers(text)}
        return next((part for part in parts if not _is_seen(part, texts, known)), None)
    said = words(answer)
    if len(said) > _CHECKED_WORDS or not _JUDGEMENTS.isdisjoint(said):
        return None
    return None if any(word in text for word in said for text in texts) else answer.strip()


def _is_seen(part: str, texts: list[str], known: set[float]) -> bool:
    if any(part in text for text in texts):
        return True
    found = numbers(part)
    return bool(found) and not re.search("[a-z]", part) and all(is_near(number, known) for number in found)
