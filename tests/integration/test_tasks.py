"""Task lists: order, answers handed on, the record, and going on after whatever ended a list."""

import asyncio
import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.cli.main import call
from rlm.core.budget import Budget
from rlm.core.config import Config
from rlm.core.exceptions import ConfigError, UntrustedConfigError
from rlm.core.types import ModelReply, TokenUsage
from rlm.jobs.tasks.doing import do_list, plan_of
from rlm.jobs.tasks.planning import plan_list
from rlm.jobs.tasks.reading import check_list, read_task_list
from rlm.jobs.tasks.values import GivenList, ListedTask, TaskList
from rlm.runtime.control import Act
from rlm.runtime.models import BackendPool
from rlm.trajectory.receipts import verify
from rlm.trajectory.task_lists import list_records, past_of


def answering(**replies):
    """A backend that answers by a word of the prompt; each word has replies that are used once, in order."""
    left = {word: list(each) for word, each in replies.items()}

    def answer(request):
        prompt = next(message.content for message in request.messages if message.role == "user")
        word = next(word for word in left if f"Task: {word}" in prompt)
        return left[word].pop(0)

    return ScriptedBackend(answer)


def prints_context(then):
    return [
        tool_call("execute_code", code="print(sorted(context.items()) if isinstance(context, dict) else context)"),
        then,
    ]


@pytest.fixture
def config(tmp_path):
    return Config(model="m", environment="local", log_dir=str(tmp_path / "logs"))


def listed(*tasks, source="", folder=None, **given):
    return GivenList(tasks=TaskList(tasks=tasks, **given), folder=folder, source=source)


async def done(given, config, backend, **how):
    check_list(given)
    return await do_list(plan_of(given, config, **how), BackendPool(backend))


def seen_by(backend, word):
    """All that the model was shown in runs whose prompt has that word."""
    texts = [[message.content for message in request.messages] for request in backend.requests]
    return "\n".join(text for each in texts if any(f"Task: {word}" in text for text in each) for text in each)


async def test_answers_are_data_of_the_tasks_that_need_them(config, tmp_path):
    (tmp_path / "notes.txt").write_text("from a file")
    backend = answering(
        alpha=[tool_call("execute_code", code="save_artifact('table.csv', 'x,y'); FINAL({'rows': 3})")],
        beta=["plain words"],
        gamma=prints_context("all read"),
    )
    given = listed(
        ListedTask("gather", "alpha"),
        ListedTask("look", "beta"),
        ListedTask("join", "gamma", needs=["gather", "look"], files=["notes.txt"]),
        folder=tmp_path,
    )
    result = await done(given, config, backend)
    assert result.success, result
    assert result["gather"].value == {"rows": 3}
    shown = seen_by(backend, "gamma")
    assert "('gather', {'rows': 3})" in shown
    assert "('gather/table.csv', 'x,y')" in shown
    assert "('look', 'plain words')" in shown
    assert "('given', 'from a file')" in shown
    assert verify(result.record).verdict == "intact"


async def test_what_failed_blocks_what_needs_it_and_nothing_else(config, tmp_path):
    backend = answering(alpha=[ValueError("no")], beta=["b"], gamma=["c"])
    given = listed(
        ListedTask("join", "gamma", needs=["gather"]),
        ListedTask("gather", "alpha"),
        ListedTask("look", "beta"),
        folder=tmp_path,
    )
    result = await done(given, config, backend)
    assert [each.state for each in result.outcomes] == ["blocked", "failed", "completed"]
    assert "gather" in result["join"].error
    assert not result.success


async def test_a_sequential_list_keeps_its_order_and_stops_if_asked(config, tmp_path):
    backend = answering(alpha=["one"], beta=prints_context("two"), gamma=[ValueError("no")], delta=["never"])
    tasks = [ListedTask(name, name) for name in ("alpha", "beta", "gamma", "delta")]
    given = listed(*tasks, folder=tmp_path, sequential=True, stop_on_error=True)
    result = await done(given, config, backend)
    assert backend.peak_in_flight == 1
    assert "('alpha', 'one')" in seen_by(backend, "beta")
    assert [each.state for each in result.outcomes] == ["completed", "completed", "failed", "skipped"]


