"""The builtins of a cell under `relaxed`: those that are safe, guarded ones, and refusals that say what to do.

It must give no builtin that opens, evaluates or imports by text.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, NoReturn

from rlm.repl.guest.policy import classes, guards, names

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN = names.words(
    "None True False Ellipsis NotImplemented abs aiter all anext any ascii bin bool bytearray bytes callable chr "
    "classmethod complex dict divmod enumerate filter float format frozenset hash hex id int isinstance issubclass "
    "iter len list map max memoryview min next object oct ord pow print property range repr reversed round set slice "
    "sorted staticmethod str sum super tuple zip"
)

REFUSED = {
    "open": "files cannot be opened here; use `context`, the file tools, or io.StringIO",
    "exec": "write the code in a cell",
    "eval": "use ast.literal_eval for literals, or write the expression in a cell",
    "compile": "use ast.parse for source text, re.compile for patterns",
    "input": "nobody can answer; use `context`, or ask a model with llm_query",
    "breakpoint": "print what you want to see",
    "help": "print(thing.__doc__) shows its documentation",
    "exit": "FINAL(value) ends the run",
    "quit": "FINAL(value) ends the run",
}


class Globals(MutableMapping[str, Any]):
    """The variables of the REPL, as `globals()` gives them: without what the policy keeps there."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace

    def __getitem__(self, name: str) -> Any:
        if not _is_shown(name):
            raise KeyError(name)
        return self._namespace[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._check(name)
        self._namespace[name] = value

    def __delitem__(self, name: str) -> None:
        self._check(name)
        del self._namespace[name]

    def __iter__(self) -> Iterator[str]:
        return iter([name for name in self._namespace if _is_shown(name)])

    def __len__(self) -> int:
        return sum(1 for _name in self)

    def __repr__(self) -> str:
        return repr(dict(self))

    def _check(self, name: str) -> None:
        refusal = names.binding_refusal(name) if type(name) is str else "variable names must be str"
        if refusal is not None:
            raise KeyError(refusal)


classes.conceal(Globals)


def _is_shown(name: object) -> bool:
    return type(name) is str and names.binding_refusal(name) is None


def make(writer: guards.Writer) -> dict[str, Any]:
    """Fresh builtins for one REPL."""
    exceptions = {n: v for n, v in vars(builtins).items() if isinstance(v, type) and issubclass(v, BaseException)}
    made = {
        **{name: getattr(builtins, name) for name in _PLAIN},
        **exceptions,
        **{name: _refusal(name, advice) for name, advice in REFUSED.items()},
        "__build_class__": classes.build_class,
        "__debug__": True,
        "type": classes.TYPE,
        "getattr": guards.read,
        "hasattr": guards.has,
        "setattr": writer.set,
        "delattr": writer.delete,
    }
    made.update(_scopes(made))
    return made


def _refusal(name: str, advice: str) -> Callable[..., NoReturn]:
    def refused(*_args: Any, **_kwargs: Any) -> NoReturn:
        raise NameError(f"{name}() is not available here; {advice}", name=name)

    refused.__name__ = refused.__qualname__ = name
    return refused


def _scopes(of_cells: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """`globals`, `locals`, `vars` and `dir`, which look at the code that calls them: it must run on these builtins."""

    def seen_by_cell(*, everywhere: bool) -> Any:
        frame = sys._getframe(2)
        if frame.f_builtins is not of_cells:
            raise RuntimeError("only code of a cell can ask for its variables")
        if everywhere or frame.f_locals is frame.f_globals:
            return Globals(frame.f_globals)
        return {name: value for name, value in frame.f_locals.items() if _is_shown(name)}

    def global_names() -> Globals:
        found: Globals = seen_by_cell(everywhere=True)
        return found

    def local_names() -> Any:
        return seen_by_cell(everywhere=False)

    def variables_of(*target: Any) -> Any:
        return guards.attributes(*target) if target else seen_by_cell(everywhere=False)

    def attribute_names(*target: Any) -> list[str]:
        listed = builtins.dir(*target) if target else seen_by_cell(everywhere=False)
        return sorted(name for name in listed if not name.startswith("_"))

    return {"globals": global_names, "locals": local_names, "vars": variables_of, "dir": attribute_names}
