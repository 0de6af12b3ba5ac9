"""Whatever ends a run, the record up to then is whole: kill -9, a full disk, a spent budget, a broken sink."""

import json
import signal
import subprocess
import sys
import textwrap

import pytest

from rlm import RLM, Budget, Config, tool
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core import events
from rlm.core.exceptions import RecordLimitReached
from rlm.core.types import ModelReply, TokenUsage

HANGS = textwrap.dedent(
    """
    import sys, threading
    from rlm import RLM, Config
    from rlm.backends.scripted import ScriptedBackend, tool_call

    def hang(request):
        print("second call", flush=True)
        threading.Event().wait()

    script = iter([tool_call("execute_code", code="kept = 1\\nprint('printed before the kill')"), hang])
    RLM(ScriptedBackend(lambda request: next(script)), config=Config(log_dir=sys.argv[1])).completion("x", "data")
    """
)

FULL_DISK = textwrap.dedent(
    """
    import os, resource, sys
    from rlm import RLM, Config
    from rlm.backends.scripted import ScriptedBackend, tool_call

    script = [tool_call("execute_code", code=f"print({number}, 'x' * 20_000)") for number in range(20)] + ["end"]
    with RLM(ScriptedBackend(script), config=Config(log_dir=sys.argv[1])) as rlm:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        result = rlm.completion("x")
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        again = rlm.resume(result.run_id)
    print(again.status, again.response)
    print(result.status, type(result.error).__name__, result.usage.model_calls, sep="|")
    print(result.error)
    """
)


def read(path):
    return [events.decode(line) for line in path.read_bytes().splitlines()]


def started(script, log_dir):
    return subprocess.Popen([sys.executable, "-c", script, str(log_dir)], stdout=subprocess.PIPE, text=True)


def test_after_kill_9_the_record_holds_everything_up_to_then(tmp_path):
    with started(HANGS, tmp_path) as process:
        assert process.stdout.readline() == "second call\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    (path,) = tmp_path.glob("*.jsonl")
    record = read(path)
    assert [event.seq for event in record] == list(range(len(record)))
    assert record[-1].type == "model.start"
    (cell,) = (event.body for event in record if event.type == "exec.end")
    assert cell.changed == ["kept"]
    assert "printed before the kill\n" in [event.body.text for event in record if event.type == "exec.output"]


def test_a_full_disk_lands_the_run_which_can_be_resumed_when_there_is_room(tmp_path):
    with started(FULL_DISK, tmp_path) as process:
        again, verdict, advice = process.stdout.read().splitlines()
    status, error, calls = verdict.split("|")
    assert (status, error) == ("failed", "RecordError")
    assert int(calls) < 10
    assert "free some space" in advice
    assert again == "completed end"
    (path,) = (path for path in tmp_path.glob("*.jsonl") if path.stat().st_size == 100_000)
    whole = path.read_bytes().splitlines()[:-1]
    assert [events.decode(line).seq for line in whole] == list(range(len(whole)))


