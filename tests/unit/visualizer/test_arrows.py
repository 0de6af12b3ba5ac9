"""The pages read trajectories and know nothing else of the package; their modules stay small."""

from __future__ import annotations

import ast

import pytest

from tests.architecture.sources import ROOT, Module, functions, imports
from tests.architecture.test_size import FUNCTION_LINES, MODULE_LINES, PARAMETERS, lines_of, parameters_of

APP = ROOT / "visualizer"
MAY = ("rlm.trajectory", "rlm.core.events", "rlm.core.exceptions", "rlm.core.plain", "rlm_visualizer")


def modules() -> list[Module]:
    paths = sorted(APP.rglob("*.py"))
    texts = [path.read_text(encoding="utf-8") for path in paths]
    return [Module(path.stem, path, text, ast.parse(text)) for path, text in zip(paths, texts, strict=True)]


@pytest.mark.parametrize("module", modules(), ids=lambda module: str(module.path.relative_to(APP)))
def test_the_pages_reach_the_records_and_streamlit_alone(module: Module) -> None:
    foreign = [each.target for each in imports(module) if each.target.startswith("rlm") or each.third_party]
    assert [name for name in foreign if name != "streamlit" and not name.startswith(MAY)] == []


@pytest.mark.parametrize("module", modules(), ids=lambda module: str(module.path.relative_to(APP)))
def test_its_modules_and_functions_are_small_and_say_why(module: Module) -> None:
    assert ast.get_docstring(module.tree)
    assert len(module.text.splitlines()) < MODULE_LINES
    assert [name for name, f in functions(module.tree) if lines_of(f) > FUNCTION_LINES] == []
    assert [name for name, f in functions(module.tree) if parameters_of(f) > PARAMETERS] == []
