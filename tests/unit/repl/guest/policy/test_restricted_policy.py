"""The policy as the guest uses it: compile, namespace, messages, and what survives between cells."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import Any

import pytest
from RestrictedPython.transformer import INSPECT_ATTRIBUTES

from rlm.repl.guest.policy import names
from rlm.repl.guest.policy.restricted import RestrictedPolicy
from tests.unit.repl.guest.policy.policies import fresh, policy, run

ADVICE = {
    "x = [].__class__.__mro__": "line 1: attribute '__mro__' is not available here; use isinstance",
    "\n_getattr_ = 1": "line 2: the name '_getattr_' is reserved; choose another",
    "__import__('os')": "use an import statement",
    "try: 1\nexcept ValueError as e: e.__traceback__": r"use traceback.format_exc\(\)",
    "from . import a": "relative imports are not available",
    "class C(**{}): pass": "name the keywords of a class one by one",
}

AT_RUN_TIME = {
    "open('data.csv')": (NameError, "use `context`, the file tools, or io.StringIO"),
    "eval('1')": (NameError, "use ast.literal_eval"),
    "input('?')": (NameError, "llm_query"),
    "type('X', (), {})": (TypeError, "write a class statement"),
    "import subprocess": (ImportError, "no process can be started"),
    "from rlm.helpers import fs": (ImportError, "there by name, without an import"),
    "import json\njson.x = 1": (AttributeError, "keep the value in a variable of your own"),
    "class M(type): pass": (TypeError, "cannot be subclassed here"),
}


def test_an_expression_is_compiled_to_be_evaluated() -> None:
    namespace = fresh()
    code = policy("relaxed").compile(ast.parse("'{}'.format(1 + 1)", mode="eval"), "<cell 1>")
    assert eval(code, namespace) == "2"


def test_cells_share_a_namespace() -> None:
    namespace = run("def f(): return _secret + 1\nclass C:\n    def __init__(self): self._v = 1")
    run("_secret = 4\nc = C()\nc._v += f()", names=namespace)
    assert namespace["c"]._v == 6


def test_each_namespace_is_fresh() -> None:
    one, other = policy("relaxed").namespace(), policy("relaxed").namespace()
    assert one["__builtins__"] is not other["__builtins__"]
    run("globals()['x'] = 1", names=one)
    assert "x" in one
    assert "x" not in other


@pytest.mark.parametrize(("code", "advice"), ADVICE.items())
def test_a_refusal_says_where_and_what_to_do(code: str, advice: str) -> None:
    with pytest.raises(SyntaxError, match=advice) as caught:
        run(code)
    assert caught.value.filename == "<cell 1>"


@pytest.mark.parametrize(("code", "refusal"), AT_RUN_TIME.items())
def test_a_guard_says_what_to_do(code: str, refusal: tuple[type[Exception], str]) -> None:
    error, advice = refusal
    with pytest.raises(error, match=advice):
        run(code)


def test_several_refusals_come_together() -> None:
    with pytest.raises(SyntaxError, match="line 1: .*; line 2: .*; line 3: .*; and 1 more"):
        run("\n".join(["x = ().__mro__"] * 4))


def test_code_that_is_nested_too_deeply_is_a_syntax_error() -> None:
    node: ast.expr = ast.Constant(1)
    for _ in range(sys.getrecursionlimit()):
        node = ast.UnaryOp(ast.USub(), node, lineno=1, col_offset=0)
    with pytest.raises(SyntaxError, match="nested too deeply"):
        policy("relaxed").compile(ast.Expression(node), "<cell 1>")


def test_a_traceback_names_the_line_of_the_cell() -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run("import json\nx = 0\n\ny = 1 / x")
    assert [entry.lineno for entry in caught.traceback][-1] == 3  # counted from zero


def test_an_unknown_level_is_refused() -> None:
    level: Any = "loose"
    with pytest.raises(ValueError, match="there are strict, relaxed"):
        RestrictedPolicy(level)


def test_allowed_modules_are_those_of_the_level_and_the_users_own() -> None:
    strict, relaxed = policy("strict").allowed_modules, policy("relaxed").allowed_modules
    assert strict < relaxed
    assert policy("relaxed", ("numpy",)).allowed_modules == relaxed | {"numpy"}
    assert not {"os", "sys", "subprocess", "builtins", "importlib", "ctypes", "pickle"} & relaxed


def test_c_code_imports_for_a_cell_and_hands_out_nothing() -> None:
    imported = policy("relaxed").namespace()["__builtins__"]["__import__"]("_strptime")  # type: ignore[index]
    assert imported is None
    assert "_strptime" in sys.modules


def test_every_way_to_a_frame_that_restricted_python_knows_is_refused() -> None:
    assert INSPECT_ATTRIBUTES <= names.INTROSPECTION


def test_no_guard_has_a_name_that_a_cell_may_bind() -> None:
    for level in ("strict", "relaxed"):
        assert all(names.binding_refusal(name) for name in policy(level).namespace())


def test_preload_leaves_nothing_to_import_later() -> None:
    code = """
import sys
from rlm.repl.guest.policy.restricted import RestrictedPolicy
policy = RestrictedPolicy("relaxed")
policy.preload()
before = set(sys.modules)
from datetime import datetime
datetime.strptime("1", "%d")
"x".encode("cp1252")
importer = policy._importer
[dir(importer.import_module(name)) for name in policy.allowed_modules]
print(set(sys.modules) - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
