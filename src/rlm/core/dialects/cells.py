"""Chooses, of the code that a reply shows, what was meant to run: a fence may as well hold an example, an output that
the model made up, or a part of its answer. The rules stand in `dialects`; nothing is run here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlm.core.dialects import codelike
from rlm.core.dialects.blocks import OUTPUT_TAGS, PYTHON_TAGS, REPL_TAG
from rlm.core.dialects.markup import CODE_TOOL, FUNCTIONS
from rlm.core.dialects.passages import Fence, Passages
from rlm.core.dialects.repairs import repaired

if TYPE_CHECKING:
    from collections.abc import Callable, Set

REPL_NAMES = (FUNCTIONS | {CODE_TOOL, "context"}) - {"chunks", "save_artifact"}
"""Names by which code shows that it was meant for the REPL; the two left out are words of any program."""


def chosen(said: Passages, known: Set[str] | None) -> list[Fence]:
    """The fences to run, in order; a whole reply that is code comes as one. Empty if there are none.

    Where the reply may be an answer, `known` are the variables that are set: code must then use one of them or a name
    of the REPL, or stand in ```repl. None: the reply can only be code.
    """
    rules: list[Callable[[Fence], bool]] = [
        lambda fence: fence.language == REPL_TAG,
        lambda fence: fence.language in PYTHON_TAGS and known is None,
        lambda fence: fence.language not in OUTPUT_TAGS and _meant(fence.code, known),
    ]
    full = [fence for fence in said.fences if fence.code.strip()]
    for rule in rules:
        if found := [fence for fence in full if rule(fence)]:
            return found
    if not said.fences and not said.cut and _meant(said.prose, known) and not _is_final(said.prose):
        return [Fence(language="", code=said.prose)]
    return []


def working(said: Passages, known: Set[str]) -> list[Fence]:
    """The fences of a last reply to run: those that would be chosen, without those that only define something, for such
    code may well be what was asked for."""
    return [fence for fence in chosen(said, known) if fence.language == REPL_TAG or not _defines(fence.code)]


def _defines(code: str) -> bool:
    tree = codelike.parse(code)
    return tree is not None and codelike.only_defines(tree)


def plain_text(said: Passages) -> str:
    """Where a FINAL may stand when there is no code: the prose, and fences that hold text."""
    return "\n".join([said.prose, *(fence.code for fence in said.fences if fence.language in {"", "text", "txt"})])


def _meant(text: str, known: Set[str] | None) -> bool:
    mended = repaired(text)
    tree = codelike.parse(text if mended is None else mended.code)
    if tree is None or not codelike.acts(tree):
        return False
    return known is None or not codelike.names_used(tree).isdisjoint(REPL_NAMES | known)


def _is_final(text: str) -> bool:
    """Whether there is a FINAL and nothing else: that is read as prose, where the answer needs no quotes."""
    mended = repaired(text)
    tree = codelike.parse(text if mended is None else mended.code)
    return tree is not None and len(tree.body) == 1 and text.lstrip().startswith("FINAL")
