"""What the service can be asked: each endpoint once, from which its route and its part of the OpenAPI document are
made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """A body that is not JSON."""

    type: str
    """Its media type."""


JSON = "application/json"
SSE = Media(type="text/event-stream")
NOTHING: tuple[type | Media, ...] = ()
"""An answer without a body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEndpoint:
    """One thing that clients can ask for; what it does is the docstring of `answer`."""

    method: str
    path: str
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]]
    takes: type | Media | None = None
    """The type of the body of a request."""
    query: type | None = None
    """The fields of a query."""
    headers: tuple[str, ...] = ()
    """The headers of its own that a request may have."""
    gives: Mapping[int, tuple[type | Media, ...]] = field(default_factory=dict)
    """By its status, the types that the body of an answer may have."""

    @property
    def route(self) -> web.RouteDef:
        """The route of its requests."""
        options = {"allow_head": False} if self.method == "GET" else {}
        return web.route(self.method, self.path, self.answer, **options)


def query_of(request: web.Request, kind: type[T]) -> T:
    """The query of a request; what it has beside the fields of `kind` is left unread.

    Raises:
        ValidationError: a field is wrong.
    """
    given: dict[str, Any] = dict(request.query)
    return msgspec.convert(given, kind, strict=False)
