"""The guest's end of the wire over descriptors that guest code has touched."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from rlm.repl.guest.link import DescriptorTransport


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_read_waits_although_guest_code_said_not_to(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.set_blocking(reading, False)
    buffer = bytearray(8)
    late = threading.Thread(target=_write_once_it_waits, args=pipe)
    late.start()
    assert DescriptorTransport(reading, writing).read_into(memoryview(buffer)) == 4
    late.join()


def test_a_write_is_whole_although_guest_code_said_not_to_wait(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    os.set_blocking(writing, False)
    frame = b"x" * (1 << 20)
    reader = threading.Thread(target=DescriptorTransport(reading, writing).write, args=(frame,))
    reader.start()
    taken = 0
    while taken < len(frame):
        taken += len(os.read(reading, 1 << 16))
    reader.join(10)
    assert not reader.is_alive()


def _write_once_it_waits(reading: int, writing: int) -> None:
    deadline = time.monotonic() + 10
    while not os.get_blocking(reading) and time.monotonic() < deadline:
        time.sleep(0.001)
    os.write(writing, b"late")
