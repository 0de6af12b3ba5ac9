"""Another question after an answer: the same data, the variables and the conversation go on, under caps of its own."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rlm import RLM, Budget, Config, tool
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.events import decode
from rlm.core.exceptions import ConfigError
from tests.integration.cli import User, fenced

if TYPE_CHECKING:
    from rlm.core.types import ModelReply, ModelRequest

SECRET = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"


def cell(code: str) -> ModelReply:
    return tool_call("execute_code", code=code)


@pytest.fixture(autouse=True)
def state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records go where the last run keeps what going on needs."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def made(script: Any, **settings: Any) -> RLM:
    return RLM(ScriptedBackend(script), config=Config(environment="local", **settings))


def cut_at(path: Path, wanted: Any) -> None:
    """Leave of a record what was there before the first event that `wanted` takes."""
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(index for index, line in enumerate(lines) if wanted(decode(line)))
    path.write_bytes(b"".join(lines[:at]))


@pytest.mark.parametrize("dialect", ["tools", "code"])
def test_questions_go_on_from_each_other_with_variables_conversation_and_data(tmp_path: Path, dialect: str) -> None:
    asked: list[ModelRequest] = []
    codes = ["n = len(context)", f"FINAL(n)  # {SECRET}", "FINAL(n + 1)", "FINAL([n + 2, context])"]

    def reply(request: ModelRequest) -> Any:
        asked.append(request)
        code = codes[len(asked) - 1]
        return cell(code) if dialect == "tools" else fenced(code)

    with made(reply, dialect=dialect, budget=Budget(max_turns=2, token_budget=20_000)) as rlm:
        first = rlm.completion("how long?", f"data {SECRET}")
        second = rlm.fork("last", addition="and one more?")
        third = rlm.fork("last", addition="and two more?")
    assert (first.value, second.value) == (45, 46)
    assert third.status == "completed", third.error
    assert third.value[0] == 47
    assert (second.usage.turns, third.usage.model_calls) == (1, 1), "each question has caps of its own"
    said = [message.content for message in asked[-1].messages]
    assert [text for text in said if text.startswith("and ")] == ["and one more?", "and two more?"]
    assert len([text for text in said if "taken as the answer" in text]) == 2
    assert [path.stem for path in tmp_path.rglob("*.context")] == [third.run_id], "nothing is kept of the runs before"


def test_a_question_after_a_limit_has_caps_of_its_own() -> None:
    script = [cell("n = 1"), "so far", cell("FINAL(n)"), cell("n += 1"), "so far", cell("FINAL(n)")]
    with made(script, budget=Budget(max_turns=1)) as rlm:
        assert rlm.completion("q").limit == "max_turns"
        second = rlm.fork("last", addition="just n")
        assert (second.status, second.value) == ("completed", 1), second.error
        assert rlm.fork("last", addition="one more").limit == "max_turns"
        last = rlm.fork("last", addition="now?")
    assert (last.status, last.value, last.usage.turns) == ("completed", 2, 1), last.error


def test_a_follow_up_that_is_cut_off_anywhere_is_resumed_with_its_question() -> None:
    with made([cell("n = 1\nFINAL(n)"), cell("n += 1"), cell("FINAL(n)")]) as rlm:
        rlm.completion("q", "data")
        second = rlm.fork("last", addition="and then?")
    assert second.value == 2
    whole = second.trajectory.read_bytes()  # type: ignore[union-attr]
    places = [
        lambda event: event.type == "completion.start",
        lambda event: event.type == "message" and event.body.content == "and then?",
        lambda event: event.type == "turn.start" and event.body.turn == 2,
        lambda event: event.type == "turn.start" and event.body.turn == 3,
    ]
    for place in places:
        assert second.trajectory is not None
        second.trajectory.write_bytes(whole)
        cut_at(second.trajectory, place)
        asked: list[ModelRequest] = []
        left = iter([cell("n += 1"), cell("FINAL(n)")] if place is not places[-1] else [cell("FINAL(n)")])

        def reply(request: ModelRequest, asked: Any = asked, left: Any = left) -> Any:
            asked.append(request)
            return next(left)

        with made(reply) as rlm:
            resumed = rlm.resume(second.run_id, context="data")
        assert (resumed.status, resumed.value) == ("completed", 2), resumed.error
        assert [message.content for message in asked[-1].messages].count("and then?") == 1


def test_a_fork_with_nothing_to_say_gives_another_answer_to_the_same_question() -> None:
    with made([cell("n = 1"), cell("FINAL(n)"), cell("FINAL(n * 10)")]) as rlm:
        first = rlm.completion("q")
        assert rlm.fork("last").value == 10
        with pytest.raises(ConfigError, match="with -p TEXT, another question, it may begin after the answer"):
            rlm.fork(first.run_id, 2)


def test_a_follow_up_passes_over_runs_that_no_model_drove() -> None:
    with made([cell("FINAL(1)"), cell("FINAL(2)")]) as rlm:
        rlm.completion("q")
        with rlm.open_repl() as repl:
            repl.run("1")
        assert rlm.fork("last", addition="and?").value == 2


def test_the_demo_answers_one_question_after_another(user: User) -> None:
    lines = "ERROR one\nfine\nERROR two\n"
    first = user.rlm("run", "How many lines contain ERROR?", "-m", "demo", stdin=lines)
    assert first.stdout.startswith("2 of 3 lines contain 'ERROR'"), first.stderr
    second = user.rlm("run", "-c", "How many lines contain two?")
    assert second.stdout.startswith("1 of 3 lines contain 'two'"), second.stdout + second.stderr
    third = user.rlm("run", "-c", "How many lines contain 'fine'?")
    assert third.stdout.startswith("1 of 3 lines contain 'fine'"), third.stdout + third.stderr


def test_rlm_run_continue_goes_on_over_piped_data_and_over_files_as_they_were_read(user: User) -> None:
    model = user.script(fenced("n = len(context)\nFINAL(n)"))
    user.rlm("run", "how long?", "-m", model, stdin="four")
    user.script(fenced("FINAL([n, context])"))
    done = user.rlm("run", "-c", "and what?")
    assert (done.returncode, done.stdout) == (0, '[4, "four"]\n'), done.stderr
    (user.cwd / "old.txt").write_bytes("größer".encode("cp1252"))
    model = user.script(fenced("FINAL(context)"))
    user.rlm("run", "what?", "-m", model, "-f", "old.txt", "--encoding", "cp1252")
    done = user.rlm("run", "--continue", "again?")
    assert (done.returncode, done.stdout) == (0, "größer\n"), done.stderr
    assert "again?" in user.rlm("logs", "list").stdout
    (user.cwd / "old.txt").write_bytes(b"other")
    changed = user.rlm("run", "-c", "again?")
    assert (changed.returncode, changed.stdout) == (2, "")
    assert "old.txt" in changed.stderr


async def test_a_cell_that_was_cancelled_is_not_waited_for_by_the_next_question() -> None:
    asked: list[ModelRequest] = []
    began = asyncio.Event()
    replies = iter([cell("n = 1"), cell("import time\nbegin()\ntime.sleep(1e3)"), cell("FINAL(n)")])

    def script(request: ModelRequest) -> ModelReply:
        asked.append(request)
        return next(replies)

    @tool(reads_only=True)
    async def begin() -> None:
        """Say that the cell runs."""
        here.call_soon_threadsafe(began.set)

    here = asyncio.get_running_loop()
    with RLM(ScriptedBackend(script), config=Config(environment="local"), tools=[begin]) as rlm:
        running = asyncio.create_task(rlm.acompletion("q"))
        await began.wait()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    async with made(script) as rlm:
        second = await rlm.afork("last", addition="and now?")
    assert (second.status, second.value) == ("completed", 1), second.error
    assert not any("sleep" in str(message) for message in asked[-1].messages), "what was cut off is left behind"
