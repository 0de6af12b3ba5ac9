"""Which names code of a cell may bind, read and reach as attributes, and what to write instead of those it may not.

The same rules hold where the compiler sees a name and where a name is built at run time. It must import nothing of
the guest, so that every other part of the policy can use it.
"""

from __future__ import annotations

import unicodedata


def words(text: str) -> list[str]:
    """The words of a table."""
    return text.split()


DATA_PACKAGES = tuple(
    words(
        "bs4 dateutil lxml networkx numpy openpyxl pandas polars pyarrow pytz regex scipy sklearn statsmodels sympy "
        "tzdata xarray yaml"
    )
)
"""Packages for work on data: those of them that are installed may be imported where the kernel confines a guest."""

GUARDS = frozenset(
    words(
        "_getattr_ _load_ _load_private_ _write_ _write_private_ _import_ _import_from_ _metaclass_ _mark_ "
        "_getitem_ _getiter_ _unpack_sequence_ _iter_unpack_sequence_ _inplacevar_ _apply_ _print_ _print"
    )
)
"""What compiled cells call; code of a cell can neither see nor replace them."""

MARK = "_abc_rlm_foreign"
"""On each class of a cell: the private names it has from classes that no cell defined. (Protocols and Enums pass over
a descriptor of such a name.)
"""

INTROSPECTION = frozenset(
    words(
        "tb_frame tb_next f_back f_builtins f_code f_generator f_globals f_locals f_trace co_code gi_frame gi_code "
        "gi_yieldfrom cr_await cr_frame cr_code cr_origin ag_await ag_frame ag_code"
    )
)
"""Ways from a traceback, a generator or a coroutine to frames and code objects."""

WALK_OUTS = frozenset({"detach", "mro", "get_stack", "get_loop", "evaluate", "evaluate_value"})
"""Public methods that lead to open files, classes, frames and event loops, or evaluate text as code. Classes of cells
may have methods of these names.
"""

CHECKED = WALK_OUTS | {"format", "format_map"}
"""Public attributes whose value must be looked at even where it is called at once."""

_HOLDERS = frozenset({"obj", "parser"})
"""Public attributes of the standard library that may hold a module."""

_ARITHMETIC = words("add sub mul truediv floordiv mod divmod pow lshift rshift and xor or matmul")

_NAMED = words(
    "post_init repr str bytes format lt le eq ne gt ge hash bool call len length_hint getitem setitem delitem missing "
    "iter reversed next contains neg pos abs invert complex int float index round trunc floor ceil enter exit await "
    "aiter anext aenter aexit init_subclass class_getitem sizeof fspath copy deepcopy"
)

METHODS = frozenset(
    f"__{name}__" for name in (*_NAMED, *(f"{place}{name}" for name in _ARITHMETIC for place in ("", "r", "i")))
)
"""Special methods that a class may define and that may be called by name."""

DEFINED_ONLY = frozenset(
    words(
        "__init__ __new__ __getattr__ __setattr__ __delattr__ __get__ __set__ __delete__ __set_name__ __del__ __dir__"
    )
)
"""Special methods that a class may define; to read them there is a guard, or no way."""

CLASS_NAMES = METHODS | DEFINED_ONLY | {"__slots__", "__match_args__"}
"""Special names that may be bound in the body of a class."""

READABLE = METHODS | frozenset(
    words(
        "__name__ __qualname__ __doc__ __module__ __members__ __version__ __cause__ __context__ __suppress_context__ "
        "__notes__ __slots__ __match_args__ __class__ __dict__ __annotations__ __setattr__ __delattr__ __init__ "
        "__new__ __total__ __required_keys__ __optional_keys__"
    )
)
"""Special attributes that may be read, some of them as a guarded copy."""

SHARED_PRIVATE = frozenset(
    {"_asdict", "_replace", "_fields", "_make", "_field_defaults"}  # namedtuple's public interface
    | {"_value_", "_name_", "_missing_", "_generate_next_value_", "_ignore_", "_order_"}  # that of Enum
    | {"_target", "_args", "_kwargs"}  # of Thread, read by subclasses that keep a result
)
"""Names with one underscore that libraries mean for their users."""

INSTEAD = {
    "__builtins__": "the builtins are there by their plain names",
    "__subclasses__": "name the classes you need",
    "__globals__": "use globals()",
    "__mro__": "use isinstance or issubclass",
    "__bases__": "use isinstance or issubclass",
    "__import__": "use an import statement",
    "__traceback__": "use traceback.format_exc()",
    "tb_frame": "use traceback.format_exc()",
    "tb_next": "use traceback.format_exc()",
    "__getattribute__": "use getattr(), or define __getattr__",
    "__file__": "a cell is not a file",
    "__code__": "use ast.parse on source text",
    "mro": "use isinstance or issubclass",
    "get_loop": "use asyncio.create_task, asyncio.gather or asyncio.to_thread",
}
"""What to write instead of a refused name."""


def hint(name: str) -> str:
    """What to write instead, ready to be appended to a message; empty where there is nothing to say."""
    return f"; {INSTEAD[name]}" if name in INSTEAD else ""


def is_special(name: str) -> bool:
    """Whether a name begins and ends with two underscores."""
    return name.startswith("__") and name.endswith("__") and name != "__"


def is_private(name: str) -> bool:
    """Whether a name begins with an underscore without being special; `_` alone is an ordinary name."""
    return name.startswith("_") and not is_special(name) and name != "_"


def attribute_refusal(name: str) -> str | None:
    """Why an attribute of this name can't be read, whatever it is of; None where it may be."""
    if name == MARK or name in INTROSPECTION or (is_special(name) and name not in READABLE):
        return f"attribute {name!r} is not available here{hint(name)}"
    return None


def written_refusal(name: str) -> str | None:
    """Why an attribute of this name can't be set or deleted; None where it may be."""
    if name == MARK or is_special(name) or name in INTROSPECTION:
        return f"attribute {name!r} cannot be set or deleted here{hint(name)}"
    return None


def binding_refusal(name: str, *, in_class: bool = False) -> str | None:
    """Why a variable, argument, function or class can't have this name; None where it may."""
    if name == MARK or name in GUARDS or name in INTROSPECTION:
        return f"the name {name!r} is reserved; choose another"
    if is_special(name) and not (in_class and name in CLASS_NAMES):
        return f"the name {name!r} is not available here{hint(name)}"
    return None


def field_refusal(name: str) -> str | None:
    """Why a field that is named at run time can't have this name: source text is generated from it."""
    if unicodedata.normalize("NFKC", name) != name or not name.isidentifier():
        return f"{name!r} is not a plain identifier"
    return binding_refusal(name)


def pattern_refusal(name: str) -> str | None:
    """Why a class pattern can't read this attribute: its value reaches the code unguarded."""
    if name.startswith("_") or name in CHECKED or name in _HOLDERS:
        return f"attribute {name!r} cannot be matched in a pattern; test it with an if inside the case"
    return attribute_refusal(name)
