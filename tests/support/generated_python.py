"""Python programs drawn at random, rich in scopes and in names that mean different things, and what each does."""

from __future__ import annotations

import builtins
from types import FunctionType
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = ("alpha", "beta", "gamma", "delta")
names = st.sampled_from(NAMES)
_DEEPEST = 3
_CALLS_DEEP = 3


@st.composite
def expressions(draw: st.DrawFn, depth: int = 2) -> str:
    """An expression; it calls nothing that could run for long."""
    kind = draw(st.integers(0, 11)) if depth else draw(st.integers(0, 2))
    if kind <= 2:
        return draw(names) if kind else str(draw(st.integers(0, 9)))
    # What is drawn takes most of the time: each form draws no more than it has.
    name, inner = draw(names), expressions(depth=depth - 1)
    forms: dict[int, Callable[[], str]] = {
        3: lambda: f"({draw(inner)}, {draw(inner)})",
        4: lambda: f"[{draw(inner)} for {name} in ({draw(inner)},) if {draw(names)}]",
        5: lambda: f"(lambda {name}, {draw(names)}_={draw(inner)}: {draw(inner)})",
        6: lambda: f"({draw(inner)} if {draw(inner)} else {name})",
        7: lambda: f"f'{name} {{{name}!r:>{{{draw(st.integers(1, 5))}}}}} {{{draw(names)}}}'",
        8: lambda: f"show({draw(inner)}, {name}={draw(inner)})",
        9: lambda: f"{{{draw(inner)!r}: {draw(inner)}, **{{}}}}",
        10: lambda: f"({name} := {draw(inner)})" if depth == 2 else draw(inner),
        11: lambda: f"[show({name}) for _ in (1,)]",
    }
    return forms[kind]()


@st.composite
def blocks(draw: st.DrawFn, depth: int = 0, kind: str = "module") -> list[str]:
    """The lines of a block."""
    lines: list[str] = []
    if kind == "function":
        lines += [f"global {name}" for name in draw(st.sets(names, max_size=1))]
    for _ in range(draw(st.integers(1, 4))):
        lines += draw(statements(depth=depth, kind=kind))
    return lines


@st.composite
def statements(draw: st.DrawFn, depth: int, kind: str) -> list[str]:
    """The lines of one statement."""
    form = draw(st.integers(0, 13 if depth < _DEEPEST else 6))
    name = draw(names)
    if form <= 6:
        return [draw(_simple(form, name))]
    body = ["    " + line for line in draw(blocks(depth=depth + 1, kind={7: "function", 8: "class"}.get(form, kind)))]
    if form == 7:
        parameters = draw(st.lists(names, max_size=2, unique=True))
        given = [f"{each}={draw(expressions(depth=0))}" for each in parameters]
        taken = {line.split()[1] for line in body if line.startswith("    global ")}
        body = [line for line in body if not (line.startswith("    global ") and taken & set(parameters))]
        return [f"def {name}({', '.join(given)}):", *body, f"    return {draw(names)}"]
    if form == 8:
        return [f"class {name}:", *body]
    if form == 10:
        return ["try:", *body, f"except Exception as {name}:", f"    show(type({name}).__name__)"]
    if form == 13:
        return ["while True:", *body, "    break"]
    value = draw(expressions())
    return {
        9: [f"if {value}:", *body, "else:", f"    show({name})"],
        11: [f"with manager({value}) as {name}:", *body],
        12: [f"match {value}:", f"    case [{name}, *_]:", *["    " + line for line in body], "    case _: pass"],
    }[form]


@st.composite
def _simple(draw: st.DrawFn, form: int, name: str) -> str:
    """A statement on one line."""
    if form == 5:
        return f"import math as {name}" if draw(st.booleans()) else f"from os import path as {name}"
    value = draw(expressions())
    return [
        f"{name} = {value}",
        f"show({value})  # {name}",
        f"print({value})",
        f"{name}: int = {value}; show('{name}', {name})",
        f"for {name} in ({value},): show({name})",
        "",
        f"{name} += 1" if draw(st.booleans()) else f"def {name}(x: '{name} | {draw(names)}'): return '{name}'",
    ][form]


def programs() -> st.SearchStrategy[str]:
    """A module that the parser takes."""
    return blocks().map(lambda lines: "\n".join(lines) + "\n").filter(parses)


def outcome(program: str) -> list[object]:
    """What a program shows and raises, its functions called once each; values by kind, for names make no difference."""
    seen: list[object] = []

    class Manager:
        def __init__(self, value: object) -> None:
            self.value = value

        def __enter__(self) -> object:
            return self.value

        def __exit__(self, *_: object) -> None: ...

    def show(*args: object, **_: object) -> int:
        seen.append([_kind(each) for each in args])
        return len(args)

    own = {**vars(builtins), "print": show}
    space: dict[str, Any] = {"__builtins__": own, "__name__": "generated", "show": show, "manager": Manager}
    try:
        exec(compile(program, "generated", "exec", dont_inherit=True), space)
    except Exception as error:  # noqa: BLE001 - what a program raises is what it does
        seen.append(type(error).__name__)
    _call(list(space.values()), seen, 0)
    return seen


def _call(values: list[object], seen: list[object], depth: int) -> None:
    for value in values:
        if isinstance(value, FunctionType) and value.__module__ == "generated" and depth < _CALLS_DEEP:
            try:
                _call([value()], seen, depth + 1)
            except Exception as error:  # noqa: BLE001 - as above
                seen.append(type(error).__name__)


def _kind(value: object) -> object:
    if isinstance(value, (tuple, list)):
        return [_kind(each) for each in value]
    return value if isinstance(value, int) else type(value).__name__


def parses(program: str) -> bool:
    """Whether it is Python."""
    try:
        compile(program, "generated", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True
