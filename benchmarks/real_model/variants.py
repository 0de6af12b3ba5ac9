"""Variants of what a model is told of its work: each changes some of the texts in `rlm/core/prompts`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from string import Template
from types import MappingProxyType
from unittest import mock

from rlm.core import prompts

Change = Callable[[str, str], str]
"""Gives the text for a name and the text that the project has."""

_SHORT = """\
You answer a task about data in the variable `context` of a persistent Python REPL. Look at its type, size and a small \
slice first, then search, count and compute with Python. Print little. Where text must be read, ask a model about \
parts of at most $part_chars characters.

In the REPL
- `context`: $context_kind
- `llm_query(prompt, *, model=None, output_type=None) -> str`: one call of a model that sees its prompt alone; \
`llm_query_batched(prompts) -> list`: many at once. `llm_map(question, parts, reduce=None) -> list`: the question \
about each part. `chunks(text, chars, overlap=0) -> list`.
$recursion
- `FINAL(value)`: end with this answer. `FINAL_VAR("name")`: with a variable. `SHOW_VARS()`: list them.
$guest_tools
- A cell may run $cell_timeout_s s. Variables stay.
$sandbox

$dialect

Limits of this run: $limits"""


def _shorter(name: str, text: str) -> str:
    return _SHORT if name == "system" else text


def _without_example(name: str, text: str) -> str:
    return text.partition("\n\nAn example")[0] if name.startswith("dialect_") else text


def _python_fences(name: str, text: str) -> str:
    return text.replace("```repl", "```python") if name == "dialect_code" else text


def _one_ending(name: str, text: str) -> str:
    """FINAL in code alone."""
    if not name.startswith("dialect_"):
        return text
    start = text.index("When you know the answer")
    end = text.index("A reply with", start)
    return f"{text[:start]}When a variable holds the answer, call FINAL(variable) in code. {text[end:]}"


VARIANTS: Mapping[str, Change] = MappingProxyType(
    {
        "as it is": lambda _name, text: text,
        "shorter": _shorter,
        "no example": _without_example,
        "python fences": _python_fences,
        "one ending": _one_ending,
    }
)


@contextmanager
def told(variant: str) -> Iterator[None]:
    """The models of this process are told their work so."""
    change, own = VARIANTS[variant], prompts._template

    def changed(name: str) -> Template:
        return Template(change(name, own(name).template))

    with mock.patch.object(prompts, "_template", changed):
        yield
