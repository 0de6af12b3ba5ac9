"""What to do about an error that a cell raises again: what the value is, and what to write instead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm.core.contexts.context import Context
    from rlm.core.types import ExecError

_CHANGING = re.compile(r"0x[0-9a-f]+|\d+", re.IGNORECASE)
_TAKEN_FOR = frozenset({"TypeError", "AttributeError", "KeyError", "IndexError", "JSONDecodeError"})
_SPLIT = "What it is split by is not in that text: see the text in the values above, and split by what stands there."
_SAMPLE = "print type(x) and a small part of it before you use it"

_WAYS: tuple[tuple[str, str, str], ...] = (
    ("TypeError", r"JSON object must be str.* not (\w+)", "It is a {0} already: use it as it is, without json.loads."),
    ("TypeError", r"string indices must be", "It is a str, not a dict: parse it first, or search it as text."),
    ("TypeError", r"(list|tuple) indices must be", "It is a {0}: take an item by its number, or `for item in x`."),
    ("TypeError", r"expected string or bytes-like object|first argument must be string", "Give it a str: {sample}."),
    ("TypeError", r"can only concatenate str|must be str, not|sequence item", "Use an f-string, or str(x)."),
    ("TypeError", r"'(\w+)' object is not callable", "A variable of yours hides that function: use another name."),
    ("TypeError", r"'(\w+)' object is not", "It is a {0}: {sample}."),
    ("TypeError", r"argument", "Look up the arguments of that function above, and give those."),
    ("AttributeError", r"'(list|tuple)' object has no", "It is a {0} already: `for item in x`, or join its items."),
    ("AttributeError", r"'dict' object has no", "It is a dict: use x['key'], x.keys() or x.items()."),
    ("AttributeError", r"'str' object has no", "It is a str: parse it first, or search it as text."),
    ("AttributeError", r"'NoneType' object", "It is None: nothing was found before; test for that."),
    ("AttributeError", r"", "There is no such attribute: {sample}."),
    ("KeyError", r"", "There is no such key: print(list(x)[:20]) first."),
    ("IndexError", r"", "It has fewer items: print(len(x)) first."),
    (
        "JSONDecodeError",
        r"",
        "It is no JSON as a whole: print(x[:200]); perhaps each line is, or none.",
    ),
    ("ValueError", r"unpack", "The parts are not as many as expected: print one of them, and skip those that differ."),
    ("ValueError", r"invalid literal|could not convert", "Some values are no numbers: print one, and skip those."),
    ("NameError", r"", "Define it in this cell; SHOW_VARS() lists the variables that there are."),
    ("SyntaxError|IndentationError", r"", "Write the cell anew, shorter, as plain Python."),
    ("ImportError|ModuleNotFoundError", r"", "That module is not here: do it in plain Python."),
    ("FileNotFoundError|PermissionError", r"", "There are no files here: the data is the variable `context`."),
    ("TimeoutError|KeyboardInterrupt", r"", "Do less in one cell: a part of the data, or a faster way."),
    ("SubcallError", r"", "Do without that call, or give it less."),
)


def signature(error: ExecError) -> str:
    """What makes two errors the same: numbers and addresses don't count."""
    return f"{error.kind}: {_CHANGING.sub('0', error.message)}"


def is_of_data(error: ExecError, context: Context) -> bool:
    """Whether the line that failed takes `context` for something else than it is."""
    failed = error.traceback.rpartition('File "<cell')[2]
    return error.kind in _TAKEN_FOR and context.kind != "none" and re.search(r"\bcontext\b", failed) is not None


def way_on(error: ExecError, context: Context) -> str:
    """What the model should do instead, and what `context` is where the failing code has to do with it."""
    if error.kind == "IndexError" and ".split(" in error.traceback:
        return _SPLIT
    ways = (_filled(way, found) for kinds, pattern, way in _WAYS if (found := _match(error, kinds, pattern)))
    way = next(ways, f"Do something else: {_SAMPLE}.")
    return f"{way} {_headline(context)}" if "context" in error.traceback and context.kind != "none" else way


def _match(error: ExecError, kinds: str, pattern: str) -> re.Match[str] | None:
    named = error.kind.rpartition(".")[2] in kinds.split("|")
    return re.search(pattern, error.message[:500]) if named else None


def _filled(way: str, found: re.Match[str]) -> str:
    return way.format(*found.groups(), sample=_SAMPLE)


def _headline(context: Context) -> str:
    return context.describe().partition("\n")[0]
