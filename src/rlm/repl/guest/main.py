"""The guest's main loop: binds the functions of the host, then runs one cell after another until it is told to end.

A sandbox starts it with a transport and an output; a process that was forked from a prepared one passes what is
prepared already.
"""

from __future__ import annotations

import builtins
import platform
import random
import threading
from _thread import _count as thread_count
from dataclasses import dataclass, field, replace
from gc import collect
from time import sleep
from typing import TYPE_CHECKING, Any, Protocol

from rlm.repl.guest import errors
from rlm.repl.guest.awaiting import FORM, Forms
from rlm.repl.guest.carry.skills import LOAD, OBJECT, Loader, Skills
from rlm.repl.guest.interrupts import Interrupts
from rlm.repl.guest.link import Link, Transport
from rlm.repl.guest.namespace import CellOutcome, FinalGiven, Namespace, NoPolicy, Policy, form_of
from rlm.repl.guest.objects import argument_form, objects_of
from rlm.repl.guest.wire import VERSION, WireError, decode_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_SHARED_FROM_BYTES = 1 << 20
_THREAD_GRACE_S = 0.5


class Printer(Protocol):
    """The output of cells; see `capture.Output`."""

    def begin(self) -> None: ...

    def show(self, text: str) -> None: ...

    def end(self, mark: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a sandbox gives its guest before the first frame."""

    policy: Policy = field(default_factory=NoPolicy)
    context: Any = None
    context_bytes: int = 0
    has_context: bool = False
    load: Callable[[Mapping[str, Any]], Any] | None = None
    """Makes the context from its note in `init`; for a sandbox whose guest starts before its context is known."""
    report: Mapping[str, str] = field(default_factory=dict)


def serve(transport: Transport, output: Printer, prepared: Prepared) -> None:
    """Answer `init`, then run cells until `exit`; the end of the stream ends the process instead."""
    interrupts = Interrupts()
    link = Link(transport, interrupts)
    init = link.next_command()
    prepared = _with_context(prepared, init["context"])
    forms = Forms(link)
    functions = {name: _function(link, forms, name, prepared) for name in init["functions"]}
    namespace = _namespace(functions, forms, prepared, output)
    _silence_finals()
    if (seed := init.get("seed")) is not None:
        random.seed(seed)
    report = {"python": platform.python_version(), **prepared.report}
    link.send({"t": "ready", "v": VERSION, "report": report})
    while (command := link.next_command())["t"] == "exec":
        output.begin()
        outcome = namespace.execute(command["code"], errors.filename(command["id"]), interrupts)
        if outcome.error is not None and outcome.error["kind"] == "MemoryError":
            collect()  # what the cell held in circles would starve the next one
        output.end(command["mark"])
        _send_done(link, command["id"], outcome)


def _namespace(
    functions: Mapping[str, Callable[..., Any]], forms: Forms, prepared: Prepared, output: Printer
) -> Namespace:
    """The namespace with the functions of the host, the objects made of them, and the context."""
    bound: dict[str, Any] = {name: each for name, each in functions.items() if "." not in name}
    bound |= {"SubcallError": errors.SubcallError, FORM: forms.find}
    offered: dict[str, Any] = dict(objects_of(functions))
    if LOAD in functions:
        loader = Loader(functions[LOAD], prepared.policy, {**bound, **offered})
        bound[LOAD], offered[OBJECT] = loader.load_skill, Skills(loader.load_skill)
    bound.update({"context": prepared.context} if prepared.has_context else {})
    return Namespace(prepared.policy, bound, output.show, offered=offered)


def _with_context(prepared: Prepared, note: Mapping[str, Any]) -> Prepared:
    """The namespace that was prepared, with the context that `init` described."""
    if prepared.load is None:
        return prepared
    value = prepared.load(note)
    if note["kind"] == "none":
        return prepared
    size = max((part[2] for part in note["parts"]), default=0)
    return replace(prepared, context=value, context_bytes=size, has_context=True)


def _silence_finals() -> None:
    """A FINAL in a thread ends that thread without a traceback."""
    usual = threading.excepthook

    def hook(report: Any) -> None:
        if report.exc_type is not FinalGiven:
            usual(report)

    threading.excepthook = hook


def _send_done(link: Link, cell: int, outcome: CellOutcome) -> None:
    done = {
        "t": "done",
        "id": cell,
        "error": outcome.error,
        "final": outcome.final,
        "changed": [name for name in outcome.changed[:1000] if type(form_of(name)) is str],
        "threads": _threads_left(outcome),
    }
    try:
        link.send(done)
    except (WireError, MemoryError) as e:
        message = f"FINAL: the answer is too large ({str(e) or 'no memory is left'}): give a part of it, or sum it up"
        link.send({**done, "error": {"kind": "ValueError", "message": message, "traceback": ""}, "final": None})


def _threads_left(outcome: CellOutcome) -> int:
    """The number of threads of the cell that are still alive; after an interrupt they get a moment to notice."""
    waited = 0.0
    while outcome.interrupted and thread_count() and waited < _THREAD_GRACE_S:
        sleep(0.005)
        waited += 0.005
    return thread_count()


def _function(link: Link, forms: Forms, name: str, prepared: Prepared) -> Callable[..., Any]:
    """The function of that name in the guest, which calls the host and gives what it answers; `forms` gets its async
    form."""

    form_of_other = argument_form if "." in name else form_of

    def form(value: Any) -> Any:
        if value is prepared.context and prepared.context_bytes >= _SHARED_FROM_BYTES:
            return {"$context": True}
        return form_of_other(value)

    def sent(call: Callable[..., Any], args: Any, kwargs: Any, *more: Any) -> Any:
        try:
            return call(name, [form(a) for a in args], {key: form(kwargs[key]) for key in kwargs}, *more)
        except WireError as e:
            raise ValueError(f"{name}: the arguments are too large: {e}; send a part of them at a time") from None

    def received(reply: Mapping[str, Any]) -> Any:
        if "error" in reply:
            raise errors.raised(reply["error"])
        return decode_value(reply["value"], special={"$error": errors.failed_item})

    def function(*args: Any, **kwargs: Any) -> Any:
        return received(sent(link.call, args, kwargs))

    function.__name__ = function.__qualname__ = name
    function.__module__ = "__repl__"
    forms.add(function, sent, received)
    return function
