"""Makes a tool from a typed Python function: its schema from the signature, its description from the docstring.

Arguments are checked against the annotations before the function sees them, and its result must be something JSON can
carry: a model is told what was wrong in words, and never gets a repr for an answer.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints, overload

import msgspec

from rlm.core.exceptions import ConfigError, RLMError, ToolError
from rlm.core.foreign import Escaped, in_thread
from rlm.core.off_loop import off_loop_if_large
from rlm.core.types import Json, ToolSpec
from rlm.tools.docstrings import parameters_of, summary_of
from rlm.tools.schemas import from_json, schema_of, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BY_POSITION_OR_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionTool:
    """A Python function as a tool; calling the object calls the function."""

    function: Callable[..., Any]
    spec: ToolSpec
    reads_only: bool
    arguments: type[msgspec.Struct]
    """The parameters as a type, to which arguments are converted."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    async def call(self, arguments: Mapping[str, Json]) -> Json:
        """Check the arguments, run the function (a plain one in a thread), and return its result as JSON.

        Raises:
            ToolError: the arguments do not fit, the function raised, or its result has no JSON form.
        """
        given = await off_loop_if_large(self.convert, arguments)
        try:
            if inspect.iscoroutinefunction(self.function):
                result = await self.function(**given)
            else:
                result = await in_thread(partial(self.function, **given))
        except (RLMError, Escaped):
            raise
        except Exception as error:
            raise ToolError(f"{self.spec.name} failed: {type(error).__name__}: {error}") from error
        try:
            return await off_loop_if_large(to_json, result)
        except (TypeError, ValueError, RecursionError) as error:
            raise ToolError(f"{self.spec.name} returned what JSON cannot carry: {error}") from error

    def convert(self, arguments: Mapping[str, Json]) -> dict[str, Any]:
        """The arguments as the function takes them.

        Raises:
            ToolError: they do not fit; says which, and names all parameters.
        """
        try:
            struct = self._read(arguments)
        except ValueError as error:
            expected = ", ".join(self.spec.parameters["properties"]) or "none"
            raise ToolError(f"{self.spec.name}: {error}. Its arguments: {expected}.") from error
        return {name: getattr(struct, name) for name in self.arguments.__struct_fields__}

    def _read(self, arguments: Mapping[str, Json]) -> Any:
        """The arguments; where they don't fit, without those that say nothing. Raises ValueError."""
        try:
            return from_json(dict(arguments), self.arguments, strict=False)
        except ValueError:
            telling = self._telling(arguments)
            if telling == arguments:
                raise
            return from_json(telling, self.arguments, strict=False)

    def _telling(self, arguments: Mapping[str, Json]) -> dict[str, Json]:
        """The arguments without null for a parameter that has a default; empty where there are no parameters, and no
        argument has a value."""
        fields = msgspec.structs.fields(self.arguments)
        if not fields and not any(arguments.values()):
            return {}
        optional = {field.name for field in fields if not field.required}
        return {name: value for name, value in arguments.items() if value is not None or name not in optional}


@overload
def tool(function: Callable[..., Any], /) -> FunctionTool: ...
@overload
def tool(
    *, name: str | None = None, description: str | None = None, reads_only: bool = False
) -> Callable[[Callable[..., Any]], FunctionTool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    reads_only: bool = False,
) -> FunctionTool | Callable[[Callable[..., Any]], FunctionTool]:
    """Make a tool from a typed function, sync or async; use as `@tool` or `@tool(reads_only=True)`.

    The first paragraph of the docstring is the description, and its Google, NumPy or Sphinx part describes the
    parameters. `reads_only` says that it changes nothing, so that guest code may call it too. A sync function runs in
    a thread, which nothing can stop: a run that ends meanwhile names it in a warning and leaves it behind.

    Raises:
        ConfigError: a parameter has no annotation or one without a JSON form, or nothing describes the tool.
    """
    if function is None:
        return lambda function: _make(function, name, description, reads_only)
    return _make(function, name, description, reads_only)


def _make(function: Callable[..., Any], name: str | None, description: str | None, reads_only: bool) -> FunctionTool:
    name = name or str(getattr(function, "__name__", type(function).__name__))
    description = description or summary_of(function)
    if not description:
        raise ConfigError(f"tool {name!r} needs a description: a docstring, or @tool(description=...).")
    arguments = _arguments_of(function, name)
    try:
        parameters = {"properties": {}, **schema_of(arguments), "additionalProperties": False}
        del parameters["title"]
    except TypeError as error:
        raise ConfigError(f"tool {name!r} has a parameter without a JSON form: {error}") from error
    spec = ToolSpec(name=name, description=description, parameters=parameters)
    return FunctionTool(function=function, spec=spec, reads_only=reads_only, arguments=arguments)


def _arguments_of(function: Callable[..., Any], name: str) -> type[msgspec.Struct]:
    hints = _hints_of(function, name)
    described = parameters_of(function)
    fields: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind not in _BY_POSITION_OR_NAME:
            raise ConfigError(f"tool {name!r}: {parameter} cannot be given by name, as a model gives arguments.")
        if parameter.name not in hints:
            raise ConfigError(f"tool {name!r}: annotate the parameter {parameter.name!r} with its type.")
        kind = hints[parameter.name]
        if said := described.get(parameter.name):
            kind = Annotated[kind, msgspec.Meta(description=said)]
        fields.append((parameter.name, kind, *_default_of(parameter)))
    return msgspec.defstruct("Arguments", fields, kw_only=True, forbid_unknown_fields=True)


def _default_of(parameter: inspect.Parameter) -> tuple[Any, ...]:
    if parameter.default is inspect.Parameter.empty:
        return ()
    default = parameter.default
    # A mutable default is shared between calls of the function anyway, but msgspec wants it made anew.
    return (msgspec.field(default_factory=lambda: default),) if isinstance(default, (list, dict, set)) else (default,)


def _hints_of(function: Callable[..., Any], name: str) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigError(f"tool {name!r}: its annotations cannot be read: {error}") from error
