"""The cell that a tool call of a function of the REPL stands for: small models call `llm_query` or FINAL as if they
were tools. Nothing is run here."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from rlm.core.dialects import codelike

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from rlm.core.types import Json


def cell_of(name: str, arguments: Mapping[str, Json], known: Set[str]) -> str:
    """The code that calls the function, and prints what it gives. A text that is an expression over `known` variables,
    or over `context`, is that expression."""
    if name == "FINAL_VAR":
        return f"FINAL_VAR({_only(arguments)!r})"
    if name == "FINAL":
        return f"FINAL({_code(_only(arguments), known)})"
    named = ((key, _code(value, known | {"context"})) for key, value in arguments.items() if key.isidentifier())
    return f"print({name}({', '.join(f'{key}={code}' for key, code in named)}))"


def _only(arguments: Mapping[str, Json]) -> Json:
    """The argument of a function that takes one, whatever it was named; several are one value."""
    if "value" in arguments or len(arguments) == 1:
        return arguments.get("value", next(iter(arguments.values())))
    return dict(arguments)


def _code(value: Json, known: Set[str]) -> str:
    tree = codelike.parse(value.strip()) if isinstance(value, str) else None
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return repr(value)
    return str(value).strip() if not known.isdisjoint(codelike.names_used(tree)) else repr(value)
