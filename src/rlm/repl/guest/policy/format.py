"""`str.format` without its way around the policy: the attributes that a template names are read by the guard."""

from __future__ import annotations

import _string  # type: ignore[import-not-found]
import re
import string
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_REACHES_IN = re.compile(r"\{[^{}:!]*[.\[]")
"""A field that names an attribute or an item; without one the builtin is safe, and ten times as fast."""


def reaches_in(template: str) -> bool:
    """A field of the template may name an attribute or an item."""
    return _REACHES_IN.search(template) is not None


class Formatting:
    """The guarded methods, over a function that reads an attribute under the policy."""

    def __init__(self, read: Callable[[Any, str], Any]) -> None:
        self._formatter = _Formatter(read)
        self._guarded = {"format": self.format, "format_map": self.format_map}

    def format(self, template: str, /, *args: Any, **kwargs: Any) -> str:
        """`template.format(...)`. Raises:
        AttributeError: the template names an attribute that isn't for cells.
        """
        if not reaches_in(template):
            return str.format(template, *args, **kwargs)
        return self._formatter.vformat(str.__str__(template), args, kwargs)

    def format_map(self, template: str, mapping: Mapping[str, Any], /) -> str:
        """`template.format_map(mapping)`; raises as `format`."""
        if not reaches_in(template):
            return str.format_map(template, mapping)
        return self._formatter.vformat(str.__str__(template), (), mapping)

    def guarded(self, method: Any) -> Any:
        """The same method, or the guarded one if it is that of a str, bound or not."""
        if isinstance(method, types.MethodDescriptorType) and method.__objclass__ is str:
            return self._guarded.get(method.__name__, method)
        if not isinstance(method, types.BuiltinMethodType) or not isinstance(method.__self__, str):
            return method
        function, template = self._guarded.get(method.__name__), method.__self__
        return method if function is None else lambda *args, **kwargs: function(template, *args, **kwargs)


class _Formatter(string.Formatter):
    def __init__(self, read: Callable[[Any, str], Any]) -> None:
        self._read = read

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        first, rest = _string.formatter_field_name_split(field_name)
        found = self.get_value(first, args, kwargs)
        for is_attribute, key in rest:
            found = self._read(found, key) if is_attribute else found[key]
        return found, first
