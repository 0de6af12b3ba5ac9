"""`RLM.resume` and `RLM.fork` in the real sandbox: nothing is paid twice, and what can't be followed is said."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rlm import RLM, Budget, Config, tool
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.events import decode
from rlm.core.exceptions import ConfigError, Diverged, UnfinishedCall
from rlm.trajectory.index.folder import Index
from tests.support.environments import in_each, settings_of
from tests.support.git_trees import run_git

KILLED = textwrap.dedent(
    """
    import sys, threading
    from rlm import RLM, Config
    from rlm.backends.scripted import ScriptedBackend, tool_call
    from tests.support.environments import settings_of

    def hang(request):
        print("second call", flush=True)
        threading.Event().wait()

    script = iter([tool_call("execute_code", code="kept = len(context)\\nprint(kept)"), hang])
    config = Config(log_dir=sys.argv[1], **settings_of(sys.argv[2]))
    RLM(ScriptedBackend(lambda request: next(script)), config=config).completion("x", "data")
    """
)


def cell(code):
    return tool_call("execute_code", code=code)


def rlm(folder, script, **settings):
    tools = settings.pop("tools", ())
    return RLM(ScriptedBackend(script), tools=tools, config=Config(log_dir=str(folder), **settings))


def events_of(path):
    return [decode(line) for line in path.read_bytes().splitlines()]


def cut_before(path, wanted):
    """Leave of a record what is there when the first event that `wanted` takes is about to be written."""
    lines = path.read_bytes().splitlines(keepends=True)
    at = next(index for index, line in enumerate(lines) if wanted(decode(line)))
    path.write_bytes(b"".join(lines[:at]))


def completed(folder, *script, prompt="q", context="some data", **settings):
    with rlm(folder, script, **settings) as made:
        return made.completion(prompt, context)


@in_each
def test_after_kill_9_a_run_goes_on_with_its_variables(tmp_path, environment):
    command = [sys.executable, "-c", KILLED, str(tmp_path), environment]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "second call\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    with rlm(tmp_path, [cell("FINAL(kept * 10)")]) as again:
        result = again.resume("last")
    assert (result.status, result.value, result.usage.turns) == ("completed", 40, 2)
    assert result.usage.model_calls == 3, "the call that was under way may have been billed"
    start = events_of(result.trajectory)[0].body
    assert start.resumed_from != result.run_id
    assert sorted(path.suffix for path in tmp_path.glob("*.context")) == []


def test_a_run_that_reached_a_limit_goes_on_with_a_higher_one(tmp_path):
    budget = Budget(max_turns=1)
    first = completed(tmp_path, cell("a = 1"), "the best so far", budget=budget)
    assert (first.status, first.limit) == ("limit", "max_turns")
    with rlm(tmp_path, [cell("FINAL(a + 1)")]) as again:
        with pytest.raises(ConfigError, match="reached its max_turns of 1"):
            again.resume("last")
        result = again.resume("last", overrides={"max_turns": "3"})
    assert (result.value, result.usage.model_calls, result.usage.turns) == (2, 3, 2)


def test_a_failed_run_asks_the_model_again(tmp_path):
    first = completed(tmp_path, cell("a = 1"))
    assert first.status == "failed"
    with rlm(tmp_path, [cell("FINAL(a)")]) as again:
        assert again.resume(first.run_id[:8]).value == 1


def test_there_is_nothing_to_resume_of_a_complete_run(tmp_path):
    completed(tmp_path, cell("FINAL('done')"))
    with rlm(tmp_path, []) as again, pytest.raises(ConfigError, match="nothing to resume; its answer: done"):
        again.resume("last")


def test_a_run_is_resumed_from_any_folder_over_the_files_that_it_had(tmp_path, monkeypatch):
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for folder, text in ((here, "some data"), (elsewhere, "other data")):
        folder.mkdir()
        (folder / "in.txt").write_text(text)
    monkeypatch.chdir(here)
    settings = {"budget": Budget(max_turns=1), "environment": "local"}
    first = completed(tmp_path / "logs", cell("a = 1"), "the best so far", context=Path("in.txt"), **settings)
    monkeypatch.chdir(elsewhere)
    with rlm(tmp_path / "logs", [cell("FINAL(context)")], **settings) as again:
        result = again.resume(first.run_id, overrides={"max_turns": 2})
    assert (result.status, result.response) == ("completed", "some data")


def test_a_run_over_the_folder_of_its_records_never_sees_them_and_can_be_resumed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_git(tmp_path, "init", "--quiet", ".")
    (tmp_path / "logs").mkdir()
    (tmp_path / "data.txt").write_text("sk-proj-T3stKq8ZpL0vXw7YbN2mR9dF4gH6jKq8ZpL0vXw7Yb")
    settings = {"budget": Budget(max_turns=1), "environment": "local"}
    for _ in range(2):
        run = completed("logs", cell("print(list(context.values()))"), "unsure", context=Path(), **settings)
        assert run.limit == "max_turns"
        assert (tmp_path / "logs" / f"{run.run_id}.exact").stat().st_size > 64
    with rlm("logs", [cell("FINAL(sorted(context))")], **settings) as again:
        result = again.resume(run.run_id, overrides={"max_turns": 2})
    assert (result.status, result.value) == ("completed", ["data.txt"])
    assert run_git(tmp_path, "ls-files", "--others", "--exclude-standard").split() == ["data.txt"]


def test_another_context_is_refused(tmp_path):
    completed(tmp_path, cell("a = 1"))
    with rlm(tmp_path, []) as again, pytest.raises(ConfigError, match="not the one that run"):
        again.resume("last", context="other data")


def test_a_cell_that_does_something_else_stops_the_run_and_names_the_place(tmp_path):
    completed(tmp_path, cell("b = 1"), cell("import time\nprint(time.time_ns())"))
    with rlm(tmp_path, ["never asked"]) as again:
        result = again.resume("last")
    assert isinstance(result.error, Diverged)
    assert "turn 2, cell 2" in str(result.error)


@in_each
def test_cut_off_anywhere_chance_and_the_order_of_sets_come_again(tmp_path, environment):
    code = "import random\nprint(random.random(), {str(n) for n in range(50)})"
    first = completed(tmp_path, cell(code), cell("kept = 5"), cell("FINAL(1)"), **settings_of(environment))
    cut_before(first.trajectory, lambda event: event.type == "turn.start" and event.body.turn == 3)
    with rlm(tmp_path, [cell("FINAL(kept)")]) as again:
        result = again.resume("last", context="some data")
    assert (result.value, result.error) == (5, None)


def test_a_sub_call_that_the_record_has_not_is_never_made_on_the_way(tmp_path):
    code = "import time\nprint(llm_query(str(time.time_ns()))[:0])"
    completed(tmp_path, cell(code), "an answer")
    backend = ScriptedBackend([cell("FINAL(1)")])
    with RLM(backend, config=Config(log_dir=str(tmp_path))) as again:
        result = again.resume("last")
    assert isinstance(result.error, Diverged)
    assert "sub-call" in str(result.error)
    assert backend.requests == []


def test_where_it_diverges_a_run_may_go_on_live(tmp_path):
    code = "import time\nprint(time.time_ns())"
    completed(tmp_path, cell(code))
    with rlm(tmp_path, [cell("FINAL('live')")]) as again:
        result = again.resume("last", on_divergence="continue")
    left = [event.body for event in events_of(result.trajectory) if event.type == "record.left"]
    assert (result.value, [bool(body.diverged) for body in left]) == ("live", [True])


def test_a_tool_that_may_change_things_is_not_called_again_unasked(tmp_path):
    calls = []

    @tool
    def send(text: str) -> str:
        """Send a text."""
        calls.append(text)
        return "sent"

    given = {"tools": (send,), "guest_tools": ("send",)}
    first = completed(tmp_path, cell("print(send('one'))"), cell("print(send('two'))"), cell("FINAL(1)"), **given)
    cut_before(first.trajectory, lambda event: event.type == "tool.end" and calls.count("two") and event.seq > 15)
    with rlm(tmp_path, [cell("FINAL(1)")], **given) as again:
        stopped = again.resume("last", context="some data")
        assert isinstance(stopped.error, UnfinishedCall)
        assert calls == ["one", "two"]
        assert again.resume(first.run_id, redo_unfinished=True, context="some data").success
    assert calls == ["one", "two", "two"]


def test_a_resumed_run_that_is_cut_off_too_follows_both_records(tmp_path):
    first = completed(tmp_path, *(cell(f"a{n} = {n}") for n in range(4)))
    with rlm(tmp_path, [cell("b = 1")]) as again:
        second = again.resume(first.run_id)
    assert second.status == "failed"
    cut_before(second.trajectory, lambda event: event.type == "turn.start" and event.body.turn == 3)
    with rlm(tmp_path, [cell("FINAL(a0 + a1 + a2 + a3)")]) as last:
        third = last.resume(second.run_id)
    assert (third.value, third.usage.model_calls) == (6, 5)


def test_runs_that_resume_each_other_in_a_circle_are_no_record(tmp_path):
    first = completed(tmp_path, cell("a = 1"))
    lines = first.trajectory.read_text().splitlines()
    start = json.loads(lines[0])
    start["body"]["resumed_from"] = first.run_id
    first.trajectory.write_text("\n".join([json.dumps(start), *lines[1:]]) + "\n")
    with rlm(tmp_path, []) as again, pytest.raises(ConfigError, match="circle"):
        again.resume(first.run_id)


def test_a_record_chooses_no_address_and_no_folder(tmp_path):
    first = completed(tmp_path, cell("a = 1"))
    lines = first.trajectory.read_text().splitlines()
    start = json.loads(lines[0])
    start["body"]["config"] |= {"allowed_paths": ["/"], "openai": {"base_url": "http://evil/"}}
    first.trajectory.write_text("\n".join([json.dumps(start), *lines[1:]]) + "\n")
    with rlm(tmp_path, [cell("FINAL(a)")]) as again:
        result = again.resume(first.run_id)
    config = events_of(result.trajectory)[0].body.config
    assert (config["allowed_paths"], config["openai"]["base_url"]) == ([], None)


def test_a_fork_takes_some_turns_and_a_hint(tmp_path):
    first = completed(tmp_path, cell("a = 1"), cell("a = 2"), cell("FINAL(a)"))
    backend = ScriptedBackend([cell("FINAL([a, 'forked'])")])
    with RLM(backend, config=Config(log_dir=str(tmp_path))) as again:
        result = again.fork(first.run_id, 1, "look again", context="some data")
        with pytest.raises(ConfigError, match="after turn 0 to 2, not 7"):
            again.fork(first.run_id, 7, context="some data")
    assert (result.value, result.usage.turns) == ([1, "forked"], 2)
    assert backend.requests[0].messages[-1].content == "look again"
    start = events_of(result.trajectory)[0].body
    assert (start.forked_from, start.forked_at) == (first.run_id, 1)


def test_state_that_was_lost_is_not_made_again(tmp_path):
    loses = textwrap.dedent(
        """
        import time
        while True:
            try:
                time.sleep(9)
            except BaseException:
                pass
        """
    )
    first = completed(tmp_path, cell("a = 1"), cell(loses), cell("b = 2"), cell_timeout_s=1.0)
    resets = [event.body for event in events_of(first.trajectory) if event.type == "exec.end"]
    assert [body.state_reset for body in resets] == [False, True, False]
    with rlm(tmp_path, [cell("FINAL(['a' in globals(), b])")], cell_timeout_s=1.0) as again:
        result = again.resume("last")
    assert result.status == "completed", result.error


SECRET = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"


def test_what_masking_hides_is_exact_for_a_resumed_run_and_gone_at_its_end(tmp_path):
    first = completed(tmp_path, cell(f"key = '{SECRET}'"), cell("print(key[:4], len(key))"))
    kept = first.trajectory.with_suffix(".exact")
    assert SECRET not in first.trajectory.read_text()
    assert (SECRET in kept.read_text(), kept.stat().st_mode & 0o777) == (True, 0o600)
    with rlm(tmp_path, [cell("FINAL(len(key))")]) as again:
        result = again.resume("last")
    assert result.value == len(SECRET)
    assert [path for path in tmp_path.glob("*.exact") if SECRET in path.read_text()] == []


def test_in_the_state_folder_it_stays_for_the_last_run_alone_so_that_the_user_can_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    script = [cell(f"key = '{SECRET}'\nFINAL(len(key))"), cell("FINAL(1)")]
    with RLM(ScriptedBackend(script), config=Config(environment="local")) as made:
        first = made.completion("x")
        exact = first.trajectory.with_suffix(".exact")
        assert (SECRET in exact.read_text(), exact.stat().st_mode & 0o777) == (True, 0o600)
        made.completion("x")
    assert [path for path in tmp_path.rglob("*.exact") if SECRET in path.read_text()] == []


def test_without_the_exact_texts_a_masked_run_is_not_resumed_but_replayed(tmp_path):
    first = completed(tmp_path, cell(f"key = '{SECRET}'\nprint(key)"))
    first.trajectory.with_suffix(".exact").unlink()
    with rlm(tmp_path, []) as again:
        with pytest.raises(ConfigError, match="masked texts, and the exact ones"):
            again.resume("last")
        report = again.replay("last")
    assert (report.cells, report.masked) == (1, True)


def test_the_index_tells_whose_run_it_goes_on_with_and_what_that_one_paid(tmp_path):
    script = (cell("x = 1"), cell("x += 1"), cell("FINAL(x)"))
    first = completed(tmp_path, *script[:2], "so far", budget=Budget(max_turns=2))
    with rlm(tmp_path, [script[2]]) as made:
        resumed = made.resume(first.run_id, overrides={"max_turns": 5})
    with rlm(tmp_path, script[1:]) as made:
        forked = made.fork(first.run_id, 1, context="some data", overrides={"max_turns": 5})
    with Index.open(tmp_path) as index:
        index.refresh()
        paid, row, other = (index.run(each.run_id) for each in (first, resumed, forked))
        burn = index.burndown(resumed.run_id)
    assert row.origin() == f"resumes {first.run_id[:8]}"
    assert (row.served_calls, row.served_tokens) == (3, paid.tokens)
    assert (burn.at[0], burn.tokens[0], burn.tokens[-1]) == (0.0, paid.tokens, paid.tokens + row.tokens)
    assert other.origin() == f"forks {first.run_id[:8]} after turn 1"
    assert (other.served_calls, paid.origin(), paid.served_calls) == (1, "", 0)


LARGE = "rows = table()\nprint(len(rows['a.b']), rows['a.b'] == rows['a']['b'] + 'x', len(rows['n']))"


def large_run(folder, numbers):
    """A run of one cell that asks a tool for what no line of a record holds, and then failed."""

    @tool
    def table() -> dict:
        """Rows, and texts under keys that look like paths."""
        return {"a.b": "y" * 70_000 + "x", "a": {"b": "y" * 70_000}, "n": list(range(numbers))}

    given = {"tools": (table,), "guest_tools": ("table",)}
    return given, completed(folder, cell(LARGE), **given)


@pytest.mark.parametrize("numbers", [3, 50_000], ids=["texts", "values"])
def test_what_is_too_large_for_a_line_is_served_whole(tmp_path, numbers):
    given, first = large_run(tmp_path, numbers)
    assert max(map(len, first.trajectory.read_bytes().splitlines())) < 70_000
    with rlm(tmp_path, [cell("FINAL(rows['n'][-1])")], **given) as again:
        result = again.resume(first.run_id, context="some data")
    assert (result.value, result.usage.tool_calls) == (numbers - 1, 1)
    assert [event.served for event in events_of(result.trajectory) if event.type == "tool.end"] == [True]


def test_a_part_is_never_served_for_the_whole(tmp_path):
    given, first = large_run(tmp_path, 50_000)
    for blob in first.trajectory.with_suffix(".blobs").iterdir():
        blob.unlink()
    with rlm(tmp_path, [], **given) as again, pytest.raises(ConfigError, match="is incomplete"):
        again.resume(first.run_id, context="some data")
