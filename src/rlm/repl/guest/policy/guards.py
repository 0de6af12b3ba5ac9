"""What compiled cells call at run time to read and write attributes.

Each guard decides by the real type of an object, never by what the object says of itself. It must return no module,
frame or code object, and no method that would format text with attribute access.
"""

from __future__ import annotations

import ast
import decimal
import enum
import functools
import io
import logging
import threading
import types
from typing import TYPE_CHECKING, Any, NoReturn
from xml.etree import ElementTree as ET

from rlm.repl.guest.policy import classes, names
from rlm.repl.guest.policy.format import Formatting

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_UNREACHABLE = frozenset({types.ModuleType, types.FrameType, types.CodeType, io.FileIO})
"""Objects of these types are never handed to a cell."""

_MARK = names.MARK


class _All:
    """Contains every name: those of a class that no cell defined."""

    def __contains__(self, _name: object) -> bool:
        return True


_ALL = _All()

_WRITABLE = (
    types.SimpleNamespace,
    types.FunctionType,
    functools._lru_cache_wrapper,
    threading.local,
    threading.Thread,
    decimal.Context,
    ET.Element,
    ast.AST,
    logging.Logger,
    Exception,
)
"""Library objects whose attributes a cell may set; others only where the user allowed their package."""

_TUPLE_NAMES = frozenset({"_asdict", "_replace", "_fields", "_make", "_field_defaults"})
_ENUM_NAMES = frozenset({"_value_", "_name_", "_missing_", "_generate_next_value_"})


def _refuse(message: str | None) -> None:
    if message is not None:
        raise AttributeError(message)


def checked(value: Any, name: str) -> Any:
    """The value of an attribute, if a cell may have it. Raises:
    AttributeError: it is a module, a frame, a code object or an open file.
    """
    if type(value) in _UNREACHABLE:
        raise AttributeError(f"{name!r} is a {type(value).__name__}, which code here cannot use; import what you need")
    return value


def load(target: Any, name: str) -> Any:
    """`target.name`, for a public name that the compiler has passed."""
    value = getattr(target, name)
    if type(value) in _UNREACHABLE:
        checked(value, name)
    return value


def load_private(target: Any, name: str) -> Any:
    """`target._name`; the short way for an instance of a class that a cell defined, otherwise as `read`."""
    if name in getattr(type(target), _MARK, _ALL):
        return read(target, name)
    value = getattr(target, name)
    if type(value) in _UNREACHABLE:
        checked(value, name)
    return value


def read(target: Any, name: str, *default: Any) -> Any:
    """`getattr` for names of any kind. Raises:
    AttributeError: the attribute does not exist, or is not for cells.
    """
    if type(name) is not str:
        raise TypeError(f"attribute name must be str, not {type(name).__name__}")
    _refuse(names.attribute_refusal(name) or _walk_out(target, name))
    if names.is_private(name):
        _refuse(_private_refusal(target, name))
    guarded = _GUARDED.get(name)
    return checked(getattr(target, name, *default), name) if guarded is None else guarded(target, *default)


def has(target: Any, name: str) -> bool:
    """`hasattr` over what `read` gives."""
    try:
        read(target, name)
    except AttributeError:
        return False
    return True


def _class_of(target: Any) -> type:
    """The class whose attributes a target shows: itself if it is one, that of the instance behind a super()."""
    kind = type(target)
    if kind is super:
        shown = target.__self_class__
        return shown if isinstance(shown, type) else object
    return target if issubclass(kind, type) else kind


def _walk_out(target: Any, name: str) -> str | None:
    if name not in names.WALK_OUTS or classes.defines(target if isinstance(target, type) else type(target), name):
        return None
    return f"attribute {name!r} is not available here{names.hint(name)}"


def _private_refusal(target: Any, name: str) -> str | None:
    kind = _class_of(target)
    foreign = classes.foreign_names(kind)
    if foreign is not None and name not in foreign:
        return None
    if (name in _TUPLE_NAMES and issubclass(kind, tuple)) or (name in _ENUM_NAMES and issubclass(kind, enum.Enum)):
        return None
    return f"{name!r} is private to {kind.__name__}; use its public attributes"


def _class_attribute(target: Any, *_default: Any) -> type:
    return classes.type_of(target)


def _annotations(target: Any, *default: Any) -> Any:
    found = getattr(target, "__annotations__", *(default or ({},)))
    return {name: classes.shown(value) for name, value in found.items()}


