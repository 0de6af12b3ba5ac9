"""Runs named functions in small processes that can be killed: for patterns that come from a model or from guest code.

A regular expression holds its interpreter until it is done, so no thread can end it. A worker has its own memory
limit, is killed when its deadline passes or its caller is cancelled, and dies with this process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import site
import struct
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from rlm.core.exceptions import ToolError
from rlm.core.off_loop import off_loop_if_large

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.types import Json

_HEADER = struct.Struct(">I")
_PACKAGE = Path(__file__).parents[1]
MAX_VALUE_BYTES = 16 << 20
_MAX_REPLY_BYTES = MAX_VALUE_BYTES + 4096
_MEMORY_BYTES = 1 << 30
_START_S = 20.0
"""How long an interpreter may take to start on a busy machine; not part of a call's deadline."""

_TOO_LONG = "it took longer than {:g} s and was stopped: make it simpler or narrower."
_DIED = "its process was stopped: it took too long or used too much memory."


class WorkerRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The function that a worker is to call."""

    target: str
    """`module:function`, in this package."""
    arguments: dict[str, msgspec.Raw]
    timeout_s: float


class WorkerReply(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker answers: a value, or an error in words for the caller."""

    value: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None


class WorkerPool:
    """Workers of one event loop; idle ones are kept for the next call."""

    def __init__(self, *, size: int = 2, memory_bytes: int = _MEMORY_BYTES) -> None:
        self._slots = asyncio.Semaphore(size)
        self._memory_bytes = memory_bytes
        self._idle: list[asyncio.subprocess.Process] = []
        self._closed = False

    async def call(self, target: str, arguments: Mapping[str, Json], *, timeout_s: float) -> Json:
        """Wait for a free worker, call `module:function` with `arguments` there, and return the result.

        Cancellation kills the worker.

        Raises:
            ToolError: the function raised one, took longer than `timeout_s`, or used too much memory.
        """
        frame = await off_loop_if_large(request_frame, target, arguments, timeout_s)
        async with self._slots:
            warm = self._warm()
            worker = warm or await _start(self._memory_bytes)
            healthy = False
            try:
                if warm is None:
                    async with asyncio.timeout(_START_S):
                        await _ask(worker, _warming(target))
                async with asyncio.timeout(timeout_s):
                    reply = await _ask(worker, frame)
                healthy = not self._closed
            except TimeoutError as error:
                raise ToolError(_TOO_LONG.format(timeout_s)) from error
            except (asyncio.IncompleteReadError, ConnectionError, msgspec.DecodeError) as error:
                raise ToolError(_DIED) from error
            finally:
                if not healthy:
                    await _kill(worker)
            if healthy:
                self._idle.append(worker)
        return await off_loop_if_large(value_of, reply)

    def _warm(self) -> asyncio.subprocess.Process | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.returncode is None:
                return worker
        return None

    async def aclose(self) -> None:
        """Kill the idle workers; busy ones end with their calls. Idempotent."""
        self._closed = True
        while self._idle:
            await _kill(self._idle.pop())


def warm_up(module: str) -> None:
    """Import a module; the first request to each new worker, so that the import doesn't count as time of a call."""
    import_module(module)


def request_frame(target: str, arguments: Mapping[str, Json], timeout_s: float) -> bytes:
    """The bytes of a request: a length of 4 bytes, then JSON."""
    payload = msgspec.json.encode({"target": target, "arguments": arguments, "timeout_s": timeout_s})
    return _HEADER.pack(len(payload)) + payload


def value_of(reply: WorkerReply) -> Json:
    """The value in a reply.

    Raises:
        ToolError: the reply is an error.
    """
    if reply.error is not None:
        raise ToolError(reply.error)
    return msgspec.json.decode(reply.value)


def _warming(target: str) -> bytes:
    return request_frame(f"{__name__}:{warm_up.__name__}", {"module": target.partition(":")[0]}, _START_S)


async def _start(memory_bytes: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *command(memory_bytes),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
        start_new_session=True,
    )


def command(memory_bytes: int) -> list[str]:
    """The command line of a worker that ends with this process; start it with an empty environment, without keys."""
    return python_command("rlm.processes.worker_main", str(memory_bytes), str(os.getpid()))


def python_command(module: str, first: str, second: str) -> list[str]:
    """The command line of an interpreter that runs `main` of a module of this package, which is told two arguments."""
    python = (sys.executable, "-I", "-S", "-X", "utf8")
    told = (first, second, module, sys.prefix, str(_PACKAGE), *package_folders())
    return [*python, str(Path(__file__).with_name("worker_start.py")), *told]


def package_folders() -> list[str]:
    """The folders of installed packages: those of this interpreter, and the one that msgspec was imported from.

    The rest of `sys.path` is left out: into the folder of a script, or the current one, guest code may have put modules
    through a helper.
    """
    users = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return [*dict.fromkeys([str(Path(msgspec.__file__).parents[1]), *site.getsitepackages(), *users])]


async def _ask(worker: asyncio.subprocess.Process, frame: bytes) -> WorkerReply:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(frame)
    await worker.stdin.drain()
    (length,) = _HEADER.unpack(await worker.stdout.readexactly(_HEADER.size))
    if length > _MAX_REPLY_BYTES:
        raise msgspec.DecodeError(f"a reply of {length} bytes")
    return await off_loop_if_large(_decoded, await worker.stdout.readexactly(length))


def _decoded(payload: bytes) -> WorkerReply:
    return msgspec.json.decode(payload, type=WorkerReply)


async def _kill(worker: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)  # with its children: a worker leads a session of its own
    await worker.wait()
