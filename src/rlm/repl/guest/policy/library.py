"""Guarded stand-ins for functions of the standard library that read, set or evaluate what they are named at run time.

Each does what its original does for ordinary names. None may pass on a name or a text that the policy hasn't seen.
"""

from __future__ import annotations

import ast
import collections
import contextlib
import copy
import dataclasses
import functools
import importlib
import inspect
import logging
import sys
import typing
from collections.abc import Mapping
from types import FunctionType
from typing import IO, TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from rlm.repl.guest.policy import classes, guards, names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_LIBRARY_STATE = frozenset(
    names.words(
        "__orig_class__ __notes__ __module__ __name__ __qualname__ __doc__ __wrapped__ __annotations__ __annotate__ "
        "__type_params__"
    )
)
"""Special names that typing, exceptions and functools keep in an instance's own dict."""

_REDUCERS = frozenset({"__copy__", "__deepcopy__", "__reduce__", "__reduce_ex__"})

_WRITER = guards.Writer(())


def _require(refusal: str | None) -> None:
    if refusal is not None:
        raise ValueError(refusal)


def attrgetter(*paths: str) -> Callable[[Any], Any]:
    """`operator.attrgetter`; each step is read under the policy."""
    if not paths or any(type(path) is not str for path in paths):
        raise TypeError("attrgetter takes attribute names")
    steps = [path.split(".") for path in paths]

    def get(target: Any) -> Any:
        found = [functools.reduce(guards.read, way, target) for way in steps]
        return found[0] if len(found) == 1 else tuple(found)

    return get


def methodcaller(name: str, /, *args: Any, **kwargs: Any) -> Callable[[Any], Any]:
    """`operator.methodcaller`; the method is read under the policy."""
    return lambda target: guards.read(target, name)(*args, **kwargs)


def update_wrapper(wrapper: Any, wrapped: Any) -> Any:
    """`functools.update_wrapper` for the usual attributes; what it takes over from objects of a cell is text."""
    if isinstance(wrapper, type):
        raise TypeError("only a function or an object can be made to look like another")
    _WRITER.public(wrapper)
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        if isinstance(value := getattr(wrapped, name, None), str):
            setattr(wrapper, name, value)
    if type(wrapper) is type(wrapped) is FunctionType:
        wrapper.__annotations__ = dict(wrapped.__annotations__)
        wrapper.__dict__.update(wrapped.__dict__)
    wrapper.__wrapped__ = wrapped
    return wrapper


def wraps(wrapped: Any) -> Callable[[Any], Any]:
    """`functools.wraps` for the usual attributes."""
    return lambda wrapper: update_wrapper(wrapper, wrapped)


def singledispatch(function: Callable[..., Any]) -> Callable[..., Any]:
    """`functools.singledispatch`, whose `register` doesn't evaluate annotations that are text."""
    dispatcher = functools.singledispatch(function)
    original: Callable[..., Any] = dispatcher.register

    def register(kind: Any, implementation: Callable[..., Any] | None = None) -> Any:
        if implementation is not None or isinstance(kind, type) or not callable(kind):
            return original(kind, implementation)
        annotated = next((v for k, v in kind.__annotations__.items() if k != "return"), None)
        if annotated is None or isinstance(annotated, str):
            raise TypeError("name the type: @function.register(int)")
        return original(annotated, kind)

    dispatcher.register = register  # type: ignore[method-assign,assignment]
    return dispatcher


def namedtuple(
    typename: str,
    field_names: str | Iterable[str],
    *,
    rename: bool = False,
    defaults: Iterable[Any] | None = None,
    module: object = None,  # noqa: ARG001 - a cell's class is always of the REPL
) -> type:
    """`collections.namedtuple`; field names must be plain."""
    split = field_names.replace(",", " ").split() if isinstance(field_names, str) else field_names
    fields = [str.__str__(name) for name in split]
    for name in (typename, *(field for field in fields if field.isidentifier() or not rename)):
        _require(names.field_refusal(name))
    make: Callable[..., type] = vars(collections)["namedtuple"]  # a type checker wants literals
    made = make(typename, fields, rename=rename, defaults=defaults, module=classes.MODULE_NAME)
    classes.mark(made)
    return made


