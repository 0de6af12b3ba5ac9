"""What in a prompt may leave its task unclear, by rules that anybody can read. They are hints: nothing is changed or
refused by them."""

from __future__ import annotations

import re

_VAGUE = re.compile(
    r"\b(something|somehow|stuff|things?|etc|whatever|as needed|if possible|and so on)\b\.?", re.IGNORECASE
)
_REFERS = re.compile(r"^\W*(?:\w+\s+)?(it|this|that|these|those|them)\b", re.IGNORECASE)
_ASKS_BACK = re.compile(r"\b(ask me|let me know|wait for (me|my)|interactively|confirm with me)\b", re.IGNORECASE)
_FEWEST_WORDS = 3
_WORDS_FOR_A_MEASURE = 6
_MEASURED = re.compile(
    r"\d|\b(test|must|should|return|only|exactly|at least|at most|format|json|list|table)s?\b", re.IGNORECASE
)


def unclear_in(prompt: str, *, has_data: bool = False) -> tuple[str, ...]:
    """What may be unclear about a prompt, a sentence each; `has_data`: it comes with data that it may refer to."""
    found: list[str] = []
    words = prompt.split()
    if len(words) < _FEWEST_WORDS:
        found.append(f"it has only {len(words)} {'word' if len(words) == 1 else 'words'}: say what is to come of it")
    if not has_data and (match := _REFERS.search(prompt)):
        found.append(f"it begins with {match[1]!r}, and nothing before it says what that is: tasks see no earlier ones")
    if match := _VAGUE.search(prompt):
        found.append(f"{match[0]!r} leaves open what is meant")
    if match := _ASKS_BACK.search(prompt):
        found.append(f"{match[0]!r} waits for somebody, and nobody answers a task while it runs")
    if len(words) >= _WORDS_FOR_A_MEASURE and not _MEASURED.search(prompt):
        found.append("nothing in it says when it is done: name a form, a number or a test")
    return tuple(found)


def amended(prompt: str, *, has_data: bool = False) -> str:
    """A suggestion how a prompt might be made clear, with the places that only its author can fill; the prompt itself
    where nothing is unclear."""
    unclear = unclear_in(prompt, has_data=has_data)
    if not unclear:
        return prompt
    asked = "".join(f"\n- {each}" for each in unclear)
    blanks = "Done when: <what can be checked>\nForm of the answer: <text, JSON, files>"
    return f"{prompt.rstrip()}\n\n{blanks}\n\nStill open:{asked}"
