"""Runs taken up by a model of another dialect: what the record has is read in the record's, the rest is the model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlm import RLM, Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.events import decode
from rlm.core.outcome import RLMResult
from rlm.core.types import ModelReply, ModelTraits
from tests.integration.cli import fenced


def native(code: str) -> ModelReply:
    return tool_call("execute_code", code=code)


WRITES = {"tools": native, "code": fenced}
OTHER = {"tools": "code", "code": "tools"}


def backend(dialect: str, *script: Any) -> ScriptedBackend:
    return ScriptedBackend(list(script), traits=ModelTraits(native_tools=dialect == "tools"))


def rlm(folder: Path, model: ScriptedBackend) -> RLM:
    return RLM(model, config=Config(log_dir=str(folder), environment="local"))


def recorded(folder: Path, dialect: str) -> RLMResult:
    write = WRITES[dialect]
    with rlm(folder, backend(dialect, write("a = 1\nprint('one')"), write("a += 1"), write("FINAL(a)"))) as made:
        return made.completion("q", "some data")


@pytest.mark.parametrize("dialect", ["tools", "code"])
def test_a_fork_goes_on_in_the_dialect_of_its_model(tmp_path: Path, dialect: str) -> None:
    first, other = recorded(tmp_path, dialect), OTHER[dialect]
    model = backend(other, WRITES[other]("FINAL([a, 'forked'])"))
    with rlm(tmp_path, model) as again:
        result = again.fork(first.run_id, 2, "look again", context="some data")
    assert (result.status, result.value, result.usage.turns) == ("completed", [2, "forked"], 3)
    [request] = model.requests
    roles = [message.role for message in request.messages]
    assert roles == ["system", "user", "assistant", roles[3], "assistant", roles[5], "user"]
    assert ("```repl" in request.messages[0].content) == (other == "code")
    assert bool(request.tools) == (other == "tools")
    assert "print('one')" in request.messages[2].content


def test_a_model_without_tools_is_shown_no_tool_calls(tmp_path: Path) -> None:
    first = recorded(tmp_path, "tools")
    model = backend("code", fenced("FINAL(a)"))
    with rlm(tmp_path, model) as again:
        assert again.fork(first.run_id, 1, context="some data").value == 1
    [request] = model.requests
    assert [message.role for message in request.messages] == ["system", "user", "assistant", "user"]
    assert not any(message.tool_calls or message.tool_call_id for message in request.messages)
    assert request.messages[2].content == "```repl\na = 1\nprint('one')\n```"


@pytest.mark.parametrize("dialect", ["tools", "code"])
def test_a_record_of_two_dialects_is_resumed_by_either(tmp_path: Path, dialect: str) -> None:
    first, other = recorded(tmp_path, dialect), OTHER[dialect]
    script = [WRITES[other](code) for code in ("a += 10\nprint('two')", "FINAL('never')")]
    with rlm(tmp_path, backend(other, *script)) as again:
        second = again.fork(first.run_id, 1, context="some data")
    assert second.trajectory is not None
    lines = second.trajectory.read_bytes().splitlines(keepends=True)
    types = [decode(line).type for line in lines]
    cut = len(types) - types[::-1].index("turn.start")
    second.trajectory.write_bytes(b"".join(lines[:cut]))
    for last in (dialect, other):
        with rlm(tmp_path, backend(last, WRITES[last]("FINAL(a)"))) as third:
            resumed = third.resume(second.trajectory, context="some data")
        assert (resumed.status, resumed.value) == ("completed", 11), resumed.error


def test_a_replay_reads_the_dialect_of_the_record(tmp_path: Path) -> None:
    first = recorded(tmp_path, "tools")
    with rlm(tmp_path, backend("code")) as again:
        report = again.replay(first.run_id, context="some data")
    assert (report.cells, report.differences) == (3, ())
