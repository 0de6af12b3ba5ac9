"""Exceptions as an event has them, class and message in one text, and back."""

from __future__ import annotations

from rlm.core import exceptions
from rlm.core.exceptions import BackendError, LimitReached, RLMError

_BUILTIN = {kind.__name__: kind for kind in (ValueError, TypeError, LookupError, KeyError, OSError, TimeoutError)}


def error_text(error: BaseException) -> str:
    """The class and the message of an exception."""
    return f"{type(error).__name__}: {error}"


def revived(text: str) -> Exception:
    """The exception whose `error_text` this is; of a class that isn't known, an `RLMError`."""
    name, _, message = text.partition(": ")
    kind = getattr(exceptions, name, None) if name in exceptions.__all__ else _BUILTIN.get(name)
    if kind is None:
        return RLMError(text)
    return kind(message) if issubclass(kind, Exception | BackendError) else RLMError(text)


def revived_limit(name: str, message: str) -> Exception:
    """The exception of the cap of that name in `Budget`; of a cap that isn't known, an `RLMError`."""
    for kind in LimitReached.__subclasses__():
        if kind.limit == name:
            return kind(message)
    return RLMError(message)
