"""Turns `output_type` into a validator of final answers: pydantic models, dataclasses, Python types, JSON schemas."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.dialects.arguments import read_value
from rlm.core.dialects.fences import split
from rlm.core.exceptions import ConfigError, OutputValidationError
from rlm.core.foreign import Escaped, in_thread, outcome_of
from rlm.core.off_loop import off_loop
from rlm.runtime.schemas import CheckedSchema
from rlm.tools.schemas import from_json, pydantic_problems, schema_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rlm.core.interfaces import Validator
    from rlm.core.types import Json
    from rlm.processes.worker import WorkerPool

_NO_MORE: Any = object()
_MISFIT = "the answer does not fit the output type.\n{}"


async def validator_for(output_type: Any, workers: WorkerPool) -> Validator | None:
    """The validator for a type or a JSON Schema; None for None.

    Takes pydantic models and TypeAdapters, dataclasses, msgspec structs, TypedDicts, enums, Literal, builtin
    generics, and a dict as a JSON Schema, which checks what may take long in one of the `workers`.

    Raises:
        ConfigError: the type has no JSON form, or the schema is not valid or refers to something outside of itself.
    """
    if output_type is None:
        return None
    if isinstance(output_type, dict):
        return SchemaValidator(checked=await CheckedSchema.of(output_type, workers))
    if hasattr(output_type, "validate_python") and hasattr(output_type, "json_schema"):
        return TypeValidator(schema=output_type.json_schema(), convert=output_type.validate_python)
    try:
        return TypeValidator(schema=schema_of(output_type), convert=lambda value: from_json(value, output_type))
    except TypeError as error:
        raise ConfigError(f"output_type {output_type!r} cannot be used: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeValidator:
    """Converts a value, or the JSON that a text holds, to a type of the user's, in a thread."""

    schema: Mapping[str, Json]
    convert: Callable[[Json], Any]
    """Makes the typed value; raises ValueError where the value does not fit."""

    async def validate(self, value: Json) -> Any:
        """See `Validator.validate`; a text that does not fit may hold JSON that does, fenced or bare.

        Whatever code of the type raises is a misfit, and code that never ends is left behind.
        """
        try:
            return await outcome_of(lambda: in_thread(partial(self._converted, value)))
        except Escaped as error:
            raise OutputValidationError(_MISFIT.format(f"its type raised {error}")) from error

    def _converted(self, value: Json) -> Any:
        problem: ValueError | RecursionError | None = None
        for reading in _readings(value):
            try:
                return self.convert(reading)
            except (ValueError, RecursionError) as error:
                problem = error
        raise OutputValidationError(_MISFIT.format(_told(problem))) from problem


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaValidator:
    """Checks a value, or the JSON that a text holds, by a JSON Schema."""

    checked: CheckedSchema

    @property
    def schema(self) -> Mapping[str, Json]:
        """The JSON Schema."""
        return self.checked.schema

    async def validate(self, value: Json) -> Any:
        """See `Validator.validate`; a text that does not fit may hold JSON that does, fenced or bare."""
        problems, readings = list[str](), _readings(value)
        while (reading := await off_loop(next, readings, _NO_MORE)) is not _NO_MORE:
            problems = await self.checked.problems(reading)
            if not problems:
                return reading
        raise OutputValidationError(_MISFIT.format("\n".join(problems)))


def _readings(value: Json) -> Iterator[Json]:
    """What a value may stand for, the plainest first: itself, JSON, JSON in a fence or in prose, or nearly JSON."""
    tried: list[Json] = []
    for reading in _any_readings(value):
        with suppress(RecursionError):
            if reading in tried:
                continue
        tried.append(reading)
        yield reading


def _any_readings(value: Json) -> Iterator[Json]:
    yield value
    if not isinstance(value, str):
        return
    texts = (value, *(fence.code for fence in split(value)[0][:1]))
    for text in texts:
        with suppress(msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            yield msgspec.json.decode(text)
    for text in texts:
        for part in _outermost(text):
            with suppress(ValueError):
                yield read_value(part)


def _outermost(text: str) -> list[str]:
    """The text from the first opening bracket of each kind to the last closing one: a value, if there is one."""
    spans = ((text.find(opening), text.rfind(closing) + 1) for opening, closing in ("{}", "[]"))
    return [text[start:end] for start, end in sorted(spans) if 0 <= start < end]


def _told(problem: ValueError | RecursionError | None) -> str:
    if problem is not None and hasattr(problem, "errors"):
        return pydantic_problems(problem)
    return "it is nested too deep" if isinstance(problem, RecursionError) else str(problem)
