"""Turns `output_type` into a validator of final answers: pydantic models, dataclasses, Python types, JSON schemas.

Answers are hostile, and so may a schema be: no reference leaves the schema, and what could run for ever runs in a
process that can be killed.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.contexts.context import clip
from rlm.core.dialects.arguments import read_value
from rlm.core.dialects.fences import split
from rlm.core.exceptions import ConfigError, OutputValidationError, ToolError
from rlm.processes.worker import call_once
from rlm.tools.schemas import from_json, pydantic_problems, schema_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rlm.core.interfaces import Validator
    from rlm.core.types import Json

_TIMEOUT_S = 5.0
_COSTLY = frozenset({"pattern", "patternProperties", "$ref", "$dynamicRef", "$recursiveRef"})
"""Keywords by which a schema can take exponential time."""
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_PROBLEMS_TOLD = 5
_PROBLEM_CHARS = 300


def validator_for(output_type: Any) -> Validator | None:
    """The validator for a type or a JSON Schema; None for None.

    Takes pydantic models and TypeAdapters, dataclasses, msgspec structs, TypedDicts, enums, Literal, builtin
    generics, and a dict as a JSON Schema. A schema with patterns or references is checked in a process of its own:
    then `validate` blocks for a fraction of a second, at worst for its deadline.

    Raises:
        ConfigError: the type has no JSON form, or the schema is not valid or refers to something outside of itself.
    """
    if output_type is None:
        return None
    if isinstance(output_type, dict):
        return _schema_validator(output_type)
    if hasattr(output_type, "validate_python") and hasattr(output_type, "json_schema"):
        return JsonValidator(schema=output_type.json_schema(), convert=output_type.validate_python)
    try:
        return JsonValidator(schema=schema_of(output_type), convert=lambda value: from_json(value, output_type))
    except TypeError as error:
        raise ConfigError(f"output_type {output_type!r} cannot be used: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonValidator:
    """Converts a value, or the JSON that a text holds, by `convert`."""

    schema: Mapping[str, Json]
    convert: Callable[[Json], Any]
    """Makes the typed value; raises ValueError where the value does not fit."""

    def validate(self, value: Json) -> Any:
        """Return the typed value; a text that does not fit may hold JSON that does, fenced or bare.

        Raises:
            OutputValidationError: the value does not fit; the message tells the model why.
        """
        problem: ValueError | RecursionError | None = None
        tried: list[Json] = []
        for reading in _readings(value):
            try:
                if reading in tried:
                    continue
                tried.append(reading)
                return self.convert(reading)
            except (ValueError, RecursionError) as error:
                problem = error
        raise OutputValidationError(f"the answer does not fit the output type.\n{_told(problem)}") from problem


def schema_problems(schema: dict[str, Json], value: Json) -> list[str]:
    """What a JSON Schema finds wrong with `value`, at most five lines; runs in a worker where that may take long."""
    from jsonschema.validators import Draft202012Validator  # type: ignore[import-untyped]
    from jsonschema.validators import validator_for as dialect_of
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    # An explicit registry: the default one would fetch what a schema refers to.
    checker = dialect_of(schema, default=Draft202012Validator)(schema, registry=Registry())
    try:
        errors = list(islice(checker.iter_errors(value), _PROBLEMS_TOLD))
    except Unresolvable as error:
        return [f"the schema refers to {error.ref!r}, which it does not define"]
    return [f"{error.json_path}: {clip(error.message, _PROBLEM_CHARS)}" for error in errors]


def _schema_validator(schema: dict[str, Json]) -> Validator:
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
    from jsonschema.validators import Draft202012Validator
    from jsonschema.validators import validator_for as dialect_of

    try:
        dialect_of(schema, default=Draft202012Validator).check_schema(schema)
        keywords = list(_keywords(schema))
    except (SchemaError, RecursionError) as error:
        raise ConfigError(f"output_type is not a valid JSON Schema: {getattr(error, 'message', error)}") from error
    for key, value in keywords:
        if key in _REFERENCES and isinstance(value, str) and not value.startswith("#"):
            raise ConfigError(f"output_type refers to {value!r}: only references within the schema are followed.")
    costly = any(key in _COSTLY for key, _value in keywords)

    def convert(value: Json) -> Json:
        problems = _problems_in_worker(schema, value) if costly else schema_problems(schema, value)
        if problems:
            raise ValueError("\n".join(problems))
        return value

    return JsonValidator(schema=schema, convert=convert)


def _problems_in_worker(schema: dict[str, Json], value: Json) -> list[str]:
    arguments = {"schema": schema, "value": value}
    try:
        return list(call_once("rlm.runtime.validation:schema_problems", arguments, timeout_s=_TIMEOUT_S))
    except ToolError as error:
        return [f"checking it by the schema failed: {error}"]


def _keywords(schema: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(schema, list):
        for item in schema:
            yield from _keywords(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            yield key, value
            yield from _keywords(value)


def _readings(value: Json) -> Iterator[Json]:
    """What a value may stand for, the plainest first: itself, JSON, JSON in a fence or in prose, or nearly JSON."""
    yield value
    if not isinstance(value, str):
        return
    texts = (value, *(fence.code for fence in split(value)[0][:1]))
    for text in texts:
        with suppress(msgspec.DecodeError, UnicodeEncodeError):
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
