"""Writes the cells that set variables from JSON and that show them: plain Python, so that every sandbox takes them."""

from __future__ import annotations

import keyword
import math
from typing import TYPE_CHECKING

from rlm.core.exceptions import ToolError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rlm.core.types import Json

LIST_ALL = "SHOW_VARS()"
MAX_CHARS = 256_000
"""The most characters of the code that sets the values of one call; more belongs in a file."""
_MAX_DEPTH = 50
_TAKEN = frozenset(
    {
        "FINAL",
        "FINAL_VAR",
        "SHOW_VARS",
        "SubcallError",
        "context",
        "llm_map",
        "llm_query",
        "llm_query_batched",
        "rlm_query",
        "rlm_query_batched",
        "save_artifact",
    }
)


def setting(variables: Mapping[str, Json]) -> str:
    """The cell that sets these variables. Raises:
    ToolError: a name can't be set, or there is too much.
    """
    if not variables:
        raise ToolError('give at least one variable: {"name": value}')
    code = "\n".join(f"{_name(name)} = {_literal(value, 0)}" for name, value in variables.items())
    if len(code) > MAX_CHARS:
        raise ToolError(f"that is {len(code):,} characters; for more write a file and use load_context")
    return code + "\n"


def showing(names: Sequence[str]) -> list[str]:
    """A cell for each name that shows its value. Raises:
    ToolError: a name is not that of a variable.
    """
    return [_identifier(name) for name in names]


def _name(name: str) -> str:
    if name == "context":
        raise ToolError("context is the data of the session: load_context sets it")
    if name in _TAKEN:
        raise ToolError(f"{name} is a function of the REPL; choose another name")
    return _identifier(name)


def _identifier(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise ToolError(f"{name[:60]!r} can't name a variable: use letters, digits and '_', no digit first")
    return name


def _literal(value: Json, depth: int) -> str:
    if depth > _MAX_DEPTH:
        raise ToolError(f"a value is nested more than {_MAX_DEPTH} deep")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_literal(item, depth + 1)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_literal(item, depth + 1) for item in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float({str(value)!r})"
    return repr(value)
