"""Modules and functions stay small enough to read at one sitting."""

from __future__ import annotations

import ast

from tests.architecture.sources import Function, functions, listed, modules

MODULE_LINES = 600
FUNCTION_LINES = 50
USUAL_LINES = 30
PARAMETERS = 6


def lines_of(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def parameters_of(function: Function) -> int:
    arguments = function.args
    named = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in named if name not in ("self", "cls")])


def test_modules_are_short() -> None:
    lengths = {module.at(1): len(module.text.splitlines()) for module in modules()}
    too_long = [f"{place}: {length} lines" for place, length in lengths.items() if length >= MODULE_LINES]
    assert not too_long, listed(too_long)


def test_modules_say_why_they_exist() -> None:
    silent = [module.at(1) for module in modules() if module.text and not ast.get_docstring(module.tree)]
    assert not silent, listed(silent)


def test_functions_are_short() -> None:
    found = [(module.at(f.lineno), name, lines_of(f)) for module in modules() for name, f in functions(module)]
    too_long = [f"{place}: {name}, {lines} lines" for place, name, lines in found if lines > FUNCTION_LINES]
    assert not too_long, listed(too_long)


def test_functions_take_few_parameters() -> None:
    found = [(module.at(f.lineno), name, parameters_of(f)) for module in modules() for name, f in functions(module)]
    too_wide = [f"{place}: {name}, {taken} parameters" for place, name, taken in found if taken > PARAMETERS]
    assert not too_wide, listed(too_wide)


def test_nine_functions_in_ten_are_usual() -> None:
    sizes = [lines_of(function) for module in modules() for _, function in functions(module)]
    assert sum(size < USUAL_LINES for size in sizes) / len(sizes) >= 0.9
