"""A guest that lies when its variables are asked for, or dies of those it is given, harms no session."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from rlm.core.exceptions import REPLError, RLMError, StoreError
from rlm.core.record.recorder import Span
from rlm.core.types import ExecError, ExecResult, Final
from rlm.sessions.sandbox import RunSession, SessionRepl
from rlm.sessions.store import MAX_STATE_BYTES, Definition, Revision, SessionStore, State
from rlm.store.database import Database

NONE: dict[str, Any] = {"definitions": [], "lost": {}, "pieces": 0}


class Lying:
    """Implements `Repl`: answers cells with what it was made with, by what they begin with."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.cells: list[str] = []

    async def execute(self, code: str, timeout_s: float | None = None) -> ExecResult:
        self.cells.append(code)
        answer = next((each for start, each in self.answers.items() if start in code), None)
        if isinstance(answer, ExecResult):
            return answer
        final = None if answer is None else Final(value=answer, text="")
        return ExecResult(status="ok", output="", output_chars=0, duration_s=0.0, final=final)

    def interrupt(self, why: str) -> None: ...

    async def aclose(self) -> None: ...


@pytest.fixture
def store(tmp_path):
    made = SessionStore(Database(tmp_path / "store.sqlite"))
    made.ensure("work")
    made.save("work", State(values={"kept": "1"}))
    return made


def kept(store, lying, begins=None):
    events: list[Any] = []
    recorder = SimpleNamespace(run_id="r", root=Span("0", None), record=lambda _span, body: events.append(body))
    session = RunSession(store=store, name="work", begins=begins or store.load("work"), recorder=recorder, masker=None)
    return SessionRepl(lying, session), events


@pytest.mark.parametrize(
    "answers",
    [
        {"EXPORT_VARS": None},
        {"EXPORT_VARS": 5},
        {"EXPORT_VARS": {**NONE, "pieces": -1}},
        {"EXPORT_VARS": {**NONE, "pieces": 10**9}},
        {"EXPORT_VARS": {**NONE, "pieces": "1"}},
        {"EXPORT_VARS": {"pieces": 0}},
        {"EXPORT_VARS": {**NONE, "definitions": 5}},
        {"EXPORT_VARS": {**NONE, "lost": {"a": 5}}},
        {"EXPORT_VARS": {**NONE, "lost": {"../a": "x"}}},
        {"EXPORT_VARS": {**NONE, "pieces": 1}},
        {"EXPORT_VARS": {**NONE, "pieces": 1}, "EXPORTED_PIECE": [["a"]]},
        {"EXPORT_VARS": {**NONE, "pieces": 1}, "EXPORTED_PIECE": [["\x1b[2J", "1"]]},
        {"EXPORT_VARS": {**NONE, "pieces": 1}, "EXPORTED_PIECE": [["a", '"\ud800"']]},
    ],
    ids=lambda answers: str(answers)[:60],
)
def test_what_a_guest_gives_out_is_checked_and_the_session_stays(store, answers):
    refused(store, answers)


def test_what_a_guest_gives_out_is_bounded_over_all_its_pieces(store):
    half = "x" * (MAX_STATE_BYTES // 2)
    refused(store, {"EXPORT_VARS": {**NONE, "pieces": 4000}, "EXPORTED_PIECE": [["a", half]]})


def refused(store, answers):
    repl, _ = kept(store, Lying(**answers))
    with pytest.raises((StoreError, REPLError)):
        asyncio.run(repl.save())
    assert store.load("work").number == 1


def test_a_session_that_cannot_be_saved_is_warned_of_and_the_repl_closed(store):
    async def work():
        repl, events = kept(store, Lying(EXPORT_VARS=5))
        await repl.execute("x = 1")
        await repl.aclose()
        return events

    assert "session 'work' was not saved: the sandbox exported no" in asyncio.run(work())[-1].message


def test_a_sandbox_that_its_variables_kill_is_no_session(store):
    died = ExecResult(
        status="killed",
        output="",
        output_chars=0,
        duration_s=0.0,
        error=ExecError(kind="SandboxKilled", message="out of memory", traceback=""),
        state_reset=True,
    )
    repl, _ = kept(store, Lying(IMPORT_VARS=died, EXPORT_VARS=NONE))
    with pytest.raises(REPLError, match="are gone.*out of memory"):
        asyncio.run(repl.restore())
    asyncio.run(repl.aclose())
    assert store.load("work").number == 1


def test_what_a_sandbox_cannot_take_stays_in_the_session(store):
    state = State(values={"a": "1", "b": "2"}, definitions=[Definition(names=["f"], source="import f")])
    failed = ExecError(kind="ImportError", message="no f", traceback="")
    refusing = ExecResult(status="error", output="", output_chars=0, duration_s=0.0, error=failed)
    lying = Lying(**{"is_last=True": {"b": "too large", "other": "x"}, "import f": refusing, "EXPORT_VARS": NONE})

    async def work():
        repl, events = kept(store, lying, Revision(number=1, saved_at=0.0, run="", state=state))
        await repl.restore()
        return (await repl.save()).state, events

    saved, events = asyncio.run(work())
    assert (saved.values, saved.definitions) == ({"b": "2"}, state.definitions)
    assert events[0].lost == {"b": "too large", "f": "ImportError: no f"}


def test_an_endless_giving_out_ends(store, monkeypatch):
    monkeypatch.setattr("rlm.sessions.sandbox._CARRY_S", 0.0)
    repl, _ = kept(store, Lying(EXPORT_VARS=NONE))
    with pytest.raises(RLMError, match="took more than"):
        asyncio.run(repl.save())
