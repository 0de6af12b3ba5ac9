"""Reduces a JSON Schema to the part of the language that Anthropic's structured outputs take. What is left out, such as
a minimum, is still checked when the value is validated. Source:
https://platform.claude.com/docs/en/build-with-claude/structured-outputs, "JSON Schema limitations"."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.types import Json

_KEPT = frozenset({"type", "enum", "const", "description", "title", "required"})
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"})
_DEFINITIONS = ("$defs", "definitions")
_DEPTH = 64


class _InexpressibleError(Exception):
    """The schema says what this part of the language can't express."""


def to_output_schema(schema: Mapping[str, Json]) -> dict[str, Json] | None:
    """`schema` for `output_config`; None where it can't be expressed: free keys, recursion, any value, or no object.

    The model is then held to the schema by its prompt alone.
    """
    try:
        converted = _convert(schema, schema, ())
    except _InexpressibleError:
        return None
    return converted if converted.get("type") == "object" else None


def _convert(schema: Json, root: Mapping[str, Json], path: tuple[str, ...]) -> dict[str, Json]:
    if not isinstance(schema, dict) or len(path) > _DEPTH:
        raise _InexpressibleError
    if "$ref" in schema:
        return _convert(_resolve(schema["$ref"], root, path), root, (*path, schema["$ref"]))
    path = (*path, "")  # a step that no reference has
    converted = {key: value for key, value in schema.items() if key in _KEPT}
    if schema.get("format") in _FORMATS:
        converted["format"] = schema["format"]
    for word, meaning in (("anyOf", "anyOf"), ("oneOf", "anyOf"), ("allOf", "allOf")):
        if word in schema:
            converted[meaning] = [_convert(item, root, path) for item in _items(schema[word])]
    if not {"type", "enum", "const", "anyOf", "allOf"} & converted.keys():
        raise _InexpressibleError
    return {**converted, **_object(schema, root, path), **_array(schema, root, path)}


def _object(schema: Mapping[str, Json], root: Mapping[str, Json], path: tuple[str, ...]) -> dict[str, Json]:
    if not _allows(schema, "object"):
        return {}
    properties = schema.get("properties")
    if not isinstance(properties, dict) or schema.get("additionalProperties") or "patternProperties" in schema:
        raise _InexpressibleError
    converted = {name: _convert(inner, root, path) for name, inner in properties.items()}
    return {"properties": converted, "additionalProperties": False}


def _array(schema: Mapping[str, Json], root: Mapping[str, Json], path: tuple[str, ...]) -> dict[str, Json]:
    if not _allows(schema, "array"):
        return {}
    if "prefixItems" in schema:
        raise _InexpressibleError
    converted = {"items": _convert(schema.get("items"), root, path)}
    least = schema.get("minItems")
    return {**converted, "minItems": least} if least in (0, 1) else converted


def _allows(schema: Mapping[str, Json], kind: str) -> bool:
    kinds = schema.get("type")
    return kind == kinds or (isinstance(kinds, list) and kind in kinds)


def _items(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise _InexpressibleError
    return value


def _resolve(reference: Json, root: Mapping[str, Json], path: tuple[str, ...]) -> Json:
    """The schema that `reference` names within `root`; recursion can't be expressed."""
    if reference in path:
        raise _InexpressibleError
    for word in _DEFINITIONS:
        name = str(reference).removeprefix(f"#/{word}/")
        if name != reference and name in root.get(word, {}):
            return root[word][name]
    raise _InexpressibleError
