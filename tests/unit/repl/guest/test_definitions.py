"""What cells defined, as source: the last definition of a name counts, and what took its place forgets it."""

from __future__ import annotations

import pytest

from rlm.repl.guest.definitions import definitions

KEPT = [
    (["import json as j, re"], "j re", ["import json as j, re"]),
    (["from os.path import *"], "*", ["from os.path import *"]),
    (["@cache\ndef f(a, b=1):\n    # why\n    return a"], "f", ["@cache\ndef f(a, b=1):\n    # why\n    return a"]),
    (["class A:\n    x = 1\n\ny = 2"], "A", ["class A:\n    x = 1"]),
    (["g = lambda x: x"], "g", ["g = lambda x: x"]),
    (["p = re.compile('a')"], "p", ["p = re.compile('a')"]),
    (["def f(): pass", "def f(): return 2"], "f", ["def f(): return 2"]),
    (["not python (", "def f(): pass"], "f", ["def f(): pass"]),
    (["if True:\n    def f(): pass"], "f", []),
    (["def f(): pass", "f = wrap(f)"], "f", []),
    (["p = re.compile(read())"], "p", []),
    (["def f(): pass"], "g", []),
]


@pytest.mark.parametrize(("cells", "wanted", "kept"), KEPT)
def test_definitions_are_kept_as_source(cells, wanted, kept):
    assert [source for _names, source in definitions(cells, frozenset(wanted.split()))] == kept


def test_only_the_names_still_defined_are_named():
    found = definitions(["import a, b", "def a(): pass"], frozenset({"a", "b"}))
    assert found == [(["b"], "import a, b"), (["a"], "def a(): pass")]
