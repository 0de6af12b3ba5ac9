"""The record of a cell: its output in order however much it is, and an end whatever ends it."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace

import pytest

from rlm.core.loop.cells import CellRecord
from rlm.core.off_loop import LARGE_CHARS, checkpoint
from rlm.core.record.recorder import Recorder
from rlm.core.types import ExecResult, Final
from rlm.secrets import SecretMasker
from rlm.sinks.memory import MemorySink
from rlm.trajectory.writer import TrajectoryWriter

KEY = "sk-" + "aB3dE6gH9jK2" * 4


@pytest.fixture
def sink():
    return MemorySink()


@pytest.fixture
def recorder(tmp_path, sink):
    recorder = Recorder("r" * 32, TrajectoryWriter(tmp_path, "r" * 32), [sink], SecretMasker())
    yield recorder
    recorder.close()


async def begun(recorder, masker, shown=None):
    run = SimpleNamespace(recorder=recorder, masker=masker)
    record = CellRecord(run, SimpleNamespace(span=recorder.root), shown)
    await record.begin(1, "x")
    return record


def ended(**more):
    return ExecResult(status="ok", output="", output_chars=0, duration_s=0.1, **more)


async def test_small_output_is_on_record_at_once(recorder, sink):
    record = await begun(recorder, SecretMasker())
    record.output(f"it is {KEY}\nand")
    assert [body.text for body in sink.bodies("exec.output")] == ["it is [REDACTED_API_KEY]\n"]
    await record.end(ended())
    assert [event.type for event in sink.events] == ["exec.start", "exec.output", "exec.output", "exec.end"]


class Noting:
    """A masker that notes which whole texts it is given."""

    def __init__(self):
        self.texts = []

    def mask(self, text):
        self.texts.append(text)
        return text

    def mask_value(self, value):
        return value

    def stream(self):
        return SecretMasker().stream()


async def test_what_was_masked_as_it_was_printed_is_not_masked_again(tmp_path):
    masker = Noting()
    recorder = Recorder("r" * 32, TrajectoryWriter(tmp_path, "r" * 32), [], masker)
    record = await begun(recorder, masker)
    large = "a line\n" * LARGE_CHARS
    for text in ("small\n", large):
        record.output(text)
    await record.end(ended())
    recorder.close()
    assert masker.texts
    assert not [text for text in masker.texts if "small" in text or "a line" in text]


async def test_large_output_is_masked_off_the_loop_and_keeps_its_order(recorder, sink):
    shown = []
    record = await begun(recorder, SecretMasker(), shown.append)
    large = f"{KEY}\n" * (2 * LARGE_CHARS // len(KEY))
    record.output("first\n")
    record.output(large)
    record.output("last")
    assert shown == ["first\n"]
    await record.end(ended())
    assert "".join(shown) == f"first\n{large.replace(KEY, '[REDACTED_API_KEY]')}last"
    assert sink.events[-1].type == "exec.end"


class Endless:
    """A masker that is never done with a large text."""

    def __init__(self):
        self.has_begun = threading.Event()

    def stream(self):
        return self

    def feed(self, _text):
        self.has_begun.set()
        while True:
            checkpoint()

    def close(self):
        return ""


async def test_the_end_of_a_killed_cell_does_not_wait_for_its_output(recorder, sink, monkeypatch):
    monkeypatch.setattr("rlm.core.loop.cells._LAST_OUTPUT_S", 0.01)
    record = await begun(recorder, Endless())
    record.output("x" * 2 * LARGE_CHARS)
    await record.end(None)
    assert sink.bodies("exec.end")[0].status == "killed"


async def test_a_cell_whose_end_is_given_up_has_one(recorder, sink):
    masker = Endless()
    record = await begun(recorder, masker)
    record.output("x" * 2 * LARGE_CHARS)
    ending = asyncio.create_task(record.end(ended(final=Final(value=1, text="1"))))
    await asyncio.to_thread(masker.has_begun.wait)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert [body.status for body in sink.bodies("exec.end")] == ["killed"]