def _init(target: Any, *_default: Any) -> Any:
    """Only of classes and of objects that a cell defined: to initialise a file object again opens another file."""
    if issubclass(type(target), (type, super)) or classes.is_marked(type(target)):
        return target.__init__
    raise AttributeError(f"an instance of {type(target).__name__} cannot be initialised again; make a new one")


def _new(target: Any, *_default: Any) -> Any:
    if isinstance(target, type) and issubclass(target, type):
        _refuse("classes are made by class statements here")
    return target.__new__


class Attributes(dict[str, Any]):
    """The attributes of an object as they were; to change one, set it on the object."""

    def _read_only(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        raise TypeError("this is a copy of the attributes; use setattr(obj, name, value)")

    __setitem__ = __delitem__ = __ior__ = _read_only
    update = setdefault = pop = popitem = clear = _read_only


def attributes(target: Any, *_default: Any) -> Attributes:
    """A copy of `target.__dict__`. Raises:
    AttributeError: it isn't an object that a cell defined.
    """
    kind = _class_of(target)
    foreign = classes.foreign_names(kind)
    if foreign is None and not issubclass(kind, (types.SimpleNamespace, Exception)):
        raise AttributeError(f"__dict__ of {kind.__name__} is not available here; name the attributes you need")
    found = {} if type(target) is super else dict(target.__dict__)
    shown = {n: v for n, v in found.items() if names.written_refusal(n) is None and n not in (foreign or ())}
    return Attributes((n, v) for n, v in shown.items() if type(v) not in _UNREACHABLE)


class Writer:
    """Decides whose attributes a cell may set; one per policy, since the user allows packages."""

    def __init__(self, packages: Collection[str]) -> None:
        self._packages = frozenset(packages)

    def public(self, target: Any) -> Any:
        """The target of an assignment to a public attribute. Raises:
        AttributeError: its attributes are read-only to cells.
        """
        kind = type(target)
        if hasattr(kind, _MARK) or self._is_writable(target, kind):
            return target
        shown = target.__name__ if isinstance(target, type) else kind.__name__
        raise AttributeError(f"attributes of {shown} are read-only here; keep the value in a variable of your own")

    def _is_writable(self, target: Any, kind: type) -> bool:
        if issubclass(kind, type):
            return classes.is_marked_itself(target)
        if issubclass(kind, BaseExceptionGroup):
            return False
        return issubclass(kind, _WRITABLE) or str(kind.__module__).partition(".")[0] in self._packages

    def private(self, target: Any, name: str) -> Any:
        """The target of an assignment to an attribute that begins with one underscore; raises as `public`."""
        if name in getattr(type(target), _MARK, _ALL):
            _refuse(_private_refusal(target, name))
        return self.public(target)

    def check(self, target: Any, name: str) -> None:
        """Whether an attribute of this name may be set or deleted; raises as `public`."""
        if type(name) is not str:
            raise TypeError(f"attribute name must be str, not {type(name).__name__}")
        _refuse(names.written_refusal(name))
        if names.is_private(name):
            self.private(target, name)
        self.public(target)

    def set(self, target: Any, name: str, value: Any) -> None:
        """`setattr` under the policy."""
        self.check(target, name)
        setattr(target, name, value)

    def delete(self, target: Any, name: str) -> None:
        """`delattr` under the policy."""
        self.check(target, name)
        delattr(target, name)


def _special_writer(method: str) -> Callable[..., Any]:
    """Reading `__setattr__` or `__delattr__`: a function that checks the name and then does the same."""

    def guarded(target: Any, *_default: Any) -> Callable[..., None]:
        inner = getattr(target, method)
        behind = getattr(target, "__self__", None) if type(target) is super else target

        def of_instance(name: str, *value: Any) -> None:
            _OWN.check(behind, name)
            inner(name, *value)

        def of_class(instance: Any, name: str, *value: Any) -> None:
            _OWN.check(instance, name)
            inner(instance, name, *value)

        return of_class if isinstance(target, type) else of_instance

    return guarded


_OWN = Writer(())
_FORMATTING = Formatting(read)

_GUARDED: dict[str, Callable[..., Any]] = {
    "__class__": _class_attribute,
    "__annotations__": _annotations,
    "__init__": _init,
    "__new__": _new,
    "__dict__": attributes,
    "__setattr__": _special_writer("__setattr__"),
    "__delattr__": _special_writer("__delattr__"),
    "format": lambda target, *default: _FORMATTING.guarded(getattr(target, "format", *default)),
    "format_map": lambda target, *default: _FORMATTING.guarded(getattr(target, "format_map", *default)),
}
