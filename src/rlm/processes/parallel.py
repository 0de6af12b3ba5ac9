"""Lets worker processes go through many files at once; no single file can spoil the work on the others.

When a worker dies or hangs, its batch is tried again in halves, down to the file that is to blame. All workers end with
the thread that started them, and so with this process, however it ends.
"""

from __future__ import annotations

import struct
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import msgspec

from rlm.processes.worker import WorkerReply, command, request_frame, value_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rlm.core.types import Json

_HEADER = struct.Struct(">I")
_MEMORY_BYTES = 1 << 30
_BATCH_S = 30.0

Batch = list[list[str]]
"""Files, each as the root and the parts of its path below it."""


class _Worker:
    """One process of `rlm.processes.worker_main`, driven by the thread that started it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command(_MEMORY_BYTES),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
        )

    def ask(self, frame: bytes) -> Json | None:
        """Send one request and return the answer; None if the process died or took longer than 30 s."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        deadline = threading.Timer(_BATCH_S, self.kill)
        deadline.start()
        try:
            self._process.stdin.write(frame)
            self._process.stdin.flush()
            header = self._process.stdout.read(_HEADER.size)
            payload = self._process.stdout.read(*_HEADER.unpack(header)) if header else b""
            return value_of(msgspec.json.decode(payload, type=WorkerReply))
        except (OSError, msgspec.DecodeError, struct.error):
            return None
        finally:
            deadline.cancel()

    def kill(self) -> None:
        """Kill the process, so that whoever waits for its answer gets None. Any thread may call this."""
        self._process.kill()

    def remove(self) -> None:
        """Kill the process and reap it, once nobody waits for an answer."""
        self._process.kill()
        self._process.communicate()


class Workers:
    """Up to `size` worker processes, each started when first needed; use it in a `with`."""

    def __init__(self, size: int) -> None:
        self._threads = ThreadPoolExecutor(size)
        self._own = threading.local()
        self._workers: list[_Worker] = []
        self._starting = threading.Lock()
        self._closed = False

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        with self._starting:
            self._closed = True
        for worker in self._workers:  # batches at work are neither waited for nor tried again
            worker.kill()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.remove()

    def run(
        self, target: str, fixed: Mapping[str, Json], batches: Sequence[Batch]
    ) -> Iterator[list[tuple[Batch, Json | None]]]:
        """Call `target(**fixed, batch=...)` for each batch; yields the answers in order.

        An answer is a list of parts: the whole batch with its value, or, where a worker died, the pieces that the batch
        was split into, with None for each file that ended its worker.
        """

        def answered(batch: Batch) -> list[tuple[Batch, Json | None]]:
            value = self._ask(request_frame(target, {**fixed, "batch": [*batch]}, _BATCH_S))
            if value is not None or len(batch) == 1 or self._closed:
                return [(batch, value)]
            half = len(batch) // 2
            return answered(batch[:half]) + answered(batch[half:])

        yield from self._threads.map(answered, batches)

    def _ask(self, frame: bytes) -> Json | None:
        worker = self._worker()
        if worker is None:
            return None
        value = worker.ask(frame)
        if value is None:
            worker.remove()
            self._own.worker = None
        return value

    def _worker(self) -> _Worker | None:
        """The worker of this thread, started if need be; None once the pool is closed."""
        with self._starting:  # a worker started after the others were killed would keep `__exit__` waiting
            if self._closed:
                return None
            worker: _Worker | None = getattr(self._own, "worker", None)
            if worker is None:
                worker = self._own.worker = _Worker()
                self._workers.append(worker)
            return worker
