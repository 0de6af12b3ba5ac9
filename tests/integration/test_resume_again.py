"""A run that was cut off while something was under way, in the real sandbox: it is resumed, cut off again, resumed,
forked and replayed, as often as one likes, and what was answered once is never asked again."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest

from rlm import RLM, Budget, Config, tool
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.events import decode

DATA = "some data"


@dataclass(frozen=True)
class Case:
    """What is under way when the run is cut off."""

    code: str
    """The cell of the first turn."""
    under_way: str
    """The type of the event that never came."""
    says: Any
    """What its text or result would be."""
    value: Any


CASES = {
    "model": Case("x = llm_query('a')\nprint(x)", "model.end", "<a>", "<a>"),
    "attempts": Case("x = llm_query('n', output_type={'type': 'integer'})\nprint(x)", "model.end", "7", 7),
    "batch": Case("x = llm_query_batched(['a', 'b', 'c'])\nprint(x)", "model.end", "<b>", ["<a>", "<b>", "<c>"]),
    "tool": Case("x = look('a')\nprint(x)", "tool.end", "seen a", "seen a"),
    "child": Case("x = rlm_query('child', 'part')\nprint(x)", "completion.end", "<deep>", "<deep>"),
    "in a child": Case("x = rlm_query('child', 'part')\nprint(x)", "model.end", "<deep>", "<deep>"),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


class Asked:
    """A model, and a tool, that answer by what is asked, and count it."""

    def __init__(self, case):
        self.case = case
        self.count = Counter()
        self.hangs = ""
        self.cancel = None

    async def model(self, request):
        said = request.messages[-1].content
        turns = sum(message.role == "assistant" for message in request.messages)
        if not request.tools:
            asked = "n" if said[0] == "n" else "again" if "Answer again" in said else said
            self.count[asked] += 1
            answer = {"n": "many", "again": "7"}.get(asked, f"<{asked}>")
            if answer == self.hangs:
                await self.hang()
            return answer
        asked, code = f"turn {turns + 1}", "FINAL(x)" if turns else self.case.code
        if "child" in request.messages[1].content:
            asked, code = f"{asked} of the child", "FINAL(llm_query('deep'))"
        self.count[asked] += 1
        return tool_call("execute_code", code=code)

    async def hang(self):
        self.cancel()
        await asyncio.Event().wait()

    def tool(self):
        @tool(reads_only=True)
        async def look(what: str) -> str:
            """Look at something."""
            self.count[what] += 1
            if self.hangs == f"seen {what}":
                await self.hang()
            return f"seen {what}"

        return look

    def rlm(self, folder):
        return RLM(ScriptedBackend(self.model), tools=[self.tool()], config=Config(log_dir=str(folder)))


def events_of(path):
    return [decode(line) for line in path.read_bytes().splitlines()]


def is_answer(event, case):
    """The event of this run's own that says what the case is about."""
    if event.type != case.under_way or event.served or event.parent is None:
        return False
    body = event.body
    return case.says in (getattr(body, "text", None), getattr(body, "result", None), getattr(body, "response", None))


def cut_before(path, wanted):
    """Leave of a record what SIGKILL leaves when the first event that `wanted` takes is about to be written."""
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(index for index, line in enumerate(lines) if wanted(decode(line)))
    path.write_bytes(b"".join(lines[:at]))


def cut_while_under_way(result, case):
    cut_before(result.trajectory, lambda event: is_answer(event, case))


def cut_after_the_cell(result):
    cut_before(result.trajectory, lambda event: event.type == "turn.start" and event.body.turn == 2)


def resumed(rlm, result, case):
    again = rlm.resume(result.run_id, context=DATA)
    assert (again.status, again.value) == ("completed", case.value), again.error
    return again


@pytest.fixture
def cut_off(tmp_path):
    """Makes the run of a case, cut off by SIGKILL while it is under way, resumed once; what was asked, and the RLM."""
    opened = []

    def make(case):
        asked = Asked(case)
        rlm = asked.rlm(tmp_path)
        opened.append(rlm)
        first = rlm.completion("q", DATA)
        assert first.value == case.value, first.error
        cut_while_under_way(first, case)
        return asked, rlm, resumed(rlm, first, case)

    yield make
    for rlm in opened:
        rlm.close()


