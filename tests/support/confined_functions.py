"""What a reader might do that a hostile file has taken over: functions for confined calls, each with its open files."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def content(files: Sequence[int]) -> Iterator[str]:
    yield os.pread(files[0], 100, 0).decode()


def read_path(_files: Sequence[int], *, path: str) -> Iterator[str]:
    yield Path(path).read_text(encoding="utf-8")


def write_path(_files: Sequence[int], *, path: str) -> Iterator[str]:
    Path(path).write_text("overwritten", encoding="utf-8")
    yield "written"


def write_file(files: Sequence[int]) -> Iterator[str]:
    with open(f"/proc/self/fd/{files[0]}", "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write("overwritten")
    yield "written"


def connect(_files: Sequence[int]) -> Iterator[str]:
    socket.socket()
    yield "connected"


def run_program(_files: Sequence[int]) -> Iterator[str]:
    subprocess.run([sys.executable, "-c", ""], check=True)
    yield "run"


def take_memory(_files: Sequence[int]) -> Iterator[Any]:
    yield "some"
    yield len(bytearray(1 << 33))


def take_time(_files: Sequence[int]) -> Iterator[Any]:
    for number in count():
        if number < 2:
            yield number


def end(_files: Sequence[int]) -> Iterator[Any]:
    yield 1
    os._exit(0)


def endless(_files: Sequence[int]) -> Iterator[Any]:
    yield from count()