def dataclass(kind: type | None = None, /, **options: bool) -> Any:
    """`dataclasses.dataclass` for classes that a cell defined."""
    if kind is None:
        return lambda decorated: dataclass(decorated, **options)
    if not (isinstance(kind, type) and classes.is_marked_itself(kind)):
        raise TypeError("only a class defined here can be made a dataclass")
    _check_fields(kind)
    return _with_plain_match_args(dataclasses.dataclass(kind, **options))


def _check_fields(kind: type) -> None:
    """Source text is generated from the names of fields, those of base classes included."""
    for name in _annotations(kind):
        _require(names.field_refusal(str.__str__(name)))
    for base in kind.__mro__:
        for field in base.__dict__.get("__dataclass_fields__", {}).values():
            _require(None if type(field) is dataclasses.Field else f"{base.__name__} has a field of its own making")
            _require(names.field_refusal(field.name))


def _annotations(kind: type) -> Mapping[str, Any]:
    if sys.version_info >= (3, 14):
        annotationlib = importlib.import_module("annotationlib")  # unknown to older Pythons
        return annotationlib.get_annotations(kind, format=annotationlib.Format.FORWARDREF)
    return inspect.get_annotations(kind)


def make_dataclass(
    cls_name: str,
    fields: Iterable[Any],
    *,
    bases: Iterable[type] = (),
    namespace: Mapping[str, Any] | None = None,
    **options: bool,
) -> type:
    """`dataclasses.make_dataclass`; source text is generated from the names, so they must be plain."""
    parts = [(field,) if isinstance(field, str) else tuple(field) for field in fields]
    body = dict(namespace or {})
    for name in (cls_name, *(part[0] for part in parts)):
        _require(names.field_refusal(str.__str__(name)))
    for name in body:
        _require(names.binding_refusal(str.__str__(name), in_class=name != "__match_args__"))
    plain = [(str.__str__(part[0]), *(part[1:] or (Any,))) for part in parts]
    parents = classes.check_bases(bases)
    for parent in parents:
        _check_fields(parent)
    options.pop("module", None)
    made = dataclasses.make_dataclass(cls_name, plain, bases=parents, namespace=body, **options)
    made.__module__ = classes.MODULE_NAME
    classes.mark(made)
    return _with_plain_match_args(made)


def _with_plain_match_args(kind: type) -> type:
    """Without the positions from the first that a pattern may not read."""
    positions: tuple[str, ...] = kind.__dict__.get("__match_args__", ())
    refused = [at for at, name in enumerate(positions) if names.pattern_refusal(name)]
    if refused:
        type.__setattr__(kind, "__match_args__", positions[: refused[0]])
    return kind


def get_type_hints(target: Any, *_args: Any, **_kwargs: Any) -> dict[str, Any]:
    """`typing.get_type_hints`, but annotations that are text stay text."""
    bases = reversed(target.__mro__) if isinstance(target, type) else (target,)
    found = {name: hint for base in bases for name, hint in getattr(base, "__annotations__", {}).items()}
    return {name: classes.shown(hint) for name, hint in found.items()}


def get_origin(kind: Any) -> Any:
    """`typing.get_origin`, which knows the real `type`."""
    return classes.shown(typing.get_origin(kind))


def get_args(kind: Any) -> tuple[Any, ...]:
    """`typing.get_args`; annotations of the library hold the real `type`."""
    return tuple(_shown_within(part) for part in typing.get_args(kind))


def _shown_within(part: Any) -> Any:
    return [_shown_within(item) for item in part] if isinstance(part, list) else classes.shown(part)


