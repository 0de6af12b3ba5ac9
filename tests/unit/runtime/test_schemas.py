"""Schemas that anyone may have made: what is sure to be quick is checked here, all else in a worker, and nothing for
ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from rlm.core.exceptions import ConfigError, ToolError
from rlm.processes.worker import WorkerPool
from rlm.runtime.schema_checks import schema_flaw, schema_problems
from rlm.runtime.schemas import CheckedSchema

ROW = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"], "additionalProperties": False}
ROWS = {"type": "array", "items": ROW}


class Counting(WorkerPool):
    """A pool that answers in place, and counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def call(self, target: str, arguments: Any, *, timeout_s: float) -> Any:
        self.asked.append(target.partition(":")[2])
        return schema_problems(**arguments) if "value" in arguments else schema_flaw(**arguments)


class Stopping(Counting):
    """A pool in which nothing that is checked comes to an end."""

    async def call(self, target: str, arguments: Any, *, timeout_s: float) -> Any:
        found = await super().call(target, arguments, timeout_s=timeout_s)
        if "value" in arguments:
            raise ToolError("it was stopped")
        return found


def endless(levels: int = 22) -> dict[str, Any]:
    schema: dict[str, Any] = {"properties": {"a": True}}
    for _ in range(levels):
        schema = {"allOf": [schema], "unevaluatedProperties": False}
    return schema


@pytest.fixture
async def workers():
    pool = WorkerPool(size=1)
    yield pool
    await pool.aclose()


async def test_what_is_sure_to_be_quick_needs_no_worker() -> None:
    pool = Counting()
    checked = await CheckedSchema.of(ROWS, pool)
    assert await checked.problems([{"id": 1}, {"id": 2}]) == []
    assert await checked.problems([{"id": "x"}]) == ["$[0].id: 'x' is not of type 'integer'"]
    assert pool.asked == []


@pytest.mark.parametrize(
    "schema",
    [
        endless(2),
        {"pattern": "^(a+)+$"},
        {"patternProperties": {"^(a+)+$": {}}},
        {"properties": {"a": {"items": {"pattern": "a"}}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {}}},
        {"anyOf": [{"oneOf": [{}, {}]}]},
        {"uniqueItems": True},
        {"contains": {"contains": {}}},
        {"not": {"not": {}}},
        {"if": {}, "then": {}},
        {"dependentSchemas": {"a": {}}},
        {"propertyNames": {"pattern": "a"}},
        {"additionalProperties": {"unevaluatedItems": False}},
        {"prefixItems": [{"pattern": "a"}]},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"enum": [{"a": number} for number in range(20_000)]},
        {"x-unknown": 1},
    ],
    ids=lambda schema: str(schema)[:30],
)
async def test_any_other_schema_is_checked_in_a_worker(schema: dict[str, Any]) -> None:
    pool = Counting()
    checked = await CheckedSchema.of(schema, pool)
    await checked.problems("b")
    assert pool.asked == ["schema_flaw", "schema_problems"]


@pytest.mark.parametrize(
    "value",
    [[{"id": number} for number in range(5_000)], [{"id": "x" * 1_000_000}], [{1: 2}], [b""], [("a",)]],
    ids=type,
)
async def test_large_or_odd_values_are_checked_in_a_worker(value: Any) -> None:
    pool = Counting()
    await (await CheckedSchema.of(ROWS, pool)).problems(value)
    assert pool.asked == ["schema_problems"]


async def test_a_check_without_end_is_stopped(workers, monkeypatch) -> None:
    for schema, value in ((endless(), {"a": 1}), ({"pattern": "^(a+)+$"}, "a" * 60 + "b")):
        checked = await CheckedSchema.of(schema, workers)
        with monkeypatch.context() as patch:
            patch.setattr("rlm.runtime.schemas.TIMEOUT_S", 0.1)
            [problem] = await checked.problems(value)
        assert "took longer than 0.1 s and was stopped" in problem


async def test_a_schema_that_took_too_long_twice_is_used_no_more() -> None:
    pool = Stopping()
    checked = await CheckedSchema.of(endless(2), pool)
    said = [await checked.problems({}) for _ in range(4)]
    assert [each[0][:26] for each in said] == ["checking it by the schema "] * 2 + ["it can't be checked: by th"] * 2
    assert pool.asked.count("schema_problems") == 2


async def test_a_check_that_is_given_up_ends(workers) -> None:
    checking = asyncio.create_task((await CheckedSchema.of(endless(), workers)).problems({"a": 1}))
    await asyncio.sleep(0)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking


def test_many_items_are_unique_or_not() -> None:
    """Compared each with every other, so many would take minutes."""
    schema, items = {"uniqueItems": True}, [{"id": number, "tags": [number, "x"]} for number in range(20_000)]
    assert schema_problems(schema, items) == []
    assert schema_problems(schema, [*items, {"tags": [7.0, "x"], "id": 7}]) == ["$: its items are not unique"]


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, True], True),
        ([0, False], True),
        ([1, 1.0], False),
        ([[1], [1.0]], False),
        ([1, "1"], True),
        ([{}, []], True),
    ],
)
def test_items_are_equal_as_json_schema_says(items: list[Any], unique: bool) -> None:
    assert (schema_problems({"uniqueItems": True}, items) == []) is unique


@pytest.mark.parametrize(
    "schema",
    [{"type": "nonsense"}, {"pattern": "("}, {"properties": 3}, {"anyOf": {}}, {"required": complex}, {"$schema": []}],
    ids=str,
)
async def test_what_is_no_schema_is_refused(workers, schema: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="not a valid JSON Schema"):
        await CheckedSchema.of(schema, workers)


async def test_a_value_without_a_json_form_does_not_fit(workers) -> None:
    [problem] = await (await CheckedSchema.of(ROWS, workers)).problems([{("a", 1): 2}])
    assert problem.startswith("it has no JSON form")