def test_the_command_fails_where_the_record_cannot_be_written(tmp_path):
    command = [sys.executable, "-m", "rlm", "run", "How many lines contain b?", "-f", "in.txt", "--model", "demo"]
    (tmp_path / "in.txt").write_text("a\nb\nb\n" * 100)
    limit = f"ulimit -f 8; exec {' '.join(repr(part) for part in command)}"
    run = subprocess.run(["bash", "-c", limit], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 1, run.stderr
    assert "trajectory cannot be written" in run.stderr


def test_a_finished_answer_is_kept_when_it_cost_more_than_was_left(tmp_path):
    reply = ModelReply(
        text="",
        tool_calls=(tool_call("execute_code", code="FINAL('dear')"),),
        usage=TokenUsage(input_tokens=90_000, output_tokens=20_000),
    )
    config = Config(log_dir=str(tmp_path), budget=Budget(token_budget=100_000))
    with RLM(ScriptedBackend([reply]), config=config) as rlm:
        result = rlm.completion("x")
    assert (result.status, result.response) == ("completed", "dear")
    assert result.usage.input_tokens + result.usage.output_tokens == 110_000


def test_only_the_owner_can_read_a_record(tmp_path):
    with RLM(ScriptedBackend(["x"]), config=Config(log_dir=str(tmp_path))) as rlm:
        result = rlm.completion("secret question")
    assert result.trajectory.stat().st_mode & 0o777 == 0o600
    assert json.loads(result.trajectory.read_text().splitlines()[0])["type"] == "run.start"


SECRET = "sk-proj-T3stKq8ZpL0vXw7YbN2mR9dF4gH6jKq8ZpL0vXw7Yb"
ASKS = """
for number in range(8):
    try:
        {call}
    except Exception as error:
        print(type(error).__name__)
FINAL("done")
"""


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def limited(folder, script, **caps):
    config = Config(log_dir=str(folder), environment="local", budget=Budget(**caps))
    return RLM(ScriptedBackend(script), config=config)


@pytest.mark.parametrize("call", ["rlm_query", "llm_query"])
def test_a_call_that_is_refused_leaves_an_excerpt(tmp_path, call):
    prompt = f"({SECRET!r} + ' ') * 6_000 + str(number)"
    code = ASKS.format(call=f"{call}({prompt})")
    with limited(tmp_path, [tool_call("execute_code", code=code)], token_budget=50_000) as rlm:
        result = rlm.completion("x")
    assert (result.status, result.response) == ("completed", "done")
    refused = [event.body for event in read(result.trajectory) if event.type == "limit"]
    assert {(limit.name, limit.state) for limit in refused} == {("token_budget", "refused")}
    assert len(refused) == 8
    assert all("REDACTED" in limit.asked and len(limit.asked) <= 200 for limit in refused)
    assert size_of(tmp_path) < 60_000


def test_a_record_that_has_its_size_lands_the_run_which_goes_on_with_a_larger_one(tmp_path):
    def reply(request):
        turns = sum(message.role == "assistant" for message in request.messages)
        if not request.tools or turns == 8:
            return "end" if request.tools else "the best so far"
        return tool_call("execute_code", code=f"print('{turns}' * 8_000)")

    with limited(tmp_path, reply, record_bytes=60_000) as rlm:
        result = rlm.completion("x")
        assert (result.status, result.limit, result.response) == ("limit", "record_bytes", "the best so far")
        assert size_of(tmp_path) < 90_000
        again = rlm.resume(result.run_id, overrides={"record_bytes": 10_000_000})
    assert (again.status, again.response) == ("completed", "end")


@tool
def echo(text: str) -> int:
    """Count characters."""
    return len(text)


@pytest.mark.parametrize(("call", "starts"), [("rlm_query({})", "completion.start"), ("echo(text={})", "tool.start")])
def test_a_full_record_begins_no_child_and_no_tool(tmp_path, call, starts):
    code = ASKS.format(call=call.format("str(number) + 'y' * 9_000"))

    def reply(request):
        of_a_child = any("yyy" in message.content for message in request.messages)
        return tool_call("execute_code", code="FINAL(1)" if of_a_child else code)

    config = Config(
        log_dir=str(tmp_path), environment="local", budget=Budget(record_bytes=50_000), guest_tools=("echo",)
    )
    with RLM(ScriptedBackend(reply), tools=[echo], config=config) as rlm:
        result = rlm.completion("x")
    assert (result.status, result.response) == ("completed", "done")
    taken = [event for event in read(result.trajectory) if event.type == starts]
    refused = [event for event in read(result.trajectory) if event.type == "limit"]
    assert 1 < len(taken) < 8, [event.body for event in refused]
    assert size_of(tmp_path) < 80_000


def test_a_full_record_keeps_a_repl_that_is_driven_from_running_cells(tmp_path):
    with limited(tmp_path, [], record_bytes=20_000) as rlm, rlm.open_repl() as repl:
        repl.run("ran = 0")
        for _ in range(2):
            repl.run("print('y' * 8_000)")
        with pytest.raises(RecordLimitReached, match="record_bytes of 20,000 is used up"):
            repl.run("ran += 1")


def test_when_the_record_has_its_size_cells_get_no_more_answers(tmp_path):
    code = ASKS.format(call="llm_query(str(number) + 'y' * 8_000)")

    def reply(request):
        return tool_call("execute_code", code=code) if request.tools else "x"

    with limited(tmp_path, reply, record_bytes=50_000) as rlm:
        result = rlm.completion("x")
    assert (result.status, result.response) == ("completed", "done")
    assert result.usage.model_calls <= 6
    refused = [event.body for event in read(result.trajectory) if event.type == "limit"]
    assert {limit.name for limit in refused} == {"record_bytes"}
    assert len(refused) == 9 - result.usage.model_calls > 0
    assert size_of(tmp_path) < 80_000
