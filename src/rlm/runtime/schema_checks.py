"""Holds values against JSON Schemas by the library for that, which is slow to import and may take for ever: `schemas`
says whether in this process or in a worker.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from jsonschema.exceptions import SchemaError, ValidationError  # type: ignore[import-untyped]
from jsonschema.validators import Draft202012Validator, extend, validator_for  # type: ignore[import-untyped]
from referencing import Registry
from referencing.exceptions import Unresolvable

from rlm.core.contexts.context import clip

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.types import Json

_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_PROBLEMS_TOLD = 5
_PROBLEM_CHARS = 300


def schema_flaw(schema: dict[str, Json]) -> str:
    """What is wrong with a schema; empty if nothing is."""
    try:
        _dialect(schema).check_schema(schema)
        for key, value in _keywords(schema):
            if key in _REFERENCES and isinstance(value, str) and not value.startswith("#"):
                return f"it refers to {value!r}, and only references within the schema are followed"
    except (SchemaError, RecursionError) as error:
        return clip(str(getattr(error, "message", error)), _PROBLEM_CHARS)
    return ""


def schema_problems(schema: dict[str, Json], value: Json) -> list[str]:
    """What a JSON Schema finds wrong with `value`, in at most five lines."""
    # An explicit registry: the default one would fetch what a schema refers to.
    checker = extend(_dialect(schema), {"uniqueItems": _unique_items})(schema, registry=Registry())
    try:
        errors = list(islice(checker.iter_errors(value), _PROBLEMS_TOLD))
    except Unresolvable as error:
        return [f"the schema refers to {error.ref!r}, which it does not define"]
    return [f"{error.json_path}: {clip(error.message, _PROBLEM_CHARS)}" for error in errors]


def _dialect(schema: dict[str, Json]) -> Any:
    return validator_for(schema, default=Draft202012Validator)


def _unique_items(validator: Any, wanted: Json, instance: Json, _schema: Json) -> Iterator[Exception]:
    """The keyword `uniqueItems` in linear time; the library compares each item with every other."""
    if not wanted or not validator.is_type(instance, "array"):
        return
    if len({json.dumps(_by_value(item), sort_keys=True) for item in instance}) < len(instance):
        yield ValidationError("its items are not unique")


def _by_value(value: Json) -> Json:
    """A value in which equal numbers are written alike: to JSON Schema 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_by_value(item) for item in value]
    return {key: _by_value(item) for key, item in value.items()} if isinstance(value, dict) else value


def _keywords(schema: Json) -> Iterator[tuple[str, Json]]:
    if isinstance(schema, list):
        for item in schema:
            yield from _keywords(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            yield key, value
            yield from _keywords(value)
