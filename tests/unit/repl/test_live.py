"""The host half against a guest that says whatever the test likes."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

import pytest

from rlm.core.types import ExecResult, ReplSpec
from rlm.repl import calls
from rlm.repl.guest.wire import pack
from rlm.repl.live import LiveGuest
from tests.unit.repl.fakes import FakeChannel, started


async def answer(_name: str, args: tuple[Any, ...], _kwargs: Any) -> Any:
    return list(args)


SPEC = ReplSpec(call=answer, functions=("echo",))
CALL: dict[str, Any] = {"t": "call", "id": 1, "name": "echo", "args": [], "kwargs": {}}
DONE: dict[str, Any] = {"t": "done", "id": 1, "error": None, "final": None, "changed": [], "threads": 0}


async def running(guest: LiveGuest, channel: FakeChannel) -> tuple[asyncio.Task[ExecResult], dict[str, Any]]:
    task = asyncio.create_task(guest.run("code"))
    return task, await channel.sent.get()


async def test_a_cell_goes_out_and_its_end_comes_back() -> None:
    guest, channel = await started(SPEC)
    task, cell = await running(guest, channel)
    assert (cell["t"], cell["code"]) == ("exec", "code")
    channel.print("hello")
    channel.end(cell, final={"value": {"$int": "9007199254740993"}}, changed=["x"])
    result = await task
    assert (result.status, result.output, result.changed) == ("ok", "hello", ("x",))
    assert result.final is not None
    assert result.final.value == 2**53 + 1


LARGE = [f"text {number}" for number in range(5_000)]


async def test_large_frames_are_read_off_the_loop_and_keep_their_order() -> None:
    guest, channel = await started(SPEC)
    task, cell = await running(guest, channel)
    channel.say(**{**CALL, "args": [LARGE]})
    channel.say(**{**CALL, "id": 2, "args": ["small"]})
    assert not guest._cell.calls._waiting, "nothing is answered before it was read"
    replies = [await channel.sent.get(), await channel.sent.get()]
    assert {reply["id"]: reply["value"] for reply in replies} == {1: [LARGE], 2: ["small"]}
    channel.end(cell, final={"value": LARGE})
    result = await task
    assert result.final is not None
    assert result.final.value == LARGE


async def test_an_answer_that_is_being_read_counts_though_the_guest_is_gone() -> None:
    guest, channel = await started(SPEC)
    task, cell = await running(guest, channel)
    channel.end(cell, final={"value": LARGE})
    channel.receiver.closed()
    result = await task
    assert result.final is not None
    assert (result.final.value, guest.has_ended) == (LARGE, True)


async def test_a_large_frame_that_breaks_a_rule_ends_the_guest() -> None:
    guest, channel = await started(SPEC)
    task, _cell = await running(guest, channel)
    channel.say(**{**CALL, "args": [LARGE, {"$int": "x"}]})
    assert "broke the rules" in (await task).error.message


async def test_more_frames_than_can_wait_end_the_guest(monkeypatch) -> None:
    monkeypatch.setattr("rlm.repl.live.MAX_WAITING_BYTES", 150_000)
    guest, channel = await started(SPEC)
    task, _cell = await running(guest, channel)
    for number in range(1, 4):
        channel.say(**{**CALL, "id": number, "args": [LARGE]})
    assert "of frames at one time" in (await task).error.message


async def test_done_before_the_mark_waits_for_the_output() -> None:
    guest, channel = await started(SPEC)
    task, cell = await running(guest, channel)
    channel.say(**DONE)
    channel.print("late")
    assert not task.done()
    channel.print(cell["mark"])
    assert (await task).output == "late"


async def test_a_mark_that_never_comes_does_not_hold_the_cell() -> None:
    guest, channel = await started(SPEC)
    task, _cell = await running(guest, channel)
    channel.print("all there is")
    channel.say(**DONE)
    assert (await task).output == "all there is"


@pytest.mark.parametrize(
    "frame",
    [
        {"t": "nothing"},
        {"t": "ready", "v": 1, "report": {}},
        {**CALL, "name": "eval"},
        {**CALL, "id": 0},
        {**CALL, "id": "1"},
        {**CALL, "args": {}},
        {**CALL, "args": [{"$error": {}}]},
        {**CALL, "args": [{"$int": "x"}]},
        {**CALL, "args": [{"$int": "1" * 5000}]},
        {**CALL, "args": [{"a": 1, "$b": 2}]},
        {**CALL, "more": 1},
        {**DONE, "id": 2},
        {**DONE, "final": {"value": {"$context": True}}},
        {**DONE, "final": {"text": "x"}},
        {**DONE, "changed": [1]},
        {**DONE, "error": {"kind": "x"}},
    ],
    ids=lambda frame: str(frame)[:60],
)
async def test_a_frame_that_breaks_a_rule_kills(frame: dict[str, Any]) -> None:
    guest, channel = await started(SPEC)
    task, _cell = await running(guest, channel)
    channel.say(**frame)
    result = await task
    assert (result.status, result.state_reset, channel.was_killed) == ("killed", True, True)
    assert result.error is not None
    assert "REPLSecurityError" in result.error.message


@pytest.mark.parametrize(
    "received",
    [
        b"\xff\xff\xff\xff\x00",
        b"\0\0\0\2\x01{}",
        b"\0\0\0\2\0{]",
        b"\0\0\x27\x10\0" + b"[" * 10_000,
        b"\0\0\0\2\0\xff\xff",
    ],
    ids=["length", "kind", "JSON", "nesting", "UTF-8"],
)
async def test_bytes_that_are_no_frame_kill(received: bytes) -> None:
    guest, channel = await started(SPEC)
    task, _cell = await running(guest, channel)
    channel.receiver.frames_received(received)
    assert (await task).status == "killed"


async def test_a_bomb_of_tiny_values_kills_before_it_is_decoded() -> None:
    guest, channel = await started(SPEC)
    task, _cell = await running(guest, channel)
    channel.say(**{**CALL, "args": [[]] * 1_100_000})
    result = await task
    assert result.error is not None
    assert "values" in result.error.message


async def test_many_commas_in_a_text_are_no_bomb() -> None:
    guest, channel = await started(SPEC)
    task, cell = await running(guest, channel)
    channel.say(**{**CALL, "args": ['[{",\\"' * 500_000]})
    assert (await channel.sent.get())["value"] == ['[{",\\"' * 500_000]
    channel.end(cell)
    assert (await task).status == "ok"


async def test_a_frame_that_stays_incomplete_kills() -> None:
    guest, channel = await started(SPEC, cell_timeout_s=60.0, frame_deadline_s=0.0)
    task, _cell = await running(guest, channel)
    channel.receiver.frames_received(b"\0\0\0")
    result = await task
    assert result.error is not None
    assert "incomplete" in result.error.message


async def test_frames_without_a_gap_have_the_deadline_each(monkeypatch: pytest.MonkeyPatch) -> None:
    guest, channel = await started(SPEC, cell_timeout_s=3600.0, frame_deadline_s=30.0)
    task, cell = await running(guest, channel)
    stream = b"".join(pack({**CALL, "id": number}) for number in (1, 2, 3))
    third, now = len(stream) // 3, monotonic()
    for step, end in enumerate((third // 2, third + third // 2, 2 * third + third // 2, len(stream))):
        monkeypatch.setattr("rlm.repl.live.monotonic", lambda step=step: now + 20.0 * step)
        guest._watch()
        channel.receiver.frames_received(stream[max(0, end - third) if step < 3 else 2 * third + third // 2 : end])
    assert not channel.was_killed
    channel.end(cell)
    assert (await task).status == "ok"


async def test_an_id_cannot_be_used_twice() -> None:
    guest, channel = await started(SPEC)
    task, _cell = await running(guest, channel)
    channel.say(**CALL)
    await channel.sent.get()
    channel.say(**CALL)
    assert (await task).status == "killed"


async def test_a_call_between_cells_kills() -> None:
    guest, channel = await started(SPEC)
    task, cell = await running(guest, channel)
    channel.end(cell)
    assert (await task).status == "ok"
    channel.say(**CALL)
    assert guest.has_ended


async def test_too_many_calls_at_one_time_kill() -> None:
    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    guest, channel = await started(ReplSpec(call=never, functions=("echo",)))
    task, _cell = await running(guest, channel)
    for number in range(1, 258):
        channel.say(**{**CALL, "id": number})
    result = await task
    assert result.error is not None
    assert "256" in result.error.message


async def test_what_the_arguments_of_waiting_calls_take_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    assert calls.MAX_WAITING_BYTES == 512 << 20
    monkeypatch.setattr(calls, "MAX_WAITING_BYTES", 512 << 15)  # a thirty-second part, and the arguments alike
    guest, channel = await started(ReplSpec(call=never, functions=("echo",)))
    task, cell = await running(guest, channel)
    for number in range(1, 8):
        channel.say(**{**CALL, "id": number, "args": ["\N{PILE OF POO}" + "x" * (24 << 15)]})
    reply = await asyncio.wait_for(channel.sent.get(), 30)
    assert (reply["id"], reply["error"]["kind"]) == (6, "MemoryError")
    channel.end(cell)
    assert (await task).status == "ok"


async def test_what_its_frames_cost_the_host_counts_as_cpu_time() -> None:
    async def never(*_: Any) -> None:
        await asyncio.Event().wait()

    guest, channel = await started(ReplSpec(call=never, functions=("echo",)), cell_timeout_s=0.1)
    task, _cell = await running(guest, channel)
    channel.say(**CALL)
    for number in range(2, 1_000):  # wall time does not count while one of them waits
        channel.say(**{**CALL, "id": number, "args": ["x" * (4 << 20)]})
        await asyncio.sleep(0)
        if task.done():
            break
    result = await task
    assert result.error is not None
    assert "CPU" in result.error.message


async def test_too_many_threads_kill() -> None:
    guest, channel = await started(SPEC)
    task, _cell = await running(guest, channel)
    channel.thread_count = 2_000
    result = await task
    assert result.error is not None
    assert "threads" in result.error.message


async def test_a_timeout_answers_calls_interrupts_and_then_kills() -> None:
    async def spin(*_: Any) -> None:
        channel.cpu = 1.0  # another thread works while this call waits
        await asyncio.Event().wait()

    guest, channel = await started(ReplSpec(call=spin, functions=("echo",)), cell_timeout_s=0.1)
    task, _cell = await running(guest, channel)
    channel.say(**CALL)
    reply = await channel.sent.get()
    assert reply["error"]["kind"] == "TimeoutError"
    result = await task
    assert channel.was_interrupted
    assert (result.status, result.state_reset, channel.was_killed) == ("timeout", True, True)


async def test_a_cell_that_finishes_in_the_grace_is_finished() -> None:
    guest, channel = await started(SPEC, cell_timeout_s=0.05)
    task, cell = await running(guest, channel)
    await channel.interrupted.wait()
    channel.end(cell, final={"value": 1})
    result = await task
    assert (result.status, result.state_reset) == ("ok", False)
    assert result.final is not None


async def test_cpu_time_between_cells_kills() -> None:
    guest, channel = await started(SPEC, cell_timeout_s=0.1)
    task, cell = await running(guest, channel)
    channel.end(cell)
    await task
    channel.cpu = 1.0
    await channel.killed.wait()
    assert guest.has_ended


async def test_a_failing_output_callback_is_raised() -> None:
    def full(_piece: str) -> None:
        raise OSError("disk full")

    guest, channel = await started(ReplSpec(call=answer, on_output=full))
    task, cell = await running(guest, channel)
    channel.print("x")
    channel.end(cell)
    with pytest.raises(OSError, match="disk full"):
        await task


async def test_an_answer_without_a_form_is_an_error_in_the_cell() -> None:
    async def odd(*_: Any) -> Any:
        return object()

    guest, channel = await started(ReplSpec(call=odd, functions=("echo",)))
    task, cell = await running(guest, channel)
    channel.say(**CALL)
    assert (await channel.sent.get())["error"]["kind"] == "TypeError"
    channel.end(cell)
    assert (await task).status == "ok"


async def test_a_long_error_is_bounded() -> None:
    guest, channel = await started(SPEC)
    task, cell = await running(guest, channel)
    channel.end(cell, error={"kind": "k" * 999, "message": "m" * 99_999, "traceback": "t" * 99_999})
    result = await task
    assert result.error is not None
    assert len(result.error.kind) + len(result.error.message) + len(result.error.traceback) < 70_000
