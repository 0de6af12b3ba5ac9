"""The engine suite: what every engine keeps, wherever its runs are made."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.config import Config
from rlm.core.exceptions import ConfigError, QueueFullError
from rlm.runtime.control import Act
from rlm.runtime.request import Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from rlm.core.interfaces import Backend
    from rlm.core.types import ModelRequest, ToolCall
    from rlm.jobs.engines.engine import Engine, Submission


class HeldModel:
    """A model that answers each request with a cell, `FINAL(prompt)`, once it is let."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.backend: Backend = ScriptedBackend(self._reply)

    async def _reply(self, _request: ModelRequest) -> ToolCall:
        self.asked.set()
        await self.may_answer.wait()
        return tool_call("execute_code", code="FINAL(len(context))")


async def events_from(submission: Submission, first: int) -> list[tuple[int, str]]:
    """The numbers and types of all events of a submission from that one on."""
    return [(each.number, each.event.type) async for each in submission.events(first)]


class EngineSuite:
    """A class to inherit from: `make` gives the engine to be proved."""

    @classmethod
    async def make(cls, backend: Backend, *, max_running: int, max_queued: int) -> Engine:
        """An engine whose runs ask `backend`, so many at one time, while so many wait."""
        raise NotImplementedError(f"{cls.__name__} has no make(backend, max_running, max_queued)")

    @pytest.fixture
    async def model(self) -> HeldModel:
        """The model of all runs."""
        return HeldModel()

    @pytest.fixture
    async def engine(self, model: HeldModel) -> AsyncIterator[Engine]:
        """The engine: one run at a time, and one that waits."""
        made = await self.make(model.backend, max_running=1, max_queued=1)
        yield made
        await made.aclose()

    @pytest.fixture
    def request_of(self, tmp_path: Path) -> Request:
        """A request whose answer is 4."""
        config = Config(model="held", environment="local", log_dir=str(tmp_path))
        return Request(prompt="how long?", context="data", config=config)

    async def test_a_submission_has_events_from_any_number_and_a_result(
        self, engine: Engine, model: HeldModel, request_of: Request
    ) -> None:
        submission = await engine.submit(request_of)
        assert engine.get(submission.id) is submission
        early = asyncio.ensure_future(events_from(submission, 0))
        await model.asked.wait()
        late = asyncio.ensure_future(events_from(submission, 3))
        model.may_answer.set()
        result = await submission.result()
        whole = await early
        assert (result.status, result.value, submission.state) == ("completed", 4, "completed")
        assert (result.run_id, submission.records) == (submission.id, (result.trajectory,))
        assert [number for number, _ in whole] == list(range(len(whole)))
        assert [kind for _, kind in whole].count("completion.end") == 1
        assert whole[-1][1] == "completion.end"
        assert whole[3:] == await late == await events_from(submission, 3)
        assert engine.get(submission.id) is None
        with pytest.raises(ConfigError, match="has ended"):
            submission.control(Act(action="pause"))

    async def test_what_has_no_place_waits_and_what_finds_no_room_is_refused(
        self, engine: Engine, model: HeldModel, request_of: Request
    ) -> None:
        first = await engine.submit(request_of)
        await model.asked.wait()
        second = await engine.submit(request_of)
        with pytest.raises(QueueFullError):
            await engine.submit(request_of)
        assert (first.state, second.state) == ("running", "queued")
        second.control(Act(action="set", cap="max_turns", value=2, who="ann"))
        model.may_answer.set()
        assert [(await each.result()).value for each in (first, second)] == [4, 4]
        events = [each.event.body async for each in second.events()]
        assert [body.who for body in events if body.TYPE == "control"] == ["ann"]

    async def test_a_submission_is_cancelled_wherever_it_stands(
        self, engine: Engine, model: HeldModel, request_of: Request
    ) -> None:
        first = await engine.submit(request_of)
        await model.asked.wait()
        second = await engine.submit(request_of)
        second.control(Act(action="cancel"))
        waiting = await second.result()
        assert (waiting.status, waiting.trajectory) == ("cancelled", None)
        assert [each async for each in second.events()] == []
        first.control(Act(action="cancel", who="ann"))
        assert (await first.result()).status == "cancelled"
        assert (await events_from(first, 0))[-1][1] == "completion.end"

    async def test_a_request_of_which_no_run_can_be_made_says_why(self, engine: Engine, request_of: Request) -> None:
        import dataclasses

        wrong = dataclasses.replace(request_of, output_type={"type": "no such type"})
        submission = await engine.submit(wrong)
        with pytest.raises(ConfigError):
            await submission.result()
        assert submission.state == "refused"
        assert [each async for each in submission.events()] == []

    async def test_closing_lands_what_is_in_progress(self, model: HeldModel, request_of: Request) -> None:
        made = await self.make(model.backend, max_running=1, max_queued=1)
        submission = await made.submit(request_of)
        await model.asked.wait()
        await made.aclose()
        assert (await submission.result()).status == "cancelled"