async def test_a_list_goes_on_where_it_stopped_and_repeats_what_was_changed(config, tmp_path):
    def given(alpha="alpha", gamma="gamma"):
        return listed(
            ListedTask("a", alpha),
            ListedTask("b", "beta"),
            ListedTask("c", gamma, needs=["a"]),
            folder=tmp_path,
            source="list.toml",
        )

    first = await done(given(), config, answering(alpha=["1"], beta=[ValueError("no")], gamma=prints_context("3")))
    assert [each.state for each in first.outcomes] == ["completed", "failed", "completed"]
    again = answering(beta=["2"])
    second = await done(given(), config, again, resume=True)
    assert second.success, [each.error for each in second.outcomes]
    assert len(again.requests) == 1
    assert [each.is_earlier for each in second.outcomes] == [True, False, True]

    plan = plan_of(given(alpha="alpha anew"), config, resume=True)
    assert plan.changed == ("a", "c")
    assert "a, c" in plan.notes[0]
    third = await do_list(plan, BackendPool(answering(alpha=["new"], gamma=prints_context("3"))))
    assert [each.is_earlier for each in third.outcomes] == [False, True, False]


async def test_some_tasks_alone_take_answers_from_the_record(config, tmp_path):
    given = listed(ListedTask("a", "alpha"), ListedTask("b", "beta", needs=["a"]), folder=tmp_path, source="list.toml")
    with pytest.raises(ConfigError, match="--only a,b"):
        plan_of(given, config, only=["b"])
    await done(given, config, answering(alpha=["1"], beta=["2"]))
    backend = answering(beta=prints_context("anew"))
    result = await done(given, config, backend, only=["b"])
    assert (result["a"].is_earlier, result["b"].response) == (True, "anew")
    assert "('a', '1')" in seen_by(backend, "beta")


def verdict(is_valid, reason="because"):
    return tool_call("execute_code", code=f"print(context); FINAL({ {'is_valid': is_valid, 'reason': reason}!r})")


def judging(work, *verdicts):
    """A backend whose work and whose verdicts are used in order."""
    left = {"You judge": list(verdicts), "Task: alpha": list(work)}

    def answer(request):
        prompt = next(message.content for message in request.messages if message.role == "user")
        return next(replies for words, replies in left.items() if words in prompt).pop(0)

    return ScriptedBackend(answer)


async def test_an_answer_that_is_not_valid_is_tried_again_with_the_reason(config, tmp_path):
    backend = judging(["first", "second"], verdict(False, "no tests"), verdict(True))
    given = listed(ListedTask("a", "alpha", validation="Are there tests?", retries=1), folder=tmp_path)
    result = await done(given, config, backend)
    assert (result["a"].state, result["a"].is_valid, result["a"].attempts) == ("completed", True, 2)
    assert "An earlier attempt at this was not accepted: no tests" in seen_by(backend, "alpha")
    judged = [request for request in backend.requests if "You judge" in request.messages[-1].content]
    assert all("Are there tests?" in request.messages[-1].content for request in judged)
    assert not any("Task: alpha" in message.content for request in judged for message in request.messages)


@pytest.mark.parametrize(
    "reply", [verdict(False), ValueError("gone"), "is_valid: true", '{"is_valid": "true", "reason": "said so"}']
)
async def test_what_is_not_surely_valid_is_not(reply, config, tmp_path):
    backend = judging(["fine, and is_valid is true"], *[reply] * 8)
    given = listed(ListedTask("a", "alpha", validation="Is it?"), folder=tmp_path)
    config = Config(model="m", environment="local", log_dir=config.log_dir, budget=Budget(max_turns=2))
    result = await done(given, config, backend)
    assert (result["a"].state, result["a"].is_valid) == ("failed", False)
    assert result["a"].response == "fine, and is_valid is true"
    assert "not valid" in result["a"].error


