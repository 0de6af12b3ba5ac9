from __future__ import annotations

import asyncio
import enum
import threading
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

import msgspec
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from rlm.core.exceptions import ConfigError, ToolError
from rlm.tools.decorator import tool


class Colour(enum.Enum):
    RED = "red"


class Inner(BaseModel):
    count: int


class Model(BaseModel):
    inner: Inner


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0


@tool(reads_only=True)
def everything(
    n: int,
    point: Point,
    models: list[Model],
    kind: Literal["a", "b"] = "a",
    colour: Colour = Colour.RED,
    names: list[str] = [],  # noqa: B006
    maybe: str | None = None,
) -> Any:
    """Do it all.

    At length.

    Args:
        n: How many,
            over two lines.
        point (Point): Where: on the plane.
    """
    return {
        "n": n,
        "point": [point.x, point.y],
        "models": models,
        "kind": kind,
        "colour": colour,
        "names": names,
        "maybe": maybe,
    }


GOOD = {"n": 1, "point": {"x": 2}, "models": [{"inner": {"count": 3}}]}


def test_the_schema_is_made_of_signature_and_docstring():
    spec = everything.spec
    Draft202012Validator.check_schema(spec.parameters)
    assert (spec.name, spec.description) == ("everything", "Do it all.")
    assert list(spec.parameters["properties"]) == ["n", "point", "models", "kind", "colour", "names", "maybe"]
    assert spec.parameters["required"] == ["n", "point", "models"]
    assert spec.parameters["properties"]["n"] == {"type": "integer", "description": "How many, over two lines."}
    assert spec.parameters["properties"]["point"]["description"] == "Where: on the plane."
    assert not list(Draft202012Validator(spec.parameters).iter_errors(GOOD))
    assert list(Draft202012Validator(spec.parameters).iter_errors({**GOOD, "models": [{"inner": {}}]}))


async def test_arguments_become_what_the_annotations_say_and_results_json():
    result = await everything.call(GOOD)
    assert result["point"] == [2, 0]
    assert result["models"] == [{"inner": {"count": 3}}]
    assert (result["colour"], result["kind"], result["maybe"]) == ("red", "a", None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": "many"}, r"Expected `int`, got `str` - at `\$.n`"),
        ({"point": {}}, "missing required field `x`"),
        ({"kind": "c"}, "Invalid enum value 'c'"),
        ({"models": [{"inner": {"count": "q"}}]}, r"\$\.inner\.count: Input should be a valid integer"),
        ({"extra": 1}, "unknown field `extra`.*Its arguments: n, point"),
    ],
)
async def test_wrong_arguments_are_explained(change, message):
    with pytest.raises(ToolError, match=message):
        await everything.call({**GOOD, **change})


async def test_numbers_in_quotes_are_taken_as_models_write_them():
    assert (await everything.call({**GOOD, "n": "7"}))["n"] == 7


@pytest.mark.parametrize("arguments", [{"": ""}, {"_": None}, {"arguments": {}}])
async def test_arguments_that_say_nothing_are_none_at_all(arguments):
    @tool
    def ping() -> str:
        """Answer."""
        return "pong"

    assert await ping.call(arguments) == "pong"
    with pytest.raises(ToolError):
        await ping.call({"host": "example"})


async def test_null_for_a_parameter_with_a_default_is_its_default():
    @tool
    def count(a: int = 3) -> int:
        """Count."""
        return a

    assert await count.call({"a": None}) == 3
    with pytest.raises(ToolError):
        await count.call({"a": "x"})


async def test_a_sync_function_runs_beside_the_loop_and_an_async_one_on_it():
    @tool
    def where_sync() -> int:
        """Say where."""
        return threading.get_ident()

    @tool
    async def where_async() -> int:
        """Say where."""
        await asyncio.sleep(0)
        return threading.get_ident()

    assert await where_sync.call({}) != threading.get_ident()
    assert await where_async.call({}) == threading.get_ident()


async def test_an_exception_is_the_answer():
    @tool
    def failing() -> None:
        """Fail."""
        raise KeyError("gone")

    with pytest.raises(ToolError, match="failing failed: KeyError: 'gone'"):
        await failing.call({})


@pytest.mark.parametrize("result", [object(), {1: object()}, [print]])
async def test_a_result_without_a_json_form_is_an_error(result):
    @tool
    def odd() -> Any:
        """Return something odd."""
        return result

    with pytest.raises(ToolError, match="odd returned what JSON cannot carry"):
        await odd.call({})


async def test_results_that_contain_themselves_end():
    @tool
    def loop() -> Any:
        """Return a loop."""
        items: list[Any] = []
        items.append(items)
        return items

    with pytest.raises(ToolError, match="loop returned"):
        await loop.call({})


async def test_dates_sets_and_dataclasses_are_made_json():
    @tool
    def dated() -> Any:
        """Give a date."""
        return {date(2026, 1, 2): {1}}

    assert await dated.call({}) == {"2026-01-02": [1]}


def test_numpy_and_sphinx_docstrings_describe_parameters():
    @tool
    def numpy_style(a: int, b: str) -> None:
        """Do it.

        Parameters
        ----------
        a : int
            The first.
        b : str
            The second,
            longer.

        Returns
        -------
        None
        """

    @tool
    def sphinx_style(a: int, b: str = "") -> None:
        """Do it.

        :param a: The first.
        :param str b: The second,
            longer.
        :returns: nothing
        """

    for made in (numpy_style, sphinx_style):
        properties = made.spec.parameters["properties"]
        assert [properties[name]["description"] for name in "ab"] == ["The first.", "The second, longer."]
        assert made.spec.description == "Do it."


def test_bounds_in_annotations_hold():
    @tool
    def bounded(n: Annotated[int, msgspec.Meta(ge=1)]) -> int:
        """Count."""
        return n

    assert bounded.spec.parameters["properties"]["n"]["minimum"] == 1
    assert bounded(5) == 5


def test_functions_that_cannot_be_tools_are_refused():
    def bare(a):
        """Do it."""

    def spread(*a: int):
        """Do it."""

    def strange(a: complex):
        """Do it."""

    def silent(a: int): ...

    def dangling(a: Nowhere):  # noqa: F821
        """Do it."""

    for function, message in (
        (bare, "annotate the parameter 'a'"),
        (spread, "cannot be given by name"),
        (strange, "without a JSON form.*complex"),
        (silent, "needs a description"),
        (dangling, "annotations cannot be read"),
    ):
        with pytest.raises(ConfigError, match=message):
            tool(function)
