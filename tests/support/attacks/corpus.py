"""The corpus of attacks: what guest code may try, in `tests/corpus/attacks`, a file for each class.

A section is `=== name`, then the code of a cell. It finds its targets in variables (see `stage.py`), and prints
`PRIZE` where it got what no canary can notice. `[spares the weak]`: not to be tried where nothing holds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "corpus" / "attacks"
KINDS = tuple(sorted(path.stem for path in FOLDER.glob("*.txt")))
_SPARES = " [spares the weak]"
_SEND = """for fd in (0, *range(3, 60), *range(61, 256)):
    try:
        os.write(fd, FRAME)
    except OSError:
        pass"""

_JS = """try:
    import js, pyodide_js
except ImportError:
    from _pyodide._importhook import jsfinder
    js, pyodide_js = jsfinder.jsproxies['js'], jsfinder.jsproxies['pyodide_js']
def run_js(text):
    return js.eval(text) if hasattr(js, 'eval') else js.Object.constructor('return ' + text)()"""
_WAIT = """try:
    from pyodide.ffi import run_sync
    run_sync(later)
except RuntimeError:
    import time
    time.sleep(0.1)"""
_SHARED = {"$SEND": _SEND, "$JS": _JS, "$WAIT": _WAIT}
"""What several attacks begin or end with: frames to every descriptor, the way to JavaScript, time for a promise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attack."""

    name: str
    code: str
    spares_weak: bool = False
    """It would harm a machine that nothing protects from it."""


@cache
def attempts(kind: str) -> tuple[Attempt, ...]:
    """The attacks of one class."""
    return tuple(_sections((FOLDER / f"{kind}.txt").read_text(encoding="utf-8")))


def _sections(text: str) -> Iterator[Attempt]:
    for section in text.removeprefix("=== ").split("\n=== "):
        title, _, code = section.partition("\n")
        name = title.removesuffix(_SPARES)
        for word, shared in _SHARED.items():
            code = code.replace(word, shared)
        yield Attempt(name=name, code=code.strip("\n") + "\n", spares_weak=name != title)
