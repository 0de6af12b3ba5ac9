"""Converts between Python types and JSON: schemas, checked arguments, results.

msgspec does the work; a user's pydantic models are converted by their own methods, without importing pydantic here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    from rlm.core.types import Json

T = TypeVar("T")

_PROBLEMS_TOLD = 5
_REF = "#/$defs/{name}"


def schema_of(kind: Any) -> dict[str, Json]:
    """The JSON Schema of a type; an object's own definition is on top, those it uses under `$defs`.

    Raises:
        TypeError: the type, or one it uses, has no JSON form.
    """
    if is_pydantic_model(kind):
        return _pydantic_schema(kind)
    try:
        (top,), definitions = msgspec.json.schema_components((kind,), schema_hook=_pydantic_schema, ref_template=_REF)
    except (TypeError, ValueError) as error:
        raise TypeError(str(error).splitlines()[-1]) from error
    name = top.get("$ref", "").rpartition("/")[2]
    schema = dict(definitions[name]) if name else dict(top)
    _hoist(schema, definitions)
    for definition in list(definitions.values()):
        _hoist(definition, definitions)
    if name and not _refers_to(name, [schema, definitions]):
        del definitions[name]
    return {**schema, "$defs": definitions} if definitions else schema


def from_json(value: Json, kind: Any, *, strict: bool = True) -> Any:
    """`value` as `kind`; if not `strict`, "5" is taken for 5 too, as models like to write it.

    Raises:
        ValueError: the value does not fit; the message says where and why, in at most a few lines.
    """
    return msgspec.convert(value, kind, strict=strict, str_keys=True, dec_hook=_pydantic_value)


def to_json(value: Any) -> Json:
    """The JSON form of a result: dataclasses and models become objects, enums their values, dates ISO text.

    Raises:
        TypeError: the value has no JSON form.
    """
    return msgspec.to_builtins(value, str_keys=True, enc_hook=_pydantic_json)


def is_pydantic_model(kind: object) -> bool:
    """Whether `kind` is a class with pydantic's methods."""
    return isinstance(kind, type) and hasattr(kind, "model_validate") and hasattr(kind, "model_json_schema")


def pydantic_problems(error: Exception) -> str:
    """What a pydantic validation error says, one line for each of the first few problems."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)  # type: ignore[attr-defined]
    lines = [f"{_path(problem['loc'])}: {problem['msg']}" for problem in problems[:_PROBLEMS_TOLD]]
    left = len(problems) - len(lines)
    return "\n".join([*lines, f"and {left} more"] if left > 0 else lines)


def _path(location: tuple[int | str, ...]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _hoist(schema: Json, definitions: dict[str, Json]) -> None:
    """Move `$defs` from anywhere in `schema` to the top, where the references look for them."""
    if isinstance(schema, list):
        for item in schema:
            _hoist(item, definitions)
    elif isinstance(schema, dict):
        definitions.update(schema.pop("$defs", {}))
        for item in schema.values():
            _hoist(item, definitions)


def _refers_to(name: str, schema: Json) -> bool:
    if isinstance(schema, list):
        return any(_refers_to(name, item) for item in schema)
    if isinstance(schema, dict):
        return schema.get("$ref") == _REF.format(name=name) or _refers_to(name, list(schema.values()))
    return False


def _pydantic_schema(kind: Any) -> dict[str, Json]:
    if is_pydantic_model(kind):
        return dict(kind.model_json_schema())
    raise NotImplementedError


def _pydantic_value(kind: Any, value: Any) -> Any:
    if not is_pydantic_model(kind):
        raise NotImplementedError
    try:
        return kind.model_validate(value)
    except ValueError as error:
        if hasattr(error, "errors"):
            raise ValueError(pydantic_problems(error)) from error
        raise


def _pydantic_json(value: Any) -> Json:
    if is_pydantic_model(type(value)):
        return value.model_dump(mode="json")
    raise TypeError(f"a {type(value).__name__} has no JSON form")