@each_case
def test_the_resumed_run_is_resumed(cut_off, case):
    asked, rlm, second = cut_off(case)
    before = asked.count.copy()
    cut_after_the_cell(second)
    third = resumed(rlm, second, case)
    assert asked.count - before == {"turn 2": 1}, "all but the turn that was cut off is in the record"
    assert third.usage.subcalls == second.usage.subcalls


@each_case
def test_cut_off_at_the_same_place_again_and_again(cut_off, case):
    asked, rlm, result = cut_off(case)
    for _ in range(3):
        cut_while_under_way(result, case)
        result = resumed(rlm, result, case)
    before = asked.count.copy()
    cut_after_the_cell(result)
    resumed(rlm, result, case)
    assert asked.count - before == {"turn 2": 1}


@each_case
def test_the_resumed_run_is_forked(cut_off, case):
    asked, rlm, second = cut_off(case)
    before = asked.count.copy()
    forked = rlm.fork(second.run_id, 1, "look again", context=DATA)
    assert (forked.value, asked.count - before) == (case.value, {"turn 2": 1}), forked.error


@each_case
def test_the_resumed_run_is_replayed(cut_off, case):
    asked, rlm, second = cut_off(case)
    before = asked.count.copy()
    report = rlm.replay(second.run_id, context=DATA)
    assert (report.differences, asked.count - before) == ((), {})
    assert report.cells == (3 if "child" in case.code else 2)


@each_case
def test_a_run_that_was_cancelled_meanwhile_is_resumed_and_that_one_too(tmp_path, case):
    asked = Asked(case)
    asked.hangs = case.says
    with asked.rlm(tmp_path) as rlm:
        asked.cancel = rlm.cancel
        first = rlm.completion("q", DATA)
        assert first.status == "cancelled"
        asked.hangs = ""
        second = resumed(rlm, first, case)
        cut_after_the_cell(second)
        before = asked.count.copy()
        third = resumed(rlm, second, case)
        assert asked.count - before == {"turn 2": 1}
        assert rlm.replay(third.run_id, context=DATA).differences == ()


def test_a_tool_that_was_redone_is_not_asked_about_again(tmp_path):
    calls = []

    @tool
    def send(text: str) -> str:
        """Send a text."""
        calls.append(text)
        return "sent"

    script = [tool_call("execute_code", code="x = send('one')\nprint(x)"), tool_call("execute_code", code="FINAL(x)")]
    config = Config(log_dir=str(tmp_path), guest_tools=("send",))
    with RLM(ScriptedBackend([*script, script[1], script[1]]), tools=[send], config=config) as rlm:
        first = rlm.completion("q", DATA)
        cut_before(first.trajectory, lambda event: event.type == "tool.end")
        second = rlm.resume(first.run_id, context=DATA, redo_unfinished=True)
        cut_after_the_cell(second)
        third = rlm.resume(second.run_id, context=DATA)
    assert (third.value, calls) == ("sent", ["one", "one"]), third.error


async def test_awaited_too(tmp_path):
    case = CASES["model"]
    asked = Asked(case)
    async with asked.rlm(tmp_path) as rlm:
        first = await rlm.acompletion("q", DATA)
        cut_while_under_way(first, case)
        second = await rlm.aresume(first.run_id, context=DATA)
        assert (await rlm.areplay(second.run_id, context=DATA)).differences == ()


def landed(rlm, folder):
    """A run that reached its limit of one turn and landed, resumed with two turns, which it reached too."""
    first = rlm.completion("q", DATA)
    assert (first.limit, first.response) == ("max_turns", "answer 2")
    second = rlm.resume(first.run_id, context=DATA, overrides={"max_turns": 2})
    assert (second.limit, second.response) == ("max_turns", "answer 4")
    return second


def turns_and_landings(asked):
    """A model that makes turns, and lands with a text that counts what it was asked."""

    def reply(request):
        asked.append(request)
        return tool_call("execute_code", code="x = 1") if request.tools else f"answer {len(asked)}"

    return ScriptedBackend(reply)


