from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlm.cli.outcome import explain, result_line
from rlm.core.exceptions import (
    AuthenticationError,
    ConfigError,
    OutputValidationError,
    RecordError,
    RunFailed,
    SandboxUnavailableError,
    TokenBudgetExhausted,
)
from rlm.core.outcome import RLMResult
from rlm.core.types import RunUsage


def result(**changes: Any) -> RLMResult:
    fields = {"response": "x", "status": "completed", "run_id": "r", "usage": RunUsage(turns=2), "duration_s": 1.0}
    return RLMResult(**{**fields, "trajectory": Path("logs/r.jsonl"), **changes})


@pytest.mark.parametrize(
    ("status", "error", "code"),
    [
        ("completed", None, 0),
        ("limit", TokenBudgetExhausted("x"), 3),
        ("cancelled", None, 130),
        ("failed", RunFailed("x"), 1),
        ("failed", RecordError("x"), 1),
        ("failed", OutputValidationError("x"), 1),
        ("failed", ConfigError("x"), 2),
        ("failed", AuthenticationError("x"), 4),
        ("failed", SandboxUnavailableError("x"), 5),
        ("failed", ValueError("x"), 1),
        ("failed", None, 1),
    ],
)
def test_every_end_has_its_exit_code(status: str, error: Exception | None, code: int) -> None:
    assert explain(result(status=status, error=error, limit="token_budget"), signal_code=130, brief=True) == code


def test_a_good_end_is_said_only_to_who_follows(capfd: pytest.CaptureFixture[str]) -> None:
    explain(result(cost_usd=0.5), signal_code=0, brief=True)
    explain(result(cost_usd=0.5), signal_code=0, brief=False)
    assert capfd.readouterr() == ("", "2 turns, 0 tokens, $0.5000, 1.0 s · record: logs/r.jsonl\n")


def test_the_record_is_named_as_a_shell_takes_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/homes/ada")
    explain(result(trajectory=Path("/homes/ada/logs/r.jsonl")), signal_code=0, brief=False)
    assert capfd.readouterr().err.endswith("record: ~/logs/r.jsonl\n")


def test_one_turn_is_said_in_the_singular(capfd: pytest.CaptureFixture[str]) -> None:
    explain(result(usage=RunUsage(turns=1)), signal_code=0, brief=False)
    assert capfd.readouterr().err.startswith("1 turn, 0 tokens")


@pytest.mark.parametrize(("limit", "option"), [("timeout_s", "--timeout"), ("token_budget", "--token-budget")])
def test_a_limit_names_the_option_that_raises_it(capfd: pytest.CaptureFixture[str], limit: str, option: str) -> None:
    explain(result(status="limit", limit=limit), signal_code=0, brief=True)
    what, hint, record = capfd.readouterr().err.splitlines()
    assert what.startswith(f"error: {limit} is reached after 2 turns")
    way_on = f"hint: raise it to go on from here: rlm resume r {option} ..."
    assert (hint, record) == (way_on, "record: logs/r.jsonl")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), None),
        ([float("inf"), 1.5], [None, 1.5]),
        ({"a": ("b", 1)}, {"a": ["b", 1]}),
        ({"\ud800k": "a\udce9"}, {"\\ud800k": "a\\udce9"}),
        (b"x", "b'x'"),
    ],
)
def test_any_value_is_json_on_one_line(value: object, shown: object) -> None:
    line = result_line(result(value=value))
    assert line.isascii()
    assert b"\n" not in line
    assert json.loads(line)["value"] == shown


def test_a_number_too_long_for_decimals_is_written_in_hexadecimals() -> None:
    assert json.loads(result_line(result(value=1 << 20_000)))["value"] == hex(1 << 20_000)


def test_an_unknown_cost_is_null_and_an_error_is_named() -> None:
    shown = json.loads(result_line(result(status="failed", error=RunFailed("why"))))
    assert (shown["cost_usd"], shown["error"]) == (None, "RunFailed: why")
