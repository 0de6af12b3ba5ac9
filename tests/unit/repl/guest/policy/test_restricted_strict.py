"""What `strict` runs, and what it refuses that `relaxed` allows."""

from __future__ import annotations

import contextlib
import io

import pytest

from tests.unit.repl.guest.policy.policies import Cell, cells, run

REFUSED = {
    "augmented item": "d = {'a': 1}\nd['a'] += 1",
    "augmented attribute": "class C: n = 1\nc = C()\nc.n += 1",
    "annotation": "x: int = 3",
    "private name": "_x = 3",
    "private attribute": "class C:\n    def f(self): return self._x",
    "nonlocal": "def f():\n    x = 1\n    def g():\n        nonlocal x",
    "match": "match 1:\n    case 1: pass",
    "async": "async def f(): pass",
    "except star": "try: pass\nexcept* ValueError: pass",
    "eval": "eval('1')",
    "exec": "exec('1')",
    "metaclass": "class C(metaclass=type): pass",
    "star import": "def f():\n    from math import *",
    "guard": "_getattr_ = 1",
    "special attribute": "().__class__",
    "frame": "(i for i in ()).gi_frame",
}
AT_RUN_TIME = {
    "import os": ("import os", ImportError),
    "import threading": ("import threading", ImportError),
    "module of a module": ("import json\njson.codecs", AttributeError),
    "getattr": ("getattr(int, '__mro__')", AttributeError),
    "getattr private": ("getattr(int, '_x')", AttributeError),
    "setattr": ("import json\nsetattr(json, 'dumps', 1)", AttributeError),
    "attribute of a library object": ("import json\njson.dumps = 1", TypeError),
    "item of a library object": ("import re\nre.match('a', 'a')[0] = 1", TypeError),
    "format": ("'{0.__mro__}'.format(1)", AttributeError),
    "type": ("type('X', (), {})", TypeError),
    "open": ("open('x')", NameError),
}


@pytest.mark.parametrize("cell", cells("strict_cells.txt"), ids=lambda cell: cell.name)
def test_plain_code_runs(cell: Cell) -> None:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        run(cell.code, "strict")
    assert out.getvalue().strip("\n") == cell.outcome


@pytest.mark.parametrize("code", REFUSED.values(), ids=REFUSED)
def test_the_compiler_refuses(code: str) -> None:
    with pytest.raises(SyntaxError, match="line [0-9]+: "):
        run(code, "strict")


@pytest.mark.parametrize(("code", "error"), AT_RUN_TIME.values(), ids=AT_RUN_TIME)
def test_the_guards_refuse(code: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        run(code, "strict")