def test_a_landing_is_never_answered_by_that_before_a_cap_was_raised(tmp_path):
    asked = []
    config = Config(log_dir=str(tmp_path), budget=Budget(max_turns=1))
    with RLM(turns_and_landings(asked), config=config) as rlm:
        second = landed(rlm, tmp_path)
        cut_before(second.trajectory, lambda event: event.type == "model.end" and event.body.text == "answer 4")
        third = rlm.resume(second.run_id, context=DATA)
    assert (third.limit, third.response) == ("max_turns", "answer 5")


def test_a_landing_that_was_answered_is_not_asked_again(tmp_path):
    asked = []
    config = Config(log_dir=str(tmp_path), budget=Budget(max_turns=1))
    with RLM(turns_and_landings(asked), config=config) as rlm:
        second = landed(rlm, tmp_path)
        for _ in range(2):
            cut_before(second.trajectory, lambda event: event.type == "completion.end")
            second = rlm.resume(second.run_id, context=DATA)
            assert (second.limit, second.response, len(asked)) == ("max_turns", "answer 4", 4)


def test_a_landing_is_never_answered_by_that_of_a_record_that_was_left(tmp_path):
    asked = []

    def reply(request):
        asked.append(request)
        clock = tool_call("execute_code", code="import time\nprint(time.time_ns())")
        return clock if request.tools else f"answer {len(asked)}"

    config = Config(log_dir=str(tmp_path), budget=Budget(max_turns=1))
    with RLM(ScriptedBackend(reply), config=config) as rlm:
        first = rlm.completion("q", DATA)
        cut_before(first.trajectory, lambda event: event.type == "completion.end")
        second = rlm.resume(first.run_id, context=DATA, on_divergence="continue")
    assert (first.response, second.response) == ("answer 2", "answer 3")


def test_what_the_user_added_to_a_fork_is_said_whenever_that_is_resumed(tmp_path):
    asked = []
    config = Config(log_dir=str(tmp_path), budget=Budget(max_turns=2))
    with RLM(turns_and_landings(asked), config=config) as rlm:
        first = rlm.completion("q", DATA)
        for turn in (0, 1):
            forked = rlm.fork(first.run_id, turn, "a hint", context=DATA)
            before = [message.content for message in asked[-1].messages]
            assert "a hint" in before
            cut_before(forked.trajectory, lambda event: event.type == "model.end" and not event.served)
            rlm.resume(forked.run_id, context=DATA)
            assert [message.content for message in asked[-1].messages] == before


def test_what_was_kept_for_all_that_a_run_resumed_goes_when_it_completes(tmp_path):
    script = ["one", "landed", "two", "three", "landed", "FINAL"]
    replies = {each: tool_call("execute_code", code=f"x = {each!r}") for each in ("one", "two", "three")}
    replies["FINAL"] = tool_call("execute_code", code="FINAL(x)")
    config = Config(log_dir=str(tmp_path), environment="local", budget=Budget(max_turns=1))
    secret = "use sk-proj-T3stKq8ZpL0vXw7YbN2mR9dF4gH6jKq8ZpL0vXw7Yb"
    with RLM(ScriptedBackend([replies.get(each, each) for each in script]), config=config) as rlm:
        run = rlm.completion(secret, DATA)
        for turns in (3, 4):
            assert run.limit == "max_turns"
            run = rlm.resume(run.run_id, context=DATA, overrides={"max_turns": turns})
    assert run.value == "three"
    assert [path.name for path in tmp_path.glob("*.exact")] == []


def test_a_run_that_was_forked_may_still_be_resumed_when_the_fork_has_completed(tmp_path):
    asked = []
    config = Config(log_dir=str(tmp_path), environment="local", budget=Budget(max_turns=1))
    secret = "use sk-proj-T3stKq8ZpL0vXw7YbN2mR9dF4gH6jKq8ZpL0vXw7Yb"
    with RLM(turns_and_landings(asked), config=config) as rlm:
        first = rlm.completion(secret, DATA)
        forked = rlm.fork(first.run_id, 1, context=DATA)
        assert (first.limit, forked.limit) == ("max_turns", "max_turns")
    done = [tool_call("execute_code", code="FINAL(x)")]
    with RLM(ScriptedBackend(done), config=config) as rlm:
        ended = rlm.resume(forked.run_id, context=DATA, overrides={"max_turns": 2})
    assert (ended.status, ended.value) == ("completed", 1)
    assert [path.stem for path in tmp_path.glob("*.exact")] == [first.run_id]
