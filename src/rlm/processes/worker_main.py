"""The worker's side: limits itself, then answers requests one by one until its input ends.

Runs only functions of this package, which the host names. The host must not import this module.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import signal
import struct
import sys
from math import ceil
from typing import IO, Any

import msgspec

from rlm.core.exceptions import RLMError
from rlm.processes.worker import MAX_VALUE_BYTES, WorkerReply, WorkerRequest

_HEADER = struct.Struct(">I")
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer requests from standard input until it ends; arguments: memory in bytes, the host's process id."""
    memory_bytes, host = int(sys.argv[1]), int(sys.argv[2])
    _die_with(host)
    resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    while header := requests.read(_HEADER.size):
        request = msgspec.json.decode(requests.read(*_HEADER.unpack(header)), type=WorkerRequest)
        _limit_time(request.timeout_s)
        _send(replies, _answer(request))


def _die_with(host: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != host:
        sys.exit(1)


def _limit_time(timeout_s: float) -> None:
    """Let the kernel end this process after `timeout_s` more of CPU time, in case the host is not there to do it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = ceil(used.ru_utime + used.ru_stime + timeout_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _answer(request: WorkerRequest) -> WorkerReply:
    module, _, name = request.target.partition(":")
    function = getattr(importlib.import_module(module), name)
    arguments: dict[str, Any] = {key: msgspec.json.decode(value) for key, value in request.arguments.items()}
    try:
        value = msgspec.json.encode(function(**arguments))
        if len(value) > MAX_VALUE_BYTES:
            return WorkerReply(
                error=f"the result has {len(value):,} bytes, at most {MAX_VALUE_BYTES:,} fit: ask for less."
            )
        return WorkerReply(value=msgspec.Raw(value))
    except RLMError as error:
        return WorkerReply(error=str(error))
    except MemoryError:
        return WorkerReply(error="it used too much memory.")
    except RecursionError:
        return WorkerReply(error="it is nested too deep.")


def _send(replies: IO[bytes], reply: WorkerReply) -> None:
    payload = msgspec.json.encode(reply)
    replies.write(_HEADER.pack(len(payload)) + payload)
    replies.flush()


if __name__ == "__main__":
    main()
