"""Modules and functions stay small enough to read at one sitting."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.sources import Function, Module, functions, modules

MODULE_LINES = 600
FUNCTION_LINES = 50
USUAL_LINES = 30
PARAMETERS = 6

each_module = pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)


def lines_of(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def parameters_of(function: Function) -> int:
    arguments = function.args
    named = [a.arg for a in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in named if name not in ("self", "cls")])


@each_module
def test_module_is_short(module: Module) -> None:
    assert len(module.text.splitlines()) < MODULE_LINES


@each_module
def test_module_says_why_it_exists(module: Module) -> None:
    assert module.text == "" or ast.get_docstring(module.tree)


@each_module
def test_functions_are_short_and_take_few_parameters(module: Module) -> None:
    too_long = {name: n for name, f in functions(module.tree) if (n := lines_of(f)) > FUNCTION_LINES}
    too_wide = {name: n for name, f in functions(module.tree) if (n := parameters_of(f)) > PARAMETERS}
    assert (too_long, too_wide) == ({}, {})


def test_nine_functions_in_ten_are_usual() -> None:
    sizes = [lines_of(function) for module in modules() for _, function in functions(module.tree)]
    assert sum(size < USUAL_LINES for size in sizes) / len(sizes) >= 0.9
