"""How many functions of `rlm` a reader meets on two walks: from `rlm run` to the bytes that go to a provider, and from
the arrival of a guest's `llm_query` at the host to its bytes. Counted by a profile function, each function once; what
runs while modules are imported doesn't count.

`python -m benchmarks.walks` prints the functions too; with `PYTHONPATH` it walks through another checkout.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import rlm
from benchmarks.figures import Figure
from benchmarks.kills.model import ModelServer

PACKAGE = str(Path(rlm.__file__).parent)
BEGINS = "CellCalls.accept"
"""The function that takes a call of guest code."""
_THREADS = ("MainThread", "rlm-loop")
"""The threads that a walk goes through; others keep files meanwhile."""
TRIES = 5
"""A watch may look at the cell in the middle of a walk: what isn't entered each time isn't counted."""
_NOT_IMPORTED = ("rlm.repl.guest.", "rlm._visualizer")
CODE = "llm_query('a question')\nFINAL(1)"


class Walk:
    """Notes the functions of the package that are entered, in any thread, until something is sent to a provider."""

    def __init__(self, begins: str | None = None) -> None:
        """`begins` is the function that the walk begins with; None: it begins at once."""
        self.entered: dict[str, None] = {}
        """The functions, in the order of their first entry."""
        self._begins = begins
        self._is_over = False

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        """Take one event of the interpreter."""
        if self._is_over or threading.current_thread().name not in _THREADS:
            return
        code = frame.f_code
        if self._begins not in (None, code.co_qualname):
            return
        self._begins = None
        if event == "call" and code.co_filename.startswith(PACKAGE) and not code.co_name.startswith("<"):
            module = code.co_filename.removeprefix(PACKAGE).removesuffix(".py").strip("/").replace("/", ".")
            self.entered[f"{module}:{code.co_qualname}"] = None
        elif event == "c_call" and getattr(argument, "__name__", "") == "send":
            sock = getattr(argument, "__self__", None)
            self._is_over = isinstance(sock, socket.socket) and sock.family == socket.AF_INET


def walks() -> list[Figure]:
    """Both walks."""
    down, asked = always(from_the_command), always(from_a_guest)
    return [
        Figure(name="functions of rlm from `rlm run` to the provider", value=len(down), unit=""),
        Figure(name="functions of rlm from a guest's llm_query to the provider", value=len(asked), unit=""),
    ]


def always(walk: Callable[[], list[str]]) -> list[str]:
    """The functions that are entered each time that the walk is made."""
    _import_all()
    first, *others = [walk() for _ in range(TRIES)]
    return [name for name in first if all(name in other for other in others)]


def from_the_command() -> list[str]:
    """The functions that are entered from the command line on."""
    from rlm.cli import main

    with _provider() as url, tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        try:
            os.environ["RLM_OPENAI_BASE_URL"] = url
            with _walking(Walk()) as walk:
                main.call(["run", "a prompt", "--model", "openai/m", "--env", "local", "--log-dir", folder])
        finally:
            os.chdir(before)
    return list(walk.entered)


def from_a_guest() -> list[str]:
    """The functions that are entered from the arrival of a guest's question on."""
    from rlm import RLM, Config
    from rlm.core.config import ProviderConfig

    with _provider() as url, tempfile.TemporaryDirectory() as folder:
        provider = ProviderConfig(base_url=url, stream=False)
        config = Config(model="openai/m", dialect="code", environment="local", log_dir=folder, openai=provider)
        with _walking(Walk(BEGINS)) as walk, RLM(config=config) as made:
            made.completion("a prompt").raise_for_status()
    return list(walk.entered)


def _import_all() -> None:
    for module in pkgutil.walk_packages([PACKAGE], "rlm."):
        if not module.name.startswith(_NOT_IMPORTED) and "main" not in module.name.rpartition(".")[2]:
            importlib.import_module(module.name)
    importlib.import_module("rlm.cli.main")


@contextmanager
def _provider() -> Iterator[str]:
    """The address of a provider whose model runs one cell."""
    os.environ["OPENAI_API_KEY"] = "sk-none"
    server = ModelServer(lambda messages: f"```repl\n{CODE}\n```" if messages[0]["role"] == "system" else "yes")
    try:
        yield f"{server.url}/walk/v1"
    finally:
        server.close()


@contextmanager
def _walking(walk: Walk) -> Iterator[Walk]:
    threading.setprofile(walk)
    sys.setprofile(walk)
    try:
        yield walk
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


if __name__ == "__main__":
    for title, entered in (("rlm run", always(from_the_command)), ("llm_query", always(from_a_guest))):
        print(f"{title}: {len(entered)} functions", *(f"  {name}" for name in entered), sep="\n")
