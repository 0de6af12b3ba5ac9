"""Runs in progress that are paused, told something, given other caps or cancelled, by the socket of their process."""

import asyncio
import functools
import os
import socket
import stat
import subprocess
import sys

import pytest

from rlm import RLM, Budget, Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.cli.main import call
from rlm.core.events import decode
from rlm.core.exceptions import ConfigError
from rlm.core.time_notes import time_note
from rlm.runtime.asking import act_on, live_runs
from rlm.runtime.control import Act
from rlm.sinks.progress import notice_text


def cell(code):
    return tool_call("execute_code", code=code)


class Model:
    """A scripted model each of whose replies waits until the test lets it."""

    def __init__(self, *replies):
        self.replies = iter(replies)
        self.asked = asyncio.Semaphore(0)
        self.may_answer = asyncio.Semaphore(0)
        self.backend = ScriptedBackend(self.reply)

    async def reply(self, request):
        reply = next(self.replies)
        here = asyncio.get_running_loop()
        self.loop.call_soon_threadsafe(self.asked.release)
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.may_answer.acquire(), self.loop), loop=here)
        return reply

    def answer(self):
        self.may_answer.release()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of control sockets, below a path that is longer than that of a socket may be."""
    state = tmp_path / ("long" * 40)
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    return state / "rlm" / "ctl"


@pytest.fixture
async def begin(tmp_path, folder):
    """Begins runs whose model waits; all are ended with the test."""
    made = []

    def start(*replies, context="data", **settings):
        model = Model(*replies)
        model.loop = asyncio.get_running_loop()
        rlm = RLM(model.backend, config=Config(log_dir=str(tmp_path / "logs"), environment="local", **settings))
        task = asyncio.ensure_future(rlm.acompletion("q", context))
        made.append((rlm, task))
        return model, task

    yield start
    for rlm, task in made:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(rlm.close)


def events_of(result):
    return [decode(line) for line in result.trajectory.read_bytes().splitlines()]


def acts(result):
    return [event.body for event in events_of(result) if event.type == "control"]


async def test_a_paused_run_starts_nothing_and_goes_on_where_it_was(begin, folder):
    model, task = begin(cell("x = 1"), cell("FINAL(x + 1)"), budget=Budget(timeout_s=60.0))
    await model.asked.acquire()
    (before,) = await live_runs(folder)
    assert (before.state, before.prompt, before.waits_for) == ("running", "q", ["turn by scripted"])
    paused = await act_on(folder, before.id[:8], Act(action="pause", who="ann", why="lunch"))
    model.answer()
    assert paused.state == "paused"
    while (now := (await live_runs(folder))[0]).waits_for:
        await asyncio.sleep(0)
    assert (now.cells, now.elapsed_s) == (0, paused.elapsed_s), "the cell of the reply waits too, and the clock stands"
    await act_on(folder, "last", Act(action="resume", who="ann"))
    model.answer()
    result = await task
    assert (result.status, result.value) == ("completed", 2)
    assert [(act.action, act.who, act.why) for act in acts(result)] == [
        ("pause", "ann", "lunch"),
        ("resume", "ann", ""),
    ]
    assert await live_runs(folder) == []


async def test_what_is_said_is_in_the_next_turn(begin, folder):
    model, task = begin(cell("x = 1"), cell("FINAL(x)"))
    await model.asked.acquire()
    await act_on(folder, "last", Act(action="say", text="the column is called total"))
    model.answer()
    model.answer()
    result = await task
    assert result.success
    assert model.backend.requests[1].messages[-1].content == "the column is called total"


async def test_a_cap_below_what_is_spent_lands_the_run(begin, folder):
    model, task = begin(cell("print('so far')"), cell("FINAL(1)"))
    await model.asked.acquire()
    status = await act_on(folder, "last", Act(action="set", cap="token_budget", value=10))
    assert status.budget["token_budget"] == 10
    model.answer()
    result = await task
    assert (result.status, result.limit, result.response) == ("limit", "token_budget", "so far")
    assert len(model.backend.requests) == 1
    (act,) = acts(result)
    assert (act.cap, act.value, act.before) == ("token_budget", 10, 1_000_000)


async def test_a_raised_cap_lets_a_run_go_on(begin, folder):
    model, task = begin(cell("x = 1"), cell("FINAL(x)"), budget=Budget(max_turns=1))
    await model.asked.acquire()
    await act_on(folder, "last", Act(action="set", cap="max_turns", value=5))
    model.answer()
    model.answer()
    assert (await task).value == 1


REFUSED = {
    "did you mean token_budget": Act(action="set", cap="token_bugdet", value=1),
    "token_budget: Expected": Act(action="set", cap="token_budget", value="much"),
    ">= 1": Act(action="set", cap="token_budget", value=-1),
    "the price of": Act(action="set", cap="cost_budget_usd", value=1.0),
    "not a cap that can be set": Act(action="set", cap="max_concurrency", value=1),
    "no child in progress": Act(action="cancel", child="ff"),
    "nothing to be said": Act(action="say"),
}


async def test_what_cant_be_done_is_refused_and_not_recorded(begin, folder):
    model, task = begin(cell("FINAL(1)"))
    await model.asked.acquire()
    for said, act in REFUSED.items():
        with pytest.raises(ConfigError, match=said):
            await act_on(folder, "last", act)
    model.answer()
    assert acts(await task) == []


async def test_a_cancelled_child_is_an_error_to_its_parent_and_resumes_so(begin, folder, tmp_path):
    code = "try:\n    rlm_query('sub')\nexcept Exception as error:\n    said = str(error).partition(': ')[2]"
    model, task = begin(cell(code), "the child", cell("FINAL(said)"))
    await model.asked.acquire()
    model.answer()
    await model.asked.acquire()
    (child,) = (await live_runs(folder))[0].children
    assert child.prompt == "sub"
    await act_on(folder, "last", Act(action="cancel", child=child.id[:6], who="ann", why="too slow"))
    await model.asked.acquire()
    model.answer()
    result = await task
    assert result.value == "this child was cancelled by ann: too slow"
    path = result.trajectory
    lines = path.read_bytes().splitlines(keepends=True)
    last = max(number for number, line in enumerate(lines) if decode(line).type == "model.start")
    path.write_bytes(b"".join(lines[:last]))
    with RLM(ScriptedBackend([cell("FINAL(said * 2)")]), config=Config(log_dir=str(tmp_path / "logs"))) as again:
        assert (await again.aresume(path, context="data")).value == 2 * result.value


async def test_a_run_is_cancelled_with_its_answer_so_far(begin, folder):
    model, task = begin(cell("print('so far')"), "never")
    await model.asked.acquire()
    model.answer()
    await model.asked.acquire()
    await act_on(folder, "last", Act(action="cancel", who="ann"))
    result = await task
    assert (result.status, result.response) == ("cancelled", "so far")


async def test_what_was_set_and_said_holds_for_the_run_that_resumes_it(begin, folder, tmp_path):
    model, task = begin(cell("x = 1"), "never", budget=Budget(max_turns=1))
    await model.asked.acquire()
    await act_on(folder, "last", Act(action="set", cap="max_turns", value=3))
    model.answer()
    await model.asked.acquire()
    await act_on(folder, "last", Act(action="say", text="hint"))
    await act_on(folder, "last", Act(action="cancel"))
    path = (await task).trajectory
    with RLM(
        ScriptedBackend([cell("x += 1"), cell("FINAL(x)")]), config=Config(log_dir=str(tmp_path / "logs"))
    ) as again:
        result = await again.aresume(path)
        assert (result.status, result.value) == ("completed", 2)
    messages = [event.body.content for event in events_of(result) if event.type == "message"]
    assert messages.count("hint") == 1


async def test_the_command_line_shows_and_steers_a_run(begin, capfd):
    model, task = begin(cell("x = 1"), cell("FINAL(x)"), budget=Budget(max_turns=1))
    await model.asked.acquire()
    rlm = functools.partial(asyncio.to_thread, call)
    assert await rlm(["ctl"]) == 0
    assert await rlm(["ctl", "set", "last", "max-turns=2", "--why", "it is near"]) == 0
    assert await rlm(["ctl", "say", "last", "hurry"]) == 0
    assert await rlm(["ctl", "status", "--json"]) == 0
    out = capfd.readouterr().out
    assert "turn by scripted" in out
    assert '"max_turns": 2' in out
    following = asyncio.ensure_future(rlm(["ctl", "attach"]))
    async with asyncio.timeout(60):
        while "turn 1" not in capfd.readouterr().out:
            await asyncio.sleep(0.01)
    model.answer()
    model.answer()
    result = await task
    assert await following == 0
    assert "turn 2" in capfd.readouterr().out
    assert [(act.action, act.why) for act in acts(result)] == [("set", "it is near"), ("say", "")]


async def test_the_socket_is_this_user_s_alone_and_what_a_killed_process_left_is_swept(begin, folder):
    folder.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        here = os.open(folder, os.O_RDONLY)
        dead.bind(f"/proc/self/fd/{here}/1-dead.sock")
        os.close(here)
    model, _ = begin(cell("FINAL(1)"))
    await model.asked.acquire()
    assert len(await live_runs(folder)) == 1
    (opened,) = folder.iterdir()
    assert stat.S_IMODE(opened.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_script_that_never_closes_its_rlm_ends_without_a_word(tmp_path):
    script = """
