"""A channel with no guest behind it: the test speaks for the guest."""

from __future__ import annotations

import asyncio
from typing import Any

from rlm.core.contexts.context import Context
from rlm.core.types import ReplSpec
from rlm.repl.channel import FrameParser, Receiver
from rlm.repl.deaths import Death
from rlm.repl.guest.wire import pack, unpack
from rlm.repl.live import Limits, LiveGuest


class FakeChannel:
    """Records what the host sends; `say` and `print` deliver what a guest would."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.interrupted = asyncio.Event()
        self.killed = asyncio.Event()
        self.cpu = 0.0
        self.thread_count = 1
        self.how_it_ended: Death | None = None
        self._parser = FrameParser()
        self._receiver: Receiver | None = None

    @property
    def was_interrupted(self) -> bool:
        return self.interrupted.is_set()

    @property
    def was_killed(self) -> bool:
        return self.killed.is_set()

    @property
    def receiver(self) -> Receiver:
        assert self._receiver is not None
        return self._receiver

    def attach(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def send(self, frame: bytes) -> None:
        for payload in self._parser.feed(frame):
            self.sent.put_nowait(unpack(payload))

    def drain_output(self) -> None:
        return

    def interrupt(self) -> None:
        self.interrupted.set()

    def kill(self) -> None:
        if not self.was_killed:
            self.killed.set()
            asyncio.get_running_loop().call_soon(self.receiver.closed)

    def cpu_s(self) -> float:
        return self.cpu

    def threads(self) -> int:
        return self.thread_count

    async def wait_closed(self) -> None:
        return

    async def death(self) -> Death | None:
        return self.how_it_ended

    def say(self, **message: Any) -> None:
        self.receiver.frames_received(pack(message))

    def print(self, output: str) -> None:
        self.receiver.output_received(output.encode())

    def end(self, cell: dict[str, Any], **fields: Any) -> None:
        """End a cell as a guest does: the mark, then `done`."""
        self.print(cell["mark"])
        done = {"t": "done", "id": cell["id"], "error": None, "final": None, "changed": [], "threads": 0}
        self.say(**{**done, **fields})


async def started(spec: ReplSpec, **limits: float) -> tuple[LiveGuest, FakeChannel]:
    """A live guest that has said it is ready."""
    channel = FakeChannel()
    guest = LiveGuest(channel, spec, Limits(**{"cell_timeout_s": 60.0, **limits}), Context.empty())
    starting = asyncio.create_task(guest.start({}))
    init = await channel.sent.get()
    assert init["t"] == "init"
    channel.say(t="ready", v=1, report={})
    await starting
    return guest, channel
