"""Exceptions on the wire: how one of a cell is described to the host, and one of the host raised in a cell."""

from __future__ import annotations

import builtins
import traceback
from typing import TYPE_CHECKING, Any

from rlm.repl.guest.values import nearest, values_in
from rlm.repl.guest.wire import escape_surrogates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_FILENAME = "<cell {}>"
_SHOWN = ("<cell ", "<skill ")
"""How the file names of frames begin that are shown: the others show a model nothing that it can change."""
_MAX_MESSAGE_CHARS = 10_000
_MAX_TRACEBACK_CHARS = 20_000
_MAX_FRAMES = 30

_name_of = vars(type)["__name__"].__get__
"""The method of `type` itself, whatever a class of the cells makes of its name."""

_UNSHOWN = "<its message cannot be shown>"
trace_of = vars(BaseException)["__traceback__"].__get__
"""The traceback itself, past what a class of the cell makes of it."""

_RAISED_AS_THEY_ARE: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        ArithmeticError,
        AttributeError,
        ConnectionError,
        FileExistsError,
        FileNotFoundError,
        IndexError,
        InterruptedError,
        IsADirectoryError,
        KeyError,
        LookupError,
        MemoryError,
        NotADirectoryError,
        NotImplementedError,
        OSError,
        OverflowError,
        PermissionError,
        RuntimeError,
        TimeoutError,
        TypeError,
        UnicodeError,
        ValueError,
        ZeroDivisionError,
    )
}


class SubcallError(Exception):
    """A function that calls the host failed; in the results of a batch, one item did."""

    __module__ = "__repl__"

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


def filename(cell: int) -> str:
    """The file name of a cell in tracebacks."""
    return _FILENAME.format(cell)


def failed_item(form: dict[str, Any]) -> SubcallError:
    """The value that stands for a failed item of a batch."""
    return SubcallError(form["kind"], form["message"])


def raised(form: dict[str, Any]) -> Exception:
    """The exception for a host's error: a builtin of that name where there is one."""
    kind = _RAISED_AS_THEY_ARE.get(form["kind"])
    return SubcallError(form["kind"], form["message"]) if kind is None else kind(form["message"])


def describe(error: BaseException) -> dict[str, str]:
    """Kind, message and traceback of an exception that ended a cell."""
    message = _message(error)
    shown = _UNSHOWN if message is None else message
    trace = _bare_traceback(error) if message is None else _traceback(error, shown)
    return {
        "kind": escape_surrogates(_name_of(type(error)))[:200],
        "message": _shorten(escape_surrogates(shown), _MAX_MESSAGE_CHARS),
        "traceback": _shorten(escape_surrogates(trace), _MAX_TRACEBACK_CHARS),
    }


def with_advice(error: dict[str, str], said: str) -> dict[str, str]:
    """The description with what can be done about the error, in the traceback too, which is what a model is shown."""
    return {**error, "message": f"{error['message']}; {said}", "traceback": f"{error['traceback']}[{said}]\n"}


def _message(error: BaseException) -> str | None:
    """None if it can't be had: then it is not asked for again, for that may take without end."""
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - a guest's own __str__
        return None


def _traceback(error: BaseException, message: str) -> str:
    """The frames of cells and skills only, and the values in the line that failed."""
    trace = f"{_name_of(type(error))}: {message}"
    try:
        report = traceback.TracebackException.from_exception(error, limit=-_MAX_FRAMES, compact=True)
        _keep_cells(report)
        trace = "".join(report.format())
        values = _values(error, report) if isinstance(error, Exception) else ""
    except BaseException:  # noqa: BLE001 - guest code may have broken what `traceback` uses
        return trace
    return f"{trace}[Values there: {values}]\n" if values else trace


def _values(error: Exception, report: traceback.TracebackException) -> str:
    """The values in the line of a cell where it failed, be it in a function that the line calls."""
    frames = [trace.tb_frame for trace in _traces(error) if trace.tb_frame.f_code.co_filename.startswith(_SHOWN)]
    if not frames or not report.stack:
        return ""
    values = [values_in(report.stack[-1].line or "", frames[-1])]
    if isinstance(error, NameError) and (near := nearest(error.name, frames[-1])):
        values.insert(0, f"there is no {error.name}, but {near}")
    return "; ".join(filter(None, values))


def _traces(error: Exception) -> Iterator[TracebackType]:
    trace = trace_of(error)
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _bare_traceback(error: BaseException) -> str:
    """The same without any text of the error's own."""
    last = f"{_name_of(type(error))}: {_UNSHOWN}\n"
    try:
        stack = traceback.extract_tb(trace_of(error), limit=-_MAX_FRAMES)
        return "".join(["Traceback (most recent call last):\n", *_of_cells(stack).format(), last])
    except BaseException:  # noqa: BLE001 - as above
        return last


def _keep_cells(report: traceback.TracebackException) -> None:
    report.stack = _of_cells(report.stack)
    inner = [report.__cause__, report.__context__, *(getattr(report, "exceptions", None) or ())]
    for nested in inner:
        if nested is not None:
            _keep_cells(nested)


def _of_cells(stack: traceback.StackSummary) -> traceback.StackSummary:
    frames = [frame for frame in stack if frame.filename.startswith(_SHOWN)]
    return traceback.StackSummary.from_list(frames)


def _shorten(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... [{len(text) - 2 * half:,} characters cut] ...\n{text[-half:]}"