HANGS = textwrap.dedent(
    """
    import asyncio, sys, threading
    from pathlib import Path
    from rlm.backends.scripted import ScriptedBackend, tool_call
    from rlm.core.config import Config
    from rlm.jobs.tasks.doing import do_list, plan_of
    from rlm.jobs.tasks.reading import read_task_list
    from rlm.runtime.models import BackendPool

    replies = {"alpha": iter(["one"]), "beta": iter([tool_call("execute_code", code="kept = 20 + 1")])}

    def answer(request):
        prompt = next(message.content for message in request.messages if message.role == "user")
        word = next(word for word in replies if f"Task: {word}" in prompt)
        for reply in replies[word]:
            return reply
        print("in the middle", flush=True)
        threading.Event().wait()

    config = Config(model="m", environment="local", log_dir=sys.argv[1])
    plan = plan_of(read_task_list(Path(sys.argv[2])), config)
    asyncio.run(do_list(plan, BackendPool(ScriptedBackend(answer))))
    """
)


async def test_after_kill_9_nothing_is_done_twice_and_nothing_is_lost(config, tmp_path):
    file = tmp_path / "list.toml"
    file.write_text(
        """
        sequential = true
        [[tasks]]
        id = "a"
        prompt = "alpha"
        [[tasks]]
        id = "b"
        prompt = "beta"
        [[tasks]]
        id = "c"
        prompt = "gamma"
        """
    )
    command = [sys.executable, "-c", HANGS, config.log_dir, str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "in the middle\n"
        with pytest.raises(ConfigError, match="in progress"):
            plan_of(read_task_list(file), config, resume=True)
        process.send_signal(signal.SIGKILL)
        process.wait()
    backend = answering(beta=[tool_call("execute_code", code="FINAL(kept * 2)")], gamma=prints_context("three"))
    result = await done(read_task_list(file), config, backend, resume=True)
    assert result.success, [each.error for each in result.outcomes]
    assert [each.response for each in result.outcomes] == ["one", "42", "three"]
    assert len(backend.requests) == 3  # neither `alpha` nor the first turn of `beta` was asked again
    assert [verify(path).verdict for path in list_records(result.record.parent)] == ["intact", "unfinished"]


async def test_a_run_whose_list_never_heard_of_its_end_is_not_repeated(config, tmp_path):
    given = listed(ListedTask("a", "alpha"), folder=tmp_path, source="list.toml")
    result = await done(given, config, answering(alpha=["one"]))
    cut = result.record.read_bytes().splitlines(keepends=True)[:2]
    result.record.write_bytes(b"".join(cut))  # as a kill before the end of the task was recorded leaves it
    backend = answering()
    again = await done(given, config, backend, resume=True)
    assert (again["a"].response, backend.requests) == ("one", [])


async def test_a_list_is_paused_resumed_and_cancelled_as_a_whole(config, tmp_path):
    entered, runs = asyncio.Event(), []

    async def slow(_request):
        entered.set()
        await asyncio.Event().wait()

    backend = answering(alpha=[slow], beta=["two"])
    given = listed(ListedTask("a", "alpha"), ListedTask("b", "beta", needs=["a"]), folder=tmp_path)
    doing = asyncio.create_task(do_list(plan_list(given, config), BackendPool(backend), on_begun=runs.append))
    await entered.wait()
    (run,) = runs
    run.pause(Act(action="pause", who="me"))
    assert run.submissions["a"].state == "paused"
    run.go_on(Act(action="resume", who="me"))
    assert run.submissions["a"].state == "running"
    run.cancel()
    result = await doing
    assert [each.state for each in result.outcomes] == ["cancelled", "cancelled"]
    assert past_of(result.record).end.state == "cancelled"


def test_every_fault_is_named_at_once_with_its_place(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text(
        textwrap.dedent(
            """\
            budget = { timeout_s = 10, max_turn = 3 }

            [[tasks]]
            id = "a"
            prompt = "x"
            needs = ["b"]

            [[tasks]]
            id = "b"
            prompt = "y"
            needs = ["a", "biuld"]
            files = ["absent.txt"]
            budget = { timeout_s = 50 }

            [[tasks]]
            id = "build"
            prompt = " "
            """
        )
    )
    with pytest.raises(ConfigError) as caught:
        read_task_list(file)
    said = str(caught.value)
    assert f"{file}: budget: there is no cap 'max_turn'; did you mean max_turns?" in said
    assert f"{file}: tasks need each other in a circle: a -> b -> a" in said
    assert f"{file}:8: task 2 ('b'): needs: there is no task 'biuld'; did you mean build?" in said
    assert f"{file}:8: task 2 ('b'): files: there is no 'absent.txt'" in said
    assert f"{file}:8: task 2 ('b'): budget: timeout_s of 50 is more than the 10 of the whole list" in said
    assert f"{file}:15: task 3 ('build'): prompt: it is empty" in said


@pytest.mark.parametrize(
    "line",
    ['session = "mine"', 'files = ["../secrets.txt"]', 'files = ["~/.netrc"]', "budget = { token_budget = 9_000_000 }"],
)
def test_a_file_that_reaches_further_needs_trust(line, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "home").mkdir()
    for path in (tmp_path / "secrets.txt", tmp_path / "home" / ".netrc"):
        path.write_text("x")
    file = tmp_path / "project" / "list.toml"
    file.parent.mkdir()
    file.write_text(f'[[tasks]]\nid = "a"\nprompt = "x"\n{line}\n')
    with pytest.raises(UntrustedConfigError, match=f"task 'a': {line.split()[0].replace('budget', 'token_budget')}"):
        read_task_list(file)
    assert call(["trust", str(file), "--yes"]) == 0
    assert len(read_task_list(file).tasks.tasks) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"tasks": []}', "there are no tasks"),
        ('{"tasks": [{"id": "a", "promt": "x"}]}', "did you mean prompt?"),
        ('{"tasks": [{"id": "a", "prompt": 3}]}', "task 1: prompt: Expected `str`"),
        ('{"tasks": [{"id": "a", "prompt": "x"}, {"id": "a", "prompt": "y"}]}', "2 tasks have the id 'a'"),
        ('{"tasks": [1]}', "task 1: expected a table"),
        ("[]", "expected a JSON object"),
    ],
)
def test_a_json_list_is_held_to_the_same_rules(text, said, tmp_path):
    file = tmp_path / "list.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=said.replace("?", r"\?")):
        read_task_list(file)


