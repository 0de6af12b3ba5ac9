"""The words for a guest's end."""

from __future__ import annotations

import pytest

from rlm.repl.deaths import Death, words


@pytest.mark.parametrize(
    ("death", "said"),
    [
        (None, "out of memory, os._exit or a crash"),
        (Death.of_status(3), "with exit code 3"),
        (Death.of_status(-11), "crashed (SIGSEGV)"),
        (Death.of_status(-9), "SIGKILL: by the kernel"),
        (Death(signal=77), "crashed (signal 77)"),
        (Death(cause="memory", signal=9), "ran out of memory"),
        (Death(cause="time"), "docker.ttl_s"),
        (Death(cause="line"), "the connection to the machine of the sandbox was lost"),
        (Death(cause="engine"), "the connection to the Docker engine was lost"),
    ],
)
def test_every_end_has_its_words(death: Death | None, said: str) -> None:
    assert said in words(death)
