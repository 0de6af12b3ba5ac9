"""Known ways out of a Python sandbox: each must fail with the right exception, and without what it was after.

Each cell of the table would leave its prize in `got`.
"""

from __future__ import annotations

import builtins
import sys
from types import CodeType, FrameType, ModuleType

import pytest

from tests.unit.repl.guest.policy.policies import Cell, cells, fresh, run

PRELUDE = """
def gen(): yield 1
async def coro(): pass
async def agen(): yield 1
class C: pass
class Catch:
    def __enter__(self): return self
    def __exit__(self, kind, error, trace):
        self.trace = trace
        return True
with Catch() as caught: 1 / 0
tb = caught.trace
"""

IMPORTS = [
    "os",
    "sys",
    "subprocess",
    "socket",
    "ctypes",
    "importlib",
    "builtins",
    "inspect",
    "gc",
    "pickle",
    "marshal",
    "shutil",
    "pathlib",
    "tempfile",
    "code",
    "codeop",
    "runpy",
    "pdb",
    "signal",
    "mmap",
    "fcntl",
    "resource",
    "multiprocessing",
    "_thread",
    "posix",
    "_io",
    "_ctypes",
    "imp",
    "pkgutil",
    "zipimport",
    "sqlite3",
    "ssl",
    "http",
    "http.client",
    "urllib.request",
    "webbrowser",
    "atexit",
    "weakref",
    "codecs",
    "asyncio.subprocess",
    "asyncio.events",
    "concurrent.futures.process",
    "concurrent.futures.thread",
    "logging.handlers",
    "json.tool",
    "xml.sax",
    "os.environ",
    "rlm",
    "rlm.repl.guest.policy.restricted",
    "RestrictedPython",
    "__main__",
    "__repl__",
    "numpy",
    "zipfile",
    "glob",
    "types.FunctionType",
]

_PRIZES = (ModuleType, FrameType, CodeType)


def attempt(code: str, error: type[BaseException]) -> None:
    """Run it in a REPL that knows the prelude: the error must come, and no prize."""
    names = fresh()
    run(PRELUDE, names=names)
    with pytest.raises(error) as caught:
        run(code, names=names)
    got = names.get("got")
    assert type(caught.value) is error
    assert not isinstance(got, _PRIZES)
    assert all(got is not prize for prize in (type, sys.modules, builtins.open, builtins.eval))


@pytest.mark.parametrize("cell", cells("escapes.txt"), ids=lambda cell: cell.name)
def test_it_does_not_get_out(cell: Cell) -> None:
    attempt(cell.code, getattr(builtins, cell.outcome))


@pytest.mark.parametrize("name", IMPORTS)
def test_import_is_refused(name: str) -> None:
    attempt(f"import {name} as got", ImportError)


@pytest.mark.parametrize("name", ["os", "sys", "json.codecs", "importlib.util"])
def test_import_from_is_refused(name: str) -> None:
    attempt(f"from {name} import path as got", ImportError)