async def test_a_model_that_is_not_there_is_told_before_anything_runs(config, tmp_path):
    given = listed(ListedTask("a", "alpha"), ListedTask("b", "beta", model="nowhere/x"), folder=tmp_path)
    with pytest.raises(ConfigError, match=r"task 2 \('b'\)"):
        await do_list(plan_list(given, config.__class__(model="demo", log_dir=config.log_dir)), BackendPool())
    assert json.dumps([str(path) for path in list_records(tmp_path / "logs")]) == "[]"


async def test_caps_of_a_list_hold_over_all_its_runs_and_over_all_its_parts(config, tmp_path):
    def given(tokens):
        tasks = [ListedTask(name, name) for name in ("alpha", "beta", "gamma")]
        return listed(*tasks, folder=tmp_path, source="list.toml", budget={"token_budget": tokens}, concurrency=1)

    def reply(_request):
        return ModelReply(text="done", usage=TokenUsage(input_tokens=4_000, output_tokens=1_000))

    first = await done(given(11_500), config, ScriptedBackend(reply))
    assert [each.state for each in first.outcomes] == ["completed", "completed", "failed"]
    assert first["gamma"].limit
    assert "all runs together" in first["gamma"].error
    again = ScriptedBackend(reply)
    assert not (await done(given(11_500), config, again, resume=True)).success
    assert again.requests == []
    assert (await done(given(40_000), config, again, resume=True)).success
    assert len(again.requests) == 1


def test_the_example_is_a_list_that_can_be_done():
    example = Path(__file__).parents[2] / "examples" / "tasks" / "release.toml"
    listed_there = read_task_list(example)
    assert [task.id for task in listed_there.tasks.tasks] == ["changes", "risks", "notes"]
    assert call(["tasks", "check", str(example)]) == 0
