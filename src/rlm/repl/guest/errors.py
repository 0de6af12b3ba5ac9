"""Exceptions on the wire: how one of a cell is described to the host, and one of the host raised in a cell."""

from __future__ import annotations

import builtins
import traceback
from typing import Any

from rlm.repl.guest.wire import escape_surrogates

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

_FILENAME = "<cell {}>"
_MAX_MESSAGE_CHARS = 10_000
_MAX_TRACEBACK_CHARS = 20_000
_MAX_FRAMES = 30

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
    return {
        "kind": escape_surrogates(type(error).__name__)[:200],
        "message": _shorten(escape_surrogates(_message(error)), _MAX_MESSAGE_CHARS),
        "traceback": _shorten(escape_surrogates(_traceback(error)), _MAX_TRACEBACK_CHARS),
    }


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - a guest's own __str__
        return "<its message cannot be shown>"


def _traceback(error: BaseException) -> str:
    """The frames of cells and skills only: other frames show a model nothing that it can change."""
    try:
        report = traceback.TracebackException.from_exception(error, limit=-_MAX_FRAMES, compact=True)
        _keep_cells(report)
        return "".join(report.format())
    except BaseException:  # noqa: BLE001 - guest code may have broken what `traceback` uses
        return f"{type(error).__name__}: {_message(error)}"


def _keep_cells(report: traceback.TracebackException) -> None:
    frames = [frame for frame in report.stack if frame.filename.startswith(("<cell ", "<skill "))]
    report.stack = traceback.StackSummary.from_list(frames)
    inner = [report.__cause__, report.__context__, *(getattr(report, "exceptions", None) or ())]
    for nested in inner:
        if nested is not None:
            _keep_cells(nested)


def _shorten(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n... [{len(text) - 2 * half:,} characters cut] ...\n{text[-half:]}"
