"""What cells defined, as source: the last definition of a name counts, and what took its place forgets it."""

from __future__ import annotations

import json
import math
import re
from types import ModuleType

import pytest

from rlm.repl.guest.carry.definitions import Definitions, imported

KEPT = [
    (["import json as j, re"], "j re", ["import json as j, re"]),
    (["@cache\ndef f(a, b=1):\n    # why\n    return a"], "f", ["@cache\ndef f(a, b=1):\n    # why\n    return a"]),
    (["class A:\n    x = 1\n\ny = 2"], "A", ["class A:\n    x = 1"]),
    (["s = '\u2028\x0c'\ndef f():\r\n    return 1\r\ny = 2"], "f", ["def f():\n    return 1"]),
    (["g = lambda x: x"], "g", ["g = lambda x: x"]),
    (["p = re.compile('a')"], "p", ["p = re.compile('a')"]),
    (["def f(): pass", "def f(): return 2"], "f", ["def f(): return 2"]),
    (
        ["def f(): pass", "def g(): return f()", "def f(): return 2"],
        "f g",
        ["def g(): return f()", "def f(): return 2"],
    ),
    (["not python (", "def f(): pass"], "f", ["def f(): pass"]),
    (["if True:\n    def f(): pass"], "f", []),
    (["def f(): pass", "f = wrap(f)"], "f", []),
    (["p = re.compile(read())"], "p", []),
    (["def f(): pass"], "g", []),
]


def defined(cells, wanted):
    made = Definitions()
    for cell in cells:
        made.note(cell)
    return made.sources(frozenset(wanted.split()))


@pytest.mark.parametrize(("cells", "wanted", "kept"), KEPT)
def test_definitions_are_kept_as_source(cells, wanted, kept):
    assert [source for _names, source in defined(cells, wanted)] == kept


def test_only_the_names_still_defined_are_named():
    assert defined(["import a, b", "def a(): pass"], "a b") == [(["b"], "import a, b"), (["a"], "def a(): pass")]


def test_what_stands_after_a_failure_did_not_run():
    made = Definitions()
    made.note("def f(): return 1")
    made.note("import a\n1/0\ndef f(): return 2", 2)
    made.note("@bad\ndef f(): return 3", 1)
    assert [source for _names, source in made.sources(frozenset({"a", "f"}))] == ["def f(): return 1", "import a"]


def test_a_loop_that_failed_may_have_bound_its_names():
    made = Definitions()
    made.note("def f(): return 1")
    made.note("for f in rows:\n    work(f)", 2)
    assert made.sources(frozenset({"f"})) == []


def test_later_cells_go_on_from_earlier_ones():
    made = Definitions()
    made.note("def f(): return 1")
    made.sources(frozenset({"f"}))
    made.note("g = lambda: f()")
    assert [names for names, _source in made.sources(frozenset({"f", "g"}))] == [["f"], ["g"]]


@pytest.mark.parametrize(
    ("value", "source"),
    [
        (json, "import json as x"),
        (json.loads, "from json import loads as x"),
        (math.sqrt, "from math import sqrt as x"),
        (json.JSONDecoder, "from json.decoder import JSONDecoder as x"),
        (print, None),
        (open, None),
        (re.compile("a").match, None),
        (lambda: 1, None),
        (ModuleType("own"), None),
        (json.JSONDecoder(), None),
    ],
)
def test_what_a_module_has_is_imported_from_it(value, source):
    assert imported("x", value) == source
