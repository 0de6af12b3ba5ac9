"""Checks values by JSON Schemas, which guests make up and models answer: in this process only what is sure to be quick,
all else in a worker process, which is killed when its time is up.

A schema can ask for work without end: by what a pattern tries, by a reference to itself, by keywords that check a value
once more at each level. No reference leaves the schema.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import ConfigError, ToolError
from rlm.core.off_loop import off_loop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.types import Json
    from rlm.processes.worker import WorkerPool

TIMEOUT_S = 5.0
"""The longest that a schema, or a value by it, is checked."""
QUICK = 50_000
"""The most that the sizes of a schema and of a value may come to, multiplied, for a check in this process."""
_CHECKS = "rlm.runtime.schema_checks"
_TIMEOUTS = 2
"""After so many checks that took too long, a schema is used no more."""
_PLAIN = frozenset((
    "additionalProperties", "allOf", "anyOf", "const", "default", "description", "enum", "examples",
    "exclusiveMaximum", "exclusiveMinimum", "format", "items", "maxItems", "maxLength", "maxProperties", "maximum",
    "minItems", "minLength", "minProperties", "minimum", "prefixItems", "properties", "required", "title", "type",
))  # fmt: skip
"""The keywords that check each part of a value once."""
_NO_JSON = (TypeError, ValueError, RecursionError)
"""What is raised by writing down for a worker what JSON can't carry."""
_CHARS_PER_VALUE = 100


class CheckedSchema:
    """A JSON Schema that was found valid, and checks values."""

    def __init__(self, schema: dict[str, Json], workers: WorkerPool, size: int | None) -> None:
        """`size` is that of a schema which is quick for small values; None: no value is checked in this process."""
        self.schema = schema
        self._workers = workers
        self._size = size
        self._timeouts = 0

    @classmethod
    async def of(cls, schema: dict[str, Json], workers: WorkerPool) -> CheckedSchema:
        """A schema that anyone may have made.

        Raises:
            ConfigError: it is not valid, takes too long to check, or refers to something outside of itself.
        """
        size = _size(schema, QUICK) if _is_plain(schema) else None
        checked = cls(schema, workers, size)
        try:
            flaw = await checked._run("schema_flaw", {"schema": schema}, is_quick=size is not None and size**2 <= QUICK)
        except (ToolError, *_NO_JSON) as error:
            flaw = str(error)
        if flaw:
            raise ConfigError(f"output_type is not a valid JSON Schema: {flaw}")
        return checked

    async def problems(self, value: Json) -> list[str]:
        """What is wrong with a value, in at most five lines; empty if it fits. Cancellation ends the check."""
        if self._timeouts >= _TIMEOUTS:
            return [f"it can't be checked: by this schema that takes longer than {TIMEOUT_S:g} s"]
        most = 0 if self._size is None else QUICK // self._size
        is_quick = most > 0 and _size(value, most) <= most
        try:
            return list(await self._run("schema_problems", {"schema": self.schema, "value": value}, is_quick=is_quick))
        except ToolError as error:
            self._timeouts += 1
            return [f"checking it by the schema failed: {error}"]
        except _NO_JSON as error:
            return [f"it has no JSON form: {error}"]

    async def _run(self, check: str, arguments: dict[str, Json], *, is_quick: bool) -> Any:
        if is_quick:
            return await off_loop(_checked, check, arguments)
        return await self._workers.call(f"{_CHECKS}:{check}", arguments, timeout_s=TIMEOUT_S)


def _checked(check: str, arguments: dict[str, Json]) -> Any:
    return getattr(import_module(_CHECKS), check)(**arguments)


def _is_plain(schema: Json) -> bool:
    """Whether the time of a check by this schema is bounded by its size multiplied by that of the value."""
    waiting, left = [schema], QUICK
    while waiting:
        node = waiting.pop()
        left -= 1
        if left < 0 or not (isinstance(node, bool) or (isinstance(node, dict) and node.keys() <= _PLAIN)):
            return False
        waiting += _subschemas(node) if isinstance(node, dict) else ()
    return True


def _subschemas(node: dict[str, Json]) -> Iterator[Json]:
    properties = node.get("properties", {})
    yield from properties.values() if isinstance(properties, dict) else [None]
    yield from (node[key] for key in ("additionalProperties", "items") if key in node)
    for key in ("allOf", "anyOf", "prefixItems"):
        members = node.get(key, ())
        yield from members if isinstance(members, list | tuple) else [None]


def _size(value: Json, most: int) -> int:
    """How many values there are in `value`, long texts counted by their length; no further than just above `most`,
    and as above it where a part is no JSON.
    """
    size, waiting = 0, [value]
    while waiting and size <= most:
        item = waiting.pop()
        size += 1
        if isinstance(item, str):
            size += len(item) // _CHARS_PER_VALUE
        elif isinstance(item, dict) and all(isinstance(key, str) for key in item):
            size += len(item)
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif item is not None and not isinstance(item, int | float):
            return most + 1
    return size
