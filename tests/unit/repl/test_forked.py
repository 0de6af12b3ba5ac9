"""The channel to a process of this machine, where it is given up before it was ever used."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys

from rlm.repl.deaths import Death
from rlm.repl.forked import ForkedChannel


async def nobody_knows() -> Death | None:
    return None


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


async def test_a_channel_given_up_while_it_connects_signals_no_other_process() -> None:
    guest, other = sleeper(), sleeper()
    frames, theirs = socket.socketpair()
    reading, writing = os.pipe()
    pidfd = os.pidfd_open(guest.pid)
    channel = ForkedChannel(frames, reading, guest.pid, pidfd, how_ended=nobody_knows)
    others = os.pidfd_open(other.pid)

    async def connect() -> None:
        try:
            await channel.connect()
        except asyncio.CancelledError:
            channel.abandon()
            os.dup2(others, pidfd)  # the number is another's now

    connecting = asyncio.create_task(connect())
    await asyncio.sleep(0)
    connecting.cancel()
    await connecting
    for _ in range(3):
        await asyncio.sleep(0)  # the connection hears of its end
    guest.communicate()
    assert other.poll() is None
    other.communicate(b"\n")
    assert (guest.returncode, other.returncode) == (-signal.SIGKILL, 0)
    for descriptor in (others, pidfd, writing):
        os.close(descriptor)
    theirs.close()
