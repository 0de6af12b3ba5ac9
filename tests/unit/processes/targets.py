"""Functions that the tests of the worker run in it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from rlm.core.exceptions import ToolError


def pid() -> int:
    return os.getpid()


def add(a: int, b: int) -> int:
    return a + b


def environment() -> list[str]:
    return sorted(os.environ)


def refuse() -> None:
    raise ToolError("no")


def catastrophe(marker: str = "") -> None:
    if marker:
        Path(marker).write_text(str(os.getpid()))
    re.match(r"(a+)+b", "a" * 60)


def gobble() -> int:
    return len(bytearray(4 << 30))


def deepen() -> None:
    deepen()


def crash() -> None:
    os._exit(3)


def fill(size: int) -> str:
    return "x" * size
