"""Which schemas Anthropic's structured outputs can be asked for, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from rlm.backends.anthropic.schema import to_output_schema


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def test_objects_are_closed_and_constraints_left_out() -> None:
    given = obj(
        age={"type": "integer", "minimum": 0, "description": "years"},
        names={"type": "array", "items": {"type": "string", "minLength": 2}, "minItems": 1, "maxItems": 9},
        day={"type": "string", "format": "date"},
        code={"type": "string", "format": "regex", "pattern": "a+"},
    )
    assert to_output_schema(given) == {
        **obj(
            age={"type": "integer", "description": "years"},
            names={"type": "array", "items": {"type": "string"}, "minItems": 1},
            day={"type": "string", "format": "date"},
            code={"type": "string"},
        ),
        "additionalProperties": False,
    }


def test_references_are_put_in_and_choices_kept() -> None:
    given = {**obj(a={"$ref": "#/$defs/A"}, b={"oneOf": [{"type": "null"}, {"$ref": "#/$defs/A"}]})}
    given["$defs"] = {"A": {"enum": ["x", "y"]}}
    said = to_output_schema(given)
    assert said is not None
    assert said["properties"] == {
        "a": {"enum": ["x", "y"]},
        "b": {"anyOf": [{"type": "null"}, {"enum": ["x", "y"]}]},
    }


RECURSIVE = {"$ref": "#/$defs/N", "$defs": {"N": obj(next={"anyOf": [{"type": "null"}, {"$ref": "#/$defs/N"}]})}}


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "integer"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {**obj(a={"type": "string"}), "additionalProperties": True},
        obj(anything={}),
        obj(anything=True),
        obj(pair={"type": "array", "prefixItems": [{"type": "string"}]}),
        obj(any_list={"type": "array"}),
        obj(a={"$ref": "https://example.org/a.json"}),
        obj(a={"$ref": 3}),
        obj(a={"anyOf": 3}),
        RECURSIVE,
    ],
)
def test_what_cannot_be_said_is_left_to_the_prompt(schema: dict[str, Any]) -> None:
    assert to_output_schema(schema) is None
