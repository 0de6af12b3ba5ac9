"""The pages read trajectories and know nothing else of the package; their modules stay small."""

from __future__ import annotations

import ast
from functools import cache

from tests.architecture.sources import ROOT, Module, functions, imports, listed
from tests.architecture.test_size import FUNCTION_LINES, MODULE_LINES, PARAMETERS, lines_of, parameters_of

APP = ROOT / "visualizer"
MAY = ("rlm.trajectory", "rlm.core.events", "rlm.core.exceptions", "rlm.core.plain", "rlm_visualizer")


@cache
def modules() -> list[Module]:
    paths = sorted(APP.rglob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return [Module(path.stem, path, text, ast.parse(text)) for path, text in zip(paths, texts, strict=True)]


def may(target: str) -> bool:
    return target == "streamlit" or target.startswith(MAY)


def test_the_pages_reach_the_records_and_streamlit_alone() -> None:
    reached = [(module, each) for module in modules() for each in imports(module)]
    outside = [(module, each) for module, each in reached if each.target.startswith("rlm") or each.third_party]
    odd = [f"{module.at(each.line)}: {each.target}" for module, each in outside if not may(each.target)]
    assert not odd, listed(odd)


def test_its_modules_are_small_and_say_why() -> None:
    odd = [
        module.at(1)
        for module in modules()
        if not ast.get_docstring(module.tree) or len(module.text.splitlines()) >= MODULE_LINES
    ]
    assert not odd, listed(odd)


def test_its_functions_are_small() -> None:
    found = [(module.at(f.lineno), name, f) for module in modules() for name, f in functions(module)]
    odd = [
        f"{place}: {name}" for place, name, f in found if lines_of(f) > FUNCTION_LINES or parameters_of(f) > PARAMETERS
    ]
    assert not odd, listed(odd)
