"""The guest's main loop: binds the functions of the host, then runs one cell after another until it is told to end.

A sandbox starts it with a transport and an output; a process that was forked from a prepared one passes what is
prepared already.
"""

from __future__ import annotations

import builtins
import os
import platform
import random
import sys
import threading
from _thread import _count as thread_count
from contextlib import suppress
from dataclasses import dataclass, field, replace
from time import sleep
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from rlm.repl.guest import errors
from rlm.repl.guest.awaiting import FORM, Forms
from rlm.repl.guest.carry.skills import LOAD, OBJECT, Loader, Skills
from rlm.repl.guest.interrupts import Interrupts
from rlm.repl.guest.link import Link, Transport
from rlm.repl.guest.namespace import CellOutcome, FinalGiven, Namespace, NoPolicy, Policy, form_of
from rlm.repl.guest.objects import argument_form, objects_of
from rlm.repl.guest.parts import functions_over_parts
from rlm.repl.guest.reserve import OUT_OF_MEMORY, Reserve
from rlm.repl.guest.wire import VERSION, WireError, decode_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rlm.repl.guest.context import Given

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_THREAD_GRACE_S = 0.5
_exit, _getpid = os._exit, os.getpid


class Printer(Protocol):
    """The output of cells; see `capture.Output`."""

    def begin(self) -> None: ...

    def show(self, text: str) -> None: ...

    def end(self, mark: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a sandbox gives its guest before the first frame."""

    policy: Policy = field(default_factory=NoPolicy)
    context: Given | None = None
    load: Callable[[Mapping[str, Any]], Given | None] | None = None
    """Makes the context from its note in `init`; for a sandbox whose guest starts before its context is known."""
    end_strays: Callable[[], object] = lambda: None
    """Ends the processes that a cell has started, where it can start any."""
    report: Mapping[str, str] = field(default_factory=dict)


def serve(transport: Transport, output: Printer, prepared: Prepared) -> None:
    """Answer `init`, then run cells until `exit`; the end of the stream, or of memory, ends the process instead."""
    try:
        _serve(transport, output, prepared)
    except MemoryError:
        _exit(OUT_OF_MEMORY)


def _serve(transport: Transport, output: Printer, prepared: Prepared) -> None:
    interrupts = Interrupts()
    link = Link(transport, interrupts)
    init = link.next_command()
    if prepared.load is not None:
        prepared = replace(prepared, context=prepared.load(init["context"]))
    forms, reserve = Forms(link), Reserve()
    functions = {name: _function(link, forms, name, prepared) for name in init["functions"]}
    namespace = _namespace(functions, forms, prepared, output, reserve)
    _silence_finals()
    if (seed := init.get("seed")) is not None:
        random.seed(seed)
    reserve.fill()
    report = {"python": platform.python_version(), **prepared.report}
    link.send({"t": "ready", "v": VERSION, "report": report})
    own = _getpid()
    while (command := link.next_command())["t"] == "exec":
        output.begin()
        outcome = namespace.execute(command["code"], errors.filename(command["id"]), interrupts)
        if _getpid() != own:
            _end_forked(outcome)
        prepared.end_strays()
        outcome = _told_of_packages(_told_of_memory(outcome, reserve), init.get("missing"))
        output.end(command["mark"])
        _send_done(link, command["id"], outcome)


def _end_forked(outcome: CellOutcome) -> NoReturn:
    """A process that a cell has forked came to the end of the cell: it is no second REPL, and ends there."""
    with suppress(BaseException):
        sys.stdout.write("" if outcome.error is None else outcome.error["traceback"])
        sys.stdout.flush()
    _exit(0 if outcome.error is None else 1)


def _told_of_memory(outcome: CellOutcome, reserve: Reserve) -> CellOutcome:
    """The outcome with what there is to say of memory. Raises:
    MemoryError: there is not enough for another cell.
    """
    error = outcome.error
    said = reserve.settle(ran_out=error is not None and error["kind"] == "MemoryError")
    if error is None or not said:
        return outcome
    message = f"{error['message']}; {said}" if error["message"] else said
    return replace(outcome, error={**error, "message": message, "traceback": f"{error['traceback']}[{said}]\n"})


def _told_of_packages(outcome: CellOutcome, said: str | None) -> CellOutcome:
    """The outcome with what can be done about a package that isn't there."""
    error = outcome.error
    if error is None or error["kind"] != "ModuleNotFoundError" or not said:
        return outcome
    return replace(outcome, error=errors.with_advice(error, said))


def _namespace(
    functions: Mapping[str, Callable[..., Any]], forms: Forms, prepared: Prepared, output: Printer, reserve: Reserve
) -> Namespace:
    """The namespace with the functions of the host, the objects made of them, and the context."""
    bound: dict[str, Any] = {name: each for name, each in functions.items() if "." not in name}
    bound |= {"SubcallError": errors.SubcallError, FORM: forms.find}
    data = None if prepared.context is None else prepared.context.value
    offered: dict[str, Any] = {**objects_of(functions), **functions_over_parts(functions, forms, data)}
    if LOAD in functions:
        loader = Loader(functions[LOAD], prepared.policy, {**bound, **offered})
        bound[LOAD], offered[OBJECT] = loader.load_skill, Skills(loader.load_skill)
    offered = {name: value for name, value in offered.items() if name not in bound}
    bound.update({} if prepared.context is None else {"context": prepared.context.value})
    return Namespace(prepared.policy, bound, output.show, reserve, offered=offered)


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
        if prepared.context is not None and prepared.context.stands_for(value):
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
