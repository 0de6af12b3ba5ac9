"""The guest's end of the wire, on descriptors that guest code has reached."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from rlm.repl.guest.link import DescriptorTransport

LARGE = b"x" * (1 << 20)
"""More than a pipe holds."""


def test_a_descriptor_that_was_set_not_to_block_is_waited_for() -> None:
    reading, writing = os.pipe()
    for descriptor in (reading, writing):
        os.set_blocking(descriptor, False)
    transport, received = DescriptorTransport(reading, writing), bytearray(len(LARGE))
    with ThreadPoolExecutor() as pool:
        read = pool.submit(read_all, transport, memoryview(received))
        pool.submit(transport.write, LARGE).result()
        read.result()
    assert received == LARGE
    os.close(reading)
    os.close(writing)


def read_all(transport: DescriptorTransport, buffer: memoryview) -> None:
    while buffer:
        buffer = buffer[transport.read_into(buffer) :]
