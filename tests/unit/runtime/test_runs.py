"""The end of a run whose time is up: an answer that takes long to mask is given, and recorded, by its beginning."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from rlm.core.loop import orchestrator
from rlm.core.off_loop import checkpoint
from rlm.core.outcome import Outcome
from rlm.core.record.blobs import HEAD_CHARS
from rlm.core.record.recorder import Recorder
from rlm.runtime import runs
from rlm.sinks.memory import MemorySink

if TYPE_CHECKING:
    import pytest

ANSWER = Outcome(status="completed", response="x" * 100_000, value=["x"])


class Endless:
    """A masker that comes to no end with a long text, but for where nobody waits for it any more."""

    def mask(self, text: str) -> str:
        never = threading.Event()
        while len(text) > 4 * HEAD_CHARS:
            checkpoint()
            never.wait(0.001)
        return text

    def mask_value(self, value: Any) -> Any:
        return value

    def stream(self) -> Any:
        raise NotImplementedError


class Nowhere:
    size_bytes = 0

    def write(self, event: Any, line: bytes) -> None:
        return

    def store(self, content: bytes) -> str:
        return ""

    def give_up(self) -> None:
        return

    def close(self) -> None:
        return


def recorder_into(sink: MemorySink) -> Recorder:
    return Recorder("0" * 32, Nowhere(), [sink], Endless())


def task_of(recorder: Recorder, left_s: float) -> Any:
    clock = SimpleNamespace(left_s=left_s)
    return SimpleNamespace(is_root=True, clock=clock, scope=SimpleNamespace(span=recorder.root))


async def test_the_result_is_its_beginning_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "RESULT_S", 0.0)
    recorder = recorder_into(MemorySink())
    opened: Any = SimpleNamespace(
        task=task_of(recorder, 0.0),
        record=SimpleNamespace(recorder=recorder),
        result=lambda outcome: outcome.masked(Endless()),
    )
    result = await runs._in_time(opened, ANSWER)
    assert (result.status, result.limit, result.response, result.value) == (
        "limit",
        "timeout_s",
        "x" * HEAD_CHARS,
        None,
    )
    assert "100,000 characters" in str(result.error)


async def test_the_record_has_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orchestrator, "RECORD_S", 0.0)
    sink = MemorySink()
    recorder = recorder_into(sink)
    run: Any = SimpleNamespace(recorder=recorder)
    await orchestrator.Orchestrator(run)._record_end(task_of(recorder, 60.0), ANSWER, given_up=True)
    assert [body.response for body in sink.bodies("completion.end")] == ["x" * HEAD_CHARS]
