"""What went wrong in a run that came to its end all the same is told: on stderr, in JSON, in the record, in Python."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from rlm import RLM, Budget, Config
from rlm.backends.scripted import ScriptedBackend
from tests.integration.cli import User, fenced

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_sub_calls_without_an_answer_are_counted_with_their_reasons_though_the_run_completed(user: User) -> None:
    asks = fenced("answers = llm_query_batched(['a', 'b', 'c'])\nFINAL('done')")
    done = user.rlm("run", "?", "-m", user.script(asks), "-o", "json", "--subcall-budget", "2")
    result = json.loads(done.stdout)
    assert (done.returncode, result["status"], result["usage"]["subcalls_failed"]) == (0, "completed", 3)
    [told] = result["warnings"]
    assert told.startswith("3 sub-calls got no answer: BadRequestError: ")
    assert told.endswith("SubcallBudgetExhausted: subcall_budget of 2 sub-calls is used up (1)")
    assert f"warning: {told[:60]}" in done.stderr
    assert "3 sub-calls got no answer" in user.rlm("logs", "show").stdout
    assert json.loads(user.rlm("logs", "show", "--json").stdout)["run"]["warnings"] >= 1


def test_warnings_of_a_run_are_in_its_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("RLM_")]:
        monkeypatch.delenv(name)  # those that the tests themselves are told by
    monkeypatch.setenv("RLM_TOKEN_BUGDET", "5")
    monkeypatch.setenv("RLM_LOG_DIR", str(tmp_path / "logs"))
    monkeypatch.setenv("RLM_ENVIRONMENT", "local")
    (data := tmp_path / "data").mkdir()
    (data / "a.txt").write_text("text")
    (data / "b.bin").write_bytes(bytes(range(256)))
    with RLM(ScriptedBackend([fenced("FINAL(1)")])) as rlm:
        ended = rlm.completion("?", data)
    assert ended.success
    assert ended.usage.subcalls_failed == 0
    ignored, binary = ended.warnings
    assert "RLM_TOKEN_BUGDET is no setting" in ignored
    assert binary == "binary, left out: b.bin"


def test_a_dry_run_says_what_would_be_sent_and_spent_and_calls_nobody(user: User) -> None:
    user.write("in/a.txt", "some text")
    user.write("in/b.bin", "\0\1\2")
    model = user.script()  # which has no reply: a call would fail
    prices = f'{{ "{model}" = {{ input_usd = 1, output_usd = 4 }} }}'
    arguments = ("run", "how long is it?", "--dry-run", "-m", model, "-f", "in", "--token-budget", "1M")
    done = user.rlm(*arguments, RLM_PRICES=prices)
    assert done.returncode == 0, done.stderr
    assert "no model was called" in done.stdout
    assert "how long is it?" in done.stdout
    assert "a.txt (9 bytes)" in done.stdout
    assert "binary, left out: b.bin" in done.stdout
    assert "Limits of this run: 30 turns, 1,000,000 tokens" in done.stdout
    assert "at most: 1,000,000 tokens, $4.0000" in done.stdout
    found = json.loads(user.rlm(*arguments, "-o", "json", RLM_PRICES=prices).stdout)
    assert 0 < found["likely"]["cost_usd"] < found["worst"]["cost_usd"] == 4.0
    assert not list(user.logs.glob("*.jsonl"))


def test_failures_are_counted_once_when_a_run_is_resumed(tmp_path: Path) -> None:
    config = Config(log_dir=str(tmp_path), environment="local", budget=Budget(max_turns=1, subcall_budget=1))
    script = [fenced("answers = llm_query_batched(['a', 'b'])"), "one", "so far"]
    with RLM(ScriptedBackend(script), config=config) as rlm:
        assert rlm.completion("?").usage.subcalls_failed == 1
    with RLM(ScriptedBackend([fenced("FINAL(len(answers))")]), config=config) as rlm:
        again = rlm.resume("last", overrides={"max_turns": 3})
    assert (again.value, again.usage.subcalls_failed) == (2, 1), again.error