def iter_fields(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """`ast.iter_fields` of real nodes: it reads whatever the node calls its fields."""
    if type(node).__module__ not in {"ast", "_ast"}:
        raise TypeError("iter_fields takes a node of a syntax tree")
    return ast.iter_fields(node)


def redirect_stdout(target: IO[str]) -> contextlib.redirect_stdout[IO[str]]:
    """`contextlib.redirect_stdout`, as a function: its subclasses could set any attribute of sys."""
    return contextlib.redirect_stdout(target)


def redirect_stderr(target: IO[str]) -> contextlib.redirect_stderr[IO[str]]:
    """`contextlib.redirect_stderr`, as a function."""
    return contextlib.redirect_stderr(target)


def basic_config(**options: Any) -> None:
    """`logging.basicConfig` without files and handlers."""
    refused = options.keys() - {"level", "format", "datefmt", "force"}
    if refused:
        raise ValueError(f"logging.basicConfig takes level, format, datefmt and force here, not {sorted(refused)}")
    logging.basicConfig(**options)


class GuardedTree:
    """`ElementTree.ElementTree` over file objects; it opens no file."""

    def __init__(self, element: ET.Element | None = None) -> None:
        self._root = element

    def getroot(self) -> Any:
        """The root element."""
        return self._root

    def find(self, path: str, namespaces: dict[str, str] | None = None) -> ET.Element | None:
        """The first element that matches."""
        return self.getroot().find(path, namespaces)  # type: ignore[no-any-return]

    def findall(self, path: str, namespaces: dict[str, str] | None = None) -> list[ET.Element]:
        """All elements that match."""
        return self.getroot().findall(path, namespaces)  # type: ignore[no-any-return]

    def findtext(self, path: str, default: str | None = None, namespaces: dict[str, str] | None = None) -> str | None:
        """The text of the first element that matches."""
        return self.getroot().findtext(path, default, namespaces)  # type: ignore[no-any-return]

    def iter(self, tag: str | None = None) -> Iterator[ET.Element]:
        """All elements below the root, itself included."""
        return self.getroot().iter(tag)  # type: ignore[no-any-return]

    def write(self, file: IO[Any], encoding: str = "us-ascii", **options: Any) -> None:
        """Write to a file object; a path is refused."""
        ET.ElementTree(self.getroot()).write(_file_object(file), encoding, **options)


def parse_xml(source: IO[Any], parser: ET.XMLParser | None = None) -> GuardedTree:
    """`ElementTree.parse` of a file object."""
    return GuardedTree(ET.parse(_file_object(source), parser).getroot())  # noqa: S314 - expat refuses entity bombs; memory is bounded


def _file_object(given: Any) -> Any:
    if hasattr(type(given), "read") or hasattr(type(given), "write"):
        return given
    raise TypeError("files cannot be opened here; pass io.StringIO(text), or use ElementTree.fromstring(text)")


def guard_copying() -> None:
    """Keep `copy`, for the whole process, from setting what a cell smuggled into an instance's own dict.

    Not a copy of the module for cells alone: `dataclasses.asdict` and C code call the original.
    """
    original = copy._reconstruct  # type: ignore[attr-defined]
    if getattr(original, "guards", False):
        return

    def reconstruct(copied: Any, memo: Any, make: Any, args: Any, state: Any = None, *rest: Any, **kwargs: Any) -> Any:
        _check_state(copied, state)
        return original(copied, memo, make, args, state, *rest, **kwargs)

    reconstruct.guards = True  # type: ignore[attr-defined]
    copy._reconstruct = reconstruct  # type: ignore[attr-defined]


def _check_state(copied: Any, state: Any) -> None:
    own = getattr(copied, "__dict__", None)
    if isinstance(own, dict) and not _REDUCERS.isdisjoint(own):
        raise TypeError("an object that says how to copy it cannot be copied here; define __copy__ or __deepcopy__")
    parts: tuple[Any, ...] = (state,)
    if isinstance(state, tuple) and len(state) == 2 and not hasattr(type(copied), "__setstate__"):
        parts = tuple(tuple.__iter__(state))  # the second is set attribute by attribute
        if not all(part is None or type(part) is dict for part in parts):
            raise TypeError("this object cannot be copied here")
    for part in parts:
        if isinstance(part, Mapping) or classes.is_marked(type(part)):
            _check_keys(part)


def _check_keys(state: Any) -> None:
    if type(state) is not dict:
        raise TypeError("this object cannot be copied here")
    for name in state:
        if isinstance(name, str) and (type(name) is not str or _is_smuggled(name)):
            raise TypeError(f"an object with an attribute {name!r} cannot be copied here")


def _is_smuggled(name: str) -> bool:
    return name not in _LIBRARY_STATE and names.written_refusal(name) is not None
