"""What users give a runtime, tools, backends and sinks, whatever they do: an error stays its call's own, a run ends in
its time, and what doesn't end is left behind by name."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from rlm import RLM, Budget, Config, tool
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.types import ModelReply, ModelRequest, ModelTraits, TokenUsage
from rlm.sinks.memory import MemorySink
from tests.support.programs import ProgramSandbox

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path


class Outcome(BaseException):
    """An exception of a framework, such as pytest's, that is no `Exception`."""


MISFITS = (SystemExit, KeyboardInterrupt, StopIteration, asyncio.CancelledError, GeneratorExit, Outcome)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., RLM]]:
    """Makes an RLM over a script and a sandbox in this process; all are closed at the end."""
    made = []

    def build(script: Any, **options: Any) -> RLM:
        given = {name: options.pop(name) for name in ("tools", "sinks") if name in options}
        config = Config(log_dir=str(tmp_path), environment="local", memoise=False, **options)
        rlm = RLM(ScriptedBackend(script), config=config, **given)
        rlm._parts.sandboxes["local"] = ProgramSandbox()
        made.append(rlm)
        return rlm

    yield build
    for rlm in made:
        rlm.close()


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Set when the test is over, and not before."""
    event = threading.Event()
    yield event
    event.set()


def calls(*names: str) -> ModelReply:
    return ModelReply(text="", tool_calls=tuple(tool_call(name) for name in names), usage=TokenUsage())


def misfit(kind: type[BaseException], *, is_async: bool) -> Any:
    """A tool that raises it."""

    async def waits() -> str:
        raise kind("out")

    def at_once() -> str:
        raise kind("out")

    name = f"{kind.__name__}_{'async' if is_async else 'sync'}"
    return tool(name=name, description="Raise.", reads_only=True)(waits if is_async else at_once)


TOOLS = [misfit(kind, is_async=is_async) for kind in MISFITS for is_async in (False, True)]
NAMES = [each.spec.name for each in TOOLS]


def test_whatever_a_tool_raises_is_an_error_of_its_call_for_the_model(make: Callable[..., RLM]) -> None:
    sink = MemorySink()
    rlm = make([calls(*NAMES), "fine"], tools=TOOLS, sinks=[sink])
    assert rlm.completion("x").response == "fine"
    results = [body.content for body in sink.bodies("message") if body.role == "tool"]
    assert len(results) == len(NAMES)
    for kind, result in zip([kind for kind in MISFITS for _ in range(2)], results, strict=True):
        assert kind.__name__ in result


def test_whatever_a_tool_raises_is_an_error_in_a_cell(make: Callable[..., RLM]) -> None:
    program = [["spawn", name, [], {}] for name in NAMES] + [["join"], ["final", "fine"]]
    rlm = make([tool_call("execute_code", code=str(program).replace("'", '"'))], tools=TOOLS)
    assert rlm.completion("x").response == "fine"
    sandbox: Any = rlm._parts.sandboxes["local"]
    assert sorted(call.name for call in sandbox.calls if call.error is not None) == sorted(NAMES)


async def swallow() -> str:
    """Go on whatever happens."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue


async def answer_late() -> str:
    """Take a cancellation for a reason to answer."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        return "swallowed"
    raise AssertionError("unreachable")


async def fail_late() -> str:
    """Fail while it is cancelled."""
    try:
        await asyncio.Event().wait()
    finally:
        raise ValueError("in the clean-up")


@pytest.mark.parametrize("work", [swallow, answer_late, fail_late])
def test_no_tool_defeats_a_cancellation(make: Callable[..., RLM], work: Callable[[], Awaitable[str]]) -> None:
    @tool
    async def wait() -> str:
        """Have the run cancelled, and go on."""
        rlm.cancel()
        return await work()

    sink = MemorySink()
    rlm = make(lambda _request: calls("wait"), tools=[wait], sinks=[sink])
    result = rlm.completion("x")
    assert (result.status, result.usage.model_calls, result.usage.tool_calls) == ("cancelled", 1, 1)
    left = [body.message for body in sink.bodies("warning") if "left behind" in body.message]
    assert ["the tool wait" in message for message in left] == [True] * (work is swallow)


@pytest.mark.parametrize("blocks", ["sync", "async"])
def test_a_tool_that_never_returns_is_left_behind_and_named(
    make: Callable[..., RLM], never: threading.Event, blocks: str
) -> None:
    @tool(name="sync")
    def block() -> str:
        """Never return."""
        never.wait()
        return "late"

    @tool(name="async")
    async def block_the_loop() -> str:
        """Never return, nor let anything else on this event loop happen."""
        never.wait()
        return "late"

    sink = MemorySink()
    rlm = make(
        lambda _request: calls(blocks), tools=[block, block_the_loop], sinks=[sink], budget=Budget(timeout_s=0.4)
    )
    result = rlm.completion("x")
    assert (result.status, result.limit) == ("limit", "timeout_s")
    assert [blocks in body.message for body in sink.bodies("warning") if "left behind" in body.message] == [True]
    assert not never.is_set()
    rlm.close()


def test_after_a_tool_that_blocks_others_work(make: Callable[..., RLM], never: threading.Event) -> None:
    @tool
    async def block() -> str:
        """Never return."""
        never.wait()
        return "late"

    @tool
    async def ping() -> str:
        """Answer."""
        return "pong"

    script = iter([calls("block"), calls("ping"), "fine"])
    rlm = make(lambda _request: next(script), tools=[block, ping])
    assert rlm.completion("x", budget=Budget(timeout_s=0.4)).limit == "timeout_s"
    assert rlm.completion("x").response == "fine"


HANGS = """
import sys, threading
from rlm import RLM, Budget, Config, tool
from rlm.backends.scripted import ScriptedBackend, tool_call

