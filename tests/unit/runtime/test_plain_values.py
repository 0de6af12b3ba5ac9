"""Values that programs have at hand, as a sandbox gets them."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, assert_type, get_origin
from uuid import UUID

import msgspec
import pandas as pd
import pydantic
import pytest

from rlm import RLM, Config
from rlm.core.exceptions import ConfigError
from rlm.core.outcome import RLMResult
from rlm.repl.guest.wire import decode_value
from rlm.runtime.inputs import named_file, prepare


class Colour(Enum):
    RED = "red"


class Order(pydantic.BaseModel):
    id: UUID
    due: date


@dataclass
class Box:
    inside: Any


def taken(value: Any) -> Any:
    context = prepare(value)
    assert context.fd is not None
    return decode_value(msgspec.json.decode(os.pread(context.fd, context.size_bytes, 0)))


ID = UUID("36a46ff5-71c2-446f-9e48-96fcb2b09144")
FRAME = pd.DataFrame({"day": [pd.Timestamp("2026-11-30"), pd.NaT], "n": [1, 2]})


@pytest.mark.parametrize(
    ("value", "form"),
    [
        ({"day": date(2026, 11, 30)}, {"day": "2026-11-30"}),
        ([datetime(2026, 11, 30, 9, tzinfo=UTC)], ["2026-11-30T09:00:00+00:00"]),
        ([timedelta(minutes=1.5)], [90.0]),
        ([Decimal("1.10"), ID, PurePosixPath("a/b"), Colour.RED], ["1.10", str(ID), "a/b", "red"]),
        ({date(2026, 11, 30): {1}, "b": b"\0"}, {"2026-11-30": [1], "b": b"\0"}),
        (Order(id=ID, due=date(2026, 1, 2)), {"id": str(ID), "due": "2026-01-02"}),
        ([Order(id=ID, due=date(2026, 1, 2))], [{"id": str(ID), "due": "2026-01-02"}]),
        ((n * n for n in range(3)), [0, 1, 4]),
        ({"rows": deque([range(2)])}, {"rows": [[0, 1]]}),
        (FRAME, [{"day": "2026-11-30T00:00:00", "n": 1}, {"day": None, "n": 2}]),
        ({"table": FRAME[["n"]].rename_axis("key")}, {"table": [{"key": 0, "n": 1}, {"key": 1, "n": 2}]}),
        (pd.Series([1, 2]), [1, 2]),
    ],
)
def test_values_of_programs_are_taken(value: Any, form: Any) -> None:
    assert taken(value) == form


def test_the_shape_of_a_table_is_that_of_its_records() -> None:
    assert prepare(FRAME).describe().startswith("`context` is a list of 2 items; the first is a dict with keys 'day'")


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({"rows": [1, {"owner": object()}]}, r"\['rows'\]\[1\]\['owner'\]: a builtins.object has no"),
        ([Box(inside=[len])], r"\[0\].inside\[0\]: a builtins.builtin_function_or_method has no"),
        ({"a": SimpleNamespace(x=1)}, r"\['a'\]: a types.SimpleNamespace has no"),
    ],
)
def test_the_place_of_what_cant_be_taken_is_named(value: Any, place: str) -> None:
    with pytest.raises(ConfigError, match=place):
        prepare(value)


def test_a_text_that_is_the_name_of_a_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data.txt").write_text("x")
    assert "give Path('data.txt')" in (named_file("data.txt") or "")
    assert named_file("no such file") is None
    assert named_file("a\0b" * 3) is None


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (Config(mask="none"), "mask: expected one of off, pii, secrets, got 'none'"),  # type: ignore[arg-type]
        (Config(max_output_tokens="few"), "max_output_tokens: expected a whole number"),  # type: ignore[arg-type]
        (Config(local={"policy": "lax"}), "local.policy: expected one of off, relaxed, strict"),  # type: ignore[arg-type]
    ],
)
def test_a_wrong_setting_of_a_program_is_named_with_its_choices(config: Config, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        RLM("demo", config=config)


def test_a_program_may_write_amounts_as_files_do() -> None:
    config = RLM("demo", config=Config(cell_timeout_s="5m")).config  # type: ignore[arg-type]
    assert config.cell_timeout_s == 300


def test_a_result_is_of_the_type_that_was_asked_for() -> None:
    def typed(rlm: RLM) -> None:
        assert_type(rlm.completion("?", output_type=list[str]), RLMResult[list[str]])
        assert_type(rlm.completion("?", output_type=Order).value, Order)
        assert_type(rlm.completion("?"), RLMResult[Any])

    assert get_origin(RLMResult[int]) is RLMResult
    assert callable(typed)