import asyncio
from rlm import RLM, Config
from rlm.backends.scripted import ScriptedBackend

rlm = RLM(ScriptedBackend(["one", "two"]), config=Config(environment="local"))
print(rlm.completion("?").response, asyncio.run(rlm.acompletion("?")).response)
"""
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", script]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("one two\n", "", 0)


async def test_what_has_passed_of_the_time_is_put_down_but_for_a_short_run(monkeypatch, tmp_path):
    async def slow(_request):
        await asyncio.sleep(0.95)
        return cell("FINAL(1)")

    config = Config(environment="local", log_dir=str(tmp_path), budget=Budget(timeout_s=1.1))
    async with RLM(ScriptedBackend(slow), config=config) as rlm:
        assert "time.passed" not in {event.type for event in events_of(await rlm.acompletion("q"))}
        monkeypatch.setattr("rlm.runtime.runs._LEAST_WATCHED_S", 0.5)
        events = events_of(await rlm.acompletion("q"))
    first, second = (event for event in events if event.type == "time.passed")
    assert first.body.elapsed_s >= 0.5
    assert second.body.elapsed_s >= 0.9
    assert notice_text(first) == "the run has run for 1 s; it is ended in 1 s"
    said = time_note("the run", 1_800.0, 3_600.0, 1.5)
    assert said == "the run has run for 30 min, $1.50 so far; it is ended in 30 min"
