"""Classes that cells define, and the types they may hold: which bases are allowed, and what `type` is to a cell.

A class that a cell defines carries a mark that no code of a cell can set, so that its attributes can be told from those
of libraries. It must never hand out a real metaclass: with one, a class could be made past the compiler.
"""

from __future__ import annotations

import abc
import builtins
import contextlib
import dataclasses
import enum
import functools
import io
import string
import types
from typing import TYPE_CHECKING, Any

from rlm.repl.guest.policy import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MODULE_NAME = "__repl__"
"""The `__module__` of classes that cells define."""

_FINAL = (
    BaseExceptionGroup,  # `except*` trusts what a subclass's split returns
    contextlib.redirect_stdout,  # sets the attribute of sys that a subclass names
    contextlib.redirect_stderr,
    enum.property,  # reads the attribute that it is named
    dataclasses.Field,  # source text is generated from its name
    functools.cached_property,  # writes into __dict__ under a name of its own
    functools.partialmethod,
    functools.singledispatchmethod,
    io.TextIOWrapper,
    string.Formatter,
)
"""Classes whose subclasses could leave the policy."""


class _StandInType(type):
    """The class of stand-ins: each answers isinstance, issubclass and comparison for the class it stands for."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is TYPE and len(args) == 1 and not kwargs:
            return type_of(args[0])
        raise TypeError(f"{cls.__name__}() cannot make objects here; write a class statement or a def")

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _REAL[cls])

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(_REAL.get(subclass, subclass), _REAL[cls])

    def __repr__(cls) -> str:
        return repr(_REAL[cls])


_REAL: dict[type, type] = {}
"""What each stand-in stands for; kept here, since a cell can read the attributes of the stand-in."""


def _stand_in(real: type) -> _StandInType:
    made = _StandInType(real.__name__, (), {"__slots__": (), "__class_getitem__": classmethod(types.GenericAlias)})
    _REAL[made] = real
    return made


TYPE = _stand_in(type)
ABC_META = _stand_in(abc.ABCMeta)

_STAND_INS: dict[type, _StandInType] = {type: TYPE, abc.ABCMeta: ABC_META} | {
    real: _stand_in(real)
    for real in (
        types.FunctionType, types.CodeType, types.ModuleType, types.FrameType, types.TracebackType, types.CellType,
        io.FileIO,
    )
}  # fmt: skip


def conceal(kind: type) -> None:
    """Make `type(x)` give a stand-in for this class."""
    _STAND_INS[kind] = _stand_in(kind)


def type_of(value: object) -> type:
    """`type(value)`, but a stand-in where the real class makes functions, modules or classes."""
    kind = type(value)
    if kind in _STAND_INS:
        return _STAND_INS[kind]
    return TYPE if issubclass(kind, type) else kind


def shown(value: Any) -> Any:
    """The value, or the stand-in if it is a class that cells don't hold, or is called as one is (`type[Any]`)."""
    if type(value) is types.GenericAlias:
        return TYPE if isinstance(value.__origin__, type) and issubclass(value.__origin__, type) else value
    if not isinstance(value, type):
        return value
    return _STAND_INS.get(value) or (TYPE if issubclass(value, type) and value not in _REAL else value)


def metaclass_of(given: object) -> type:
    """What `metaclass=` stands for. Raises:
    TypeError: it is anything but ABCMeta.
    """
    if given is ABC_META:
        return abc.ABCMeta
    if given is TYPE:
        return type
    raise TypeError("metaclass= takes ABCMeta only; use a class decorator or __init_subclass__ instead")


def build_class(body: Callable[..., Any], name: str, /, *bases: Any, **keywords: Any) -> Any:
    """Make and mark a class that a cell defines. Raises:
    TypeError: a base can't be subclassed here.
    """
    check_bases(bases)
    made = builtins.__build_class__(body, name, *bases, **keywords)
    mark(made)
    return made


def check_bases(bases: Iterable[Any]) -> tuple[Any, ...]:
    """The bases as given. Raises:
    TypeError: one can't be subclassed here.
    """
    given = tuple(bases)
    for base in given:
        if is_marked(type(base)) or _says_its_bases(base):  # they could be others each time
            raise TypeError(f"an instance of {type(base).__name__} is not a base class")
    for base in types.resolve_bases(given):
        _check_base(base)
    return given


def _says_its_bases(base: object) -> bool:
    """An object of a library into which a cell has put `__mro_entries__`; NamedTuple and TypedDict are functions."""
    own = () if isinstance(base, (type, types.FunctionType)) else getattr(base, "__dict__", ())
    return "__mro_entries__" in own


def _check_base(base: object) -> None:
    if not isinstance(base, type):
        raise TypeError(f"{base!r} is not a base class")
    if isinstance(base, _StandInType) or issubclass(base, (type, *_FINAL)):
        raise TypeError(f"{base.__name__} cannot be subclassed here; hold an instance of it instead")


class Mark:
    """What the body of a class in a cell ends with: instances made while the class is made are of a cell, too."""

    def __get__(self, _instance: object, owner: type) -> frozenset[str]:
        return frozenset(_foreign_names(owner))


def mark(made: object) -> None:
    """Tell a class of a cell from those of libraries."""
    if isinstance(made, type):
        type.__setattr__(made, names.MARK, frozenset(_foreign_names(made)))


def is_marked(kind: type) -> bool:
    """Whether a cell defined this class, or a class that it derives from."""
    return hasattr(kind, names.MARK)


def is_marked_itself(kind: type) -> bool:
    """Whether a cell defined this very class."""
    return names.MARK in kind.__dict__


def foreign_names(kind: type) -> frozenset[str] | None:
    """The private names that a class of a cell has from libraries; None for a class that no cell defined."""
    found: frozenset[str] | None = getattr(kind, names.MARK, None)
    return found


def defines(kind: type, name: str) -> bool:
    """Whether a cell defined the attribute of this name, of the class or of an instance."""
    for base in (*kind.__mro__, *_metaclasses(kind)):
        if name in base.__dict__:
            return is_marked_itself(base)
    return is_marked(kind)


def _foreign_names(made: type) -> set[str]:
    """Also those that a cell defines again, for the library's methods may put their own values there; and a class
    shows the names of its metaclass.
    """
    bases = (*made.__mro__[1:], *_metaclasses(made))
    libraries = (base for base in bases if base not in (object, type) and not is_marked_itself(base))
    return {name for base in libraries for name in _private_names(base)} - names.SHARED_PRIVATE


def _metaclasses(kind: type) -> tuple[type, ...]:
    metaclass: type = type(kind)
    return metaclass.__mro__


@functools.cache
def _private_names(base: type) -> frozenset[str]:
    """The private attributes of a library's class: those of the class, and those that its methods use."""
    used = set(base.__dict__)
    for function in _functions(base.__dict__.values()):
        used |= _names_used(function.__code__)
    return frozenset(name for name in used if names.is_private(name))


def _functions(members: Iterable[Any]) -> Iterator[types.FunctionType]:
    for member in members:
        parts = (member, *(getattr(member, part, None) for part in ("__func__", "fget", "fset", "fdel", "func")))
        yield from (part for part in parts if isinstance(part, types.FunctionType))


def _names_used(code: types.CodeType) -> set[str]:
    used = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            used |= _names_used(constant)
    return used
