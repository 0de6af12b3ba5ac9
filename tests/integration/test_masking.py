"""Masking over a whole run: what the model sees, what is on disk, what comes back; and what stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlm import RLM, Config, tool
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core import events
from rlm.core.budget import Budget
from rlm.core.types import ExecResult
from rlm.mcp.server.results import of_cell
from rlm.secrets import SecretMasker
from rlm.sinks.memory import MemorySink
from tests.integration.test_interactive import interactive

SECRET = "sk-" + "aB3dE6gH9jK2" * 4


@tool(reads_only=True)
def settings() -> dict[str, str]:
    """The settings."""
    return {"password": "hunter2", "user": "eva"}


@tool(reads_only=True)
def refuse() -> str:
    """Refuse."""
    raise ValueError(f"not with {SECRET}")


@pytest.fixture
def completed(tmp_path):
    """Completes over a script; returns the backend, the sink, the result and all that is on disk."""

    def complete(*script, context=None, **config):
        backend, sink = ScriptedBackend([*script]), MemorySink()
        with RLM(
            backend, config=Config(log_dir=str(tmp_path), **config), tools=[settings, refuse], sinks=[sink]
        ) as rlm:
            result = rlm.completion(f"the prompt has {SECRET}", context)
        files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
        return backend, sink, result, b"".join(files)

    return complete


def cell(code: str):
    return tool_call("execute_code", code=code)


def shown(backend: ScriptedBackend, request: int) -> str:
    return "".join(message.content for message in backend.requests[request].messages[2:])


def test_no_secret_reaches_the_model_the_disk_or_the_answer(completed) -> None:
    script = cell("print(context)"), cell("raise ValueError(context)"), cell("FINAL(context)")
    backend, sink, result, on_disk = completed(*script, context=f"it is {SECRET}")
    assert [SECRET in shown(backend, request) for request in range(3)] == [False] * 3
    assert "it is [REDACTED_API_KEY]" in shown(backend, 1)
    assert result.response == result.value == "it is [REDACTED_API_KEY]"
    assert SECRET.encode() not in on_disk
    assert SECRET not in str(sink.events)


def test_the_prompt_and_the_guest_s_data_go_unmasked(completed) -> None:
    code = f"print(llm_query('is it ' + context), len(context), context == '{SECRET}')"
    backend, _, _, on_disk = completed(cell(code), "yes", "done", context=SECRET)
    assert SECRET in backend.requests[0].messages[1].content
    assert backend.requests[1].messages[-1].content.endswith(SECRET)
    assert f"yes {len(SECRET)} True" in shown(backend, 2)
    assert SECRET.encode() not in on_disk


def test_a_secret_printed_in_two_pieces_is_caught(completed) -> None:
    code = "for part in (context[:20], context[20:]):\n    print(part, end='', flush=True)"
    _, sink, _, on_disk = completed(cell(code), "done", context=SECRET)
    pieces = [event.body.text for event in sink.events if isinstance(event.body, events.ExecOutput)]
    assert "".join(pieces) == "[REDACTED_API_KEY]"
    assert SECRET[:20].encode() not in on_disk


def test_tool_results_and_refusals_are_masked(completed) -> None:
    backend, _, _, on_disk = completed(tool_call("settings"), tool_call("refuse"), cell("FINAL(1)"), context="x")
    assert '"password": "[REDACTED_PASSWORD]", "user": "eva"' in shown(backend, 1)
    assert "not with [REDACTED_API_KEY]" in shown(backend, 2)
    assert b"hunter2" not in on_disk


def test_a_secret_at_the_cut_of_a_long_output_is_masked_before_the_cut(completed) -> None:
    backend, *_ = completed(cell("print('x ' * 2990 + context + ' y' * 5000)"), "done", context=SECRET)
    assert SECRET[:12] not in shown(backend, 1)


def test_blobs_are_masked_before_they_are_cut(completed) -> None:
    *_, on_disk = completed(cell("print(('z ' * 100 + context + '\\n') * 1000)"), "done", context=SECRET)
    assert SECRET.encode() not in on_disk


def test_personal_data_where_it_is_asked_for(completed) -> None:
    *_, result, _ = completed(cell("FINAL('write to eva@example.com')"), context="x", mask="pii")
    assert result.response == "write to [REDACTED_EMAIL]"


def test_off_leaves_everything_as_it_is(completed) -> None:
    backend, _, result, on_disk = completed(cell("print(context)"), cell("FINAL(context)"), context=SECRET, mask="off")
    assert SECRET in shown(backend, 1)
    assert result.response == SECRET
    assert SECRET.encode() in on_disk


def test_artifacts_are_the_guest_s_own_files(completed, tmp_path: Path) -> None:
    completed(cell("save_artifact('keys.txt', context)"), "done", context=SECRET)
    assert next(tmp_path.glob("*.artifacts/keys.txt")).read_text() == SECRET


async def test_who_drives_a_repl_sees_no_half_of_a_secret_while_it_is_printed(tmp_path: Path) -> None:
    pieces: list[str] = []
    code = f"for part in ('{SECRET[:20]}', '{SECRET[20:]} x\\nend\\n'):\n    print(part, end='', flush=True)"
    async with interactive(tmp_path) as repl:
        await repl.execute(code, on_output=pieces.append)
    assert "".join(pieces) == "[REDACTED_API_KEY] x\nend\n"


def test_names_of_variables_are_masked_in_what_a_host_is_told() -> None:
    name = "ghp_" + "aB3dE6gH9jK2" * 3
    result = ExecResult(status="ok", output="", output_chars=0, duration_s=0.1, changed=(name,))
    assert of_cell(result, 1000, SecretMasker().mask) == "(nothing printed; set: [REDACTED_GITHUB_TOKEN])"


def test_the_names_and_keys_of_a_run_s_values_are_masked(completed) -> None:
    name = "ghp_" + "aB3dE6gH9jK2" * 3
    code = f"{name} = {{'{SECRET}': 1}}\nprint({name})\nFINAL([{{'password': 'hunter2', context: 1}}])"
    _, _, result, on_disk = completed(cell(code), context=SECRET)
    assert result.value == [{"password": "[REDACTED_PASSWORD]", "[REDACTED_API_KEY]": 1}]
    assert name.encode() not in on_disk
    assert b"hunter2" not in on_disk


def test_an_answer_that_a_limit_cut_short_is_masked(completed) -> None:
    _, _, result, _ = completed(f"so far {SECRET}\n```python\nprint(1)\n```", budget=Budget(max_turns=1), context="x")
    assert result.status == "limit"
    assert SECRET not in f"{result.response}{result.error}"
