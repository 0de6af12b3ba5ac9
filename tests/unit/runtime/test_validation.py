from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import msgspec
import pytest
from pydantic import BaseModel, TypeAdapter, field_validator

from rlm.core.exceptions import ConfigError, OutputValidationError
from rlm.processes.worker import WorkerPool
from rlm.runtime.validation import validator_for


class Model(BaseModel):
    a: int
    b: list[str] = []


@dataclass
class Point:
    x: int
    y: float = 0.0


class Struct(msgspec.Struct):
    q: int


class Typed(TypedDict):
    q: int


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.fixture
async def workers():
    pool = WorkerPool(size=1)
    yield pool
    await pool.aclose()


async def validate(output_type: Any, value: Any, workers: WorkerPool | None = None) -> Any:
    return await (await validator_for(output_type, workers)).validate(value)


async def test_no_type_is_no_validator():
    assert await validator_for(None, None) is None


@pytest.mark.parametrize(
    ("output_type", "value", "result"),
    [
        (Model, {"a": 1}, Model(a=1)),
        (Model, '{"a": 1}', Model(a=1)),
        (list[Model], [{"a": 1}], [Model(a=1)]),
        (TypeAdapter(list[int]), [1], [1]),
        (Point, {"x": 1, "y": 2}, Point(1, 2.0)),
        (Struct, {"q": 1}, Struct(1)),
        (Typed, {"q": 1}, {"q": 1}),
        (list[int], "[1, 2]", [1, 2]),
        (Literal["yes", "no"], "yes", "yes"),
        (int | None, "null", None),
        (str, "5", "5"),
        (dict[int, str], {"1": "a"}, {1: "a"}),
        (SCHEMA, {"a": 1}, {"a": 1}),
        (SCHEMA, '{"a": 1}', {"a": 1}),
        (SCHEMA, 'Here it is [1]:\n{"a": 4}\nDone.', {"a": 4}),
        (SCHEMA, "{'a': 4}", {"a": 4}),
        (SCHEMA, 'So: {"a": 4,}', {"a": 4}),
        (SCHEMA, '{"a": 4}</s>', {"a": 4}),
        (SCHEMA, '```json\n{"a": 4,}\n```', {"a": 4}),
        (list[int], "The list is [1, 2, 3].", [1, 2, 3]),
    ],
)
async def test_what_fits_becomes_the_type(output_type, value, result):
    assert await validate(output_type, value) == result


@pytest.mark.parametrize(
    "text",
    ['```json\n{"a": 1}\n```', '```\n{"a": 1}\n```', 'Here it is:\n```JSON\n{"a": 1}\n```\nDone.', ' {"a": 1}\n'],
)
async def test_json_in_fences_is_found(text):
    assert await validate(Model, text) == Model(a=1)
    assert await validate(SCHEMA, text) == {"a": 1}


@pytest.mark.parametrize(
    ("output_type", "value", "message"),
    [
        (Model, {"a": "x", "b": 1}, r"\$\.a: Input should be a valid integer.*\n\$\.b: "),
        (Point, {"x": "1"}, r"Expected `int`, got `str` - at `\$\.x`"),
        (Point, "no JSON", "Expected `object`, got `str`"),
        (Literal["yes", "no"], "maybe", "Invalid enum value 'maybe'"),
        (SCHEMA, {"a": "x"}, r"\$\.a: 'x' is not of type 'integer'"),
        (SCHEMA, {}, "'a' is a required property"),
    ],
)
async def test_what_does_not_fit_is_explained(output_type, value, message):
    with pytest.raises(OutputValidationError, match=message):
        await validate(output_type, value)


async def test_messages_are_short_whatever_the_value():
    with pytest.raises(OutputValidationError) as refused:
        await validate({"type": "array", "items": {"type": "integer"}}, ["x" * 1_000] * 100)
    assert len(str(refused.value)) < 2_000


@pytest.mark.parametrize("output_type", [Model, Point, list[int], Literal["a"], SCHEMA])
async def test_every_validator_has_a_schema(output_type):
    assert (await validator_for(output_type, None)).schema


@pytest.mark.parametrize(
    ("output_type", "message"),
    [
        (complex, "cannot be used.*complex"),
        ({"type": "nonsense"}, "not a valid JSON Schema"),
        ({"type": "string", "pattern": "("}, "not a valid JSON Schema"),
        ({"$ref": "http://127.0.0.1:9/x"}, "only references within"),
        ({"items": [{"$ref": "file:///etc/passwd"}]}, "not a valid JSON Schema|only references within"),
    ],
)
async def test_what_cannot_be_asked_for_is_refused(workers, output_type, message):
    with pytest.raises(ConfigError, match=message):
        await validator_for(output_type, workers)


async def test_patterns_and_references_are_checked_elsewhere_and_hold(workers):
    schema = {"$defs": {"name": {"type": "string", "pattern": "^a+$"}}, "items": {"$ref": "#/$defs/name"}}
    assert await validate(schema, ["aaa"], workers) == ["aaa"]
    with pytest.raises(OutputValidationError, match=r"\$\[0\]: 'b' does not match"):
        await validate(schema, ["b"], workers)
    with pytest.raises(OutputValidationError, match="nested too deep"):
        await validate({"$ref": "#"}, 1, workers)
    with pytest.raises(OutputValidationError, match="which it does not define"):
        await validate({"$ref": "#/$defs/gone"}, 1, workers)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, StopIteration, GeneratorExit, asyncio.CancelledError])
async def test_whatever_code_of_a_type_raises_is_a_misfit(workers: WorkerPool, kind: type[BaseException]) -> None:
    class Raises(BaseModel):
        a: int

        @field_validator("a")
        @classmethod
        def check(cls, value: int) -> int:
            raise kind("out")

    validator = await validator_for(Raises, workers)
    assert validator is not None
    with pytest.raises(OutputValidationError, match=kind.__name__):
        await validator.validate({"a": 1})


async def test_code_of_a_type_that_never_ends_is_left_behind(workers: WorkerPool) -> None:
    began, never = threading.Event(), threading.Event()

    class Hangs(BaseModel):
        a: int

        @field_validator("a")
        @classmethod
        def check(cls, value: int) -> int:
            began.set()
            never.wait()
            return value

    validator = await validator_for(Hangs, workers)
    assert validator is not None
    checking = asyncio.ensure_future(validator.validate({"a": 1}))
    await asyncio.to_thread(began.wait)
    checking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await checking
    never.set()
