"""Sub-calls that ask about data which their prompt doesn't hold, and what models say to that."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rlm.core.loop.advice.wording import runs, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

QUERIES = frozenset({"llm_query", "llm_query_batched", "rlm_query", "rlm_query_batched"})
TYPED_CHARS = 2_000
"""A longer prompt is not typed by the model: there is data in it."""
_QUOTED_WORDS = 3
"""So many words in a row, that the model was shown and the task hasn't, are data in a prompt."""
_APOLOGY_CHARS = 600
"""A longer text says more than that it can't answer."""

_CANT = r"(?:can ?not|can['’]?t|could not|couldn['’]?t|do not|don['’]?t|am not able to|am unable to|was unable to)"
_APOLOGY = re.compile(
    "|".join(
        (
            r"\bi(?:['’]m| am) (?:\w+ )?(?:sorry|unable|afraid|not able)\b",
            rf"\bi {_CANT} (?:\w+ )?(?:have|access|see|find|determine|provide|answer|assist|help|identify|read|know)",
            r"\bas an? (?:ai|(?:large )?language)\b",
            r"\b(?:please|could you|can you) (?:\w+ )?(?:provide|share|supply|paste|specify|clarify|give me)\b",
            r"\byou (?:have not|haven['’]t|did not|didn['’]t) (?:provide|share|include|give|attach|specif)",
            r"\b(?:no|not enough|insufficient|without) (?:\w+ ){0,2}(?:context|information|text|data|details?)\b"
            r".{0,40}\b(?:provided|available|given|to (?:answer|determine))\b",
            r"\b(?:unable|impossible|not possible) to (?:determine|answer|access|provide|find|say|tell)\b",
            r"\bi apologi[sz]e\b|\bsorry, (?:but )?i\b|^sorry\b",
            r"\bes tut mir leid\b|\blo siento\b|\bje suis désolée?\b|\bmi dispiace\b|\bsinto muito\b|\bdesculpe\b",
            r"抱歉|对不起|無法回答|无法(?:回答|确定|提供)|申し訳|죄송",
        )
    )
)


def prompts_in(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[str]:
    """The prompts of a call of `llm_query` or `llm_query_batched`; empty for others, and for those with images."""
    if name not in ("llm_query", "llm_query_batched") or kwargs.get("images"):
        return []
    key = "prompt" if name == "llm_query" else "prompts"
    given = args[0] if args else kwargs.get(key)
    texts = [given] if name == "llm_query" else given
    return [text for text in texts if isinstance(text, str)] if isinstance(texts, list | tuple) else []


def is_blind(prompt: str, typed: frozenset[str] | set[str], task: str, shown: Iterable[str]) -> bool:
    """Whether a prompt holds nothing of the data: all its words are in the code that the model `typed` or in the
    `task`, and none of it was copied from what the model was `shown`."""
    if len(prompt) > TYPED_CHARS or not (typed | set(words(task))).issuperset(words(prompt)):
        return False
    quotes = runs(prompt, _QUOTED_WORDS) - runs(task, _QUOTED_WORDS)
    return not quotes or all(quotes.isdisjoint(runs(text, _QUOTED_WORDS)) for text in shown)


def is_apology(text: str) -> bool:
    """Whether a reply says no more than that it can't answer."""
    return len(text) <= _APOLOGY_CHARS and _APOLOGY.search(text.casefold()) is not None