@tool
def hang() -> str:
    "Never return."
    threading.Event().wait()

config = Config(log_dir=sys.argv[1], budget=Budget(timeout_s=0.5))
with RLM(ScriptedBackend(lambda _request: tool_call("hang")), config=config, environment="local", tools=[hang]) as rlm:
    print(rlm.completion("x").limit)
"""


def test_a_process_ends_though_a_tool_of_it_never_does(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", HANGS, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "timeout_s\n", "")


class Kept:
    """A user's sink."""

    def __init__(self) -> None:
        self.types: list[str] = []
        self.closed = 0

    def write(self, event: Any) -> None:
        assert not self.closed
        self.types.append(event.type)

    def close(self) -> None:
        self.closed += 1


class Lines(Kept):
    def write_encoded(self, line: bytes) -> None:
        self.types.append(line.split(b'"type":"')[1].split(b'"')[0].decode())


class Waiting:
    """A backend whose first call never ends by itself: it blocks, where there is something to wait for, or awaits."""

    def __init__(self, blocks: threading.Event | None) -> None:
        self.loops: list[asyncio.AbstractEventLoop] = []
        self.called = threading.Event()
        self._blocks = blocks

    def traits(self, _model: str) -> ModelTraits:
        return ModelTraits()

    async def call(self, _request: ModelRequest) -> ModelReply:
        self.loops.append(asyncio.get_running_loop())
        self.called.set()
        if self._blocks is not None:
            self._blocks.wait()
        elif len(self.loops) == 1:
            await asyncio.Event().wait()
        return ModelReply(text="fine", usage=TokenUsage())

    async def aclose(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("is_blocking", [True, False])
def test_a_backend_holds_up_no_cancellation_and_keeps_its_loop(
    tmp_path: Path, never: threading.Event, is_blocking: bool
) -> None:
    backend = Waiting(never if is_blocking else None)
    config = Config(log_dir=str(tmp_path), environment="local")
    with ThreadPoolExecutor(1) as pool, RLM(backend, config=config) as rlm:
        rlm._parts.sandboxes["local"] = ProgramSandbox()
        running = pool.submit(rlm.completion, "x")
        backend.called.wait()
        rlm.cancel()
        try:
            assert running.result(timeout=20).status == "cancelled"
        finally:
            never.set()
        assert rlm.completion("x").response == "fine"
    assert len(set(backend.loops)) == 1


@pytest.mark.parametrize("kind", [Kept, Lines])
def test_a_sink_gets_every_run_and_is_closed_with_the_rlm(make: Callable[..., RLM], kind: type[Kept]) -> None:
    sink = kind()
    rlm = make(["one", "two", "three"], sinks=[sink])
    for _ in range(2):
        rlm.completion("x")
    rlm.open_repl().close()
    assert sink.types.count("run.start") == sink.types.count("completion.end") == 3
    assert sink.closed == 0
    rlm.close()
    rlm.close()
    assert sink.closed == 1


def test_a_sink_of_an_rlm_that_was_never_used_is_closed_too() -> None:
    sink = Kept()
    with RLM(ScriptedBackend([]), config=Config(), sinks=[sink]):
        pass
    assert sink.closed == 1


@pytest.mark.parametrize("kind", MISFITS)
def test_whatever_a_sink_raises_costs_the_run_nothing_but_the_sink(
    make: Callable[..., RLM], kind: type[BaseException]
) -> None:
    class Fails(Kept):
        def write(self, event: Any) -> None:
            super().write(event)
            raise kind("out")

    sink, seen = Fails(), MemorySink()
    rlm = make(["one", "two"], sinks=[sink, seen])
    for run in (1, 2):
        assert rlm.completion("x").success
        said = [body.message for body in seen.bodies("warning")]
        assert [f"Fails failed and was detached: {kind.__name__}" in message for message in said] == [True] * run


def test_a_sink_that_blocks_holds_up_no_run_and_no_close(make: Callable[..., RLM], never: threading.Event) -> None:
    class Blocks(Kept):
        def write(self, event: Any) -> None:
            super().write(event)
            never.wait()

    sink, seen = Blocks(), MemorySink()
    rlm = make(["one"], sinks=[sink, seen])
    assert rlm.completion("x").success
    rlm.close()
    assert not never.is_set()
    assert ["Blocks failed" in body.message for body in seen.bodies("warning")] == [True]


def test_an_error_in_one_sinks_close_keeps_no_other_open(make: Callable[..., RLM]) -> None:
    class Fails(Kept):
        def close(self) -> None:
            super().close()
            raise ValueError("a full disk")

    first, second, third = Kept(), Fails(), Kept()
    rlm = make(["one"], sinks=[first, second, third])
    rlm.completion("x")
    with pytest.raises(ValueError, match="a full disk"):
        rlm.close()
    assert [first.closed, second.closed, third.closed] == [1, 1, 1]
