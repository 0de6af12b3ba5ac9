"""What every HTTP request passes first: hosts and origins, the token, and the translation of what goes wrong."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from rlm.core.exceptions import RLMError, StoreError
from rlm.service.desk import to_json
from rlm.service.messages import ProblemDetails
from rlm.service.openai_messages import OpenAIError, OpenAIFault
from rlm.service.refusals import RequestRefused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aiohttp.typedefs import Handler, Middleware

    from rlm.service.desk import Desk
    from rlm.service.lists import Lists
    from rlm.service.tokens import Caller, Doorkeeper

T = TypeVar("T")
DESK: web.AppKey[Desk] = web.AppKey("desk")
KEEPER: web.AppKey[Doorkeeper] = web.AppKey("keeper")
LISTS: web.AppKey[Lists] = web.AppKey("lists")
CALLER: web.RequestKey[Caller] = web.RequestKey("caller")
OPEN_PATHS = frozenset({"/health"})
"""What needs no token: it says nothing but that the service is there."""
OPENAI_PATHS = ("/v1/chat/", "/v1/models", "/v1/responses")
"""What the paths of OpenAI's wire begin with."""
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
PIECE_BYTES = 1 << 20
"""The most that is read of an upload at one time."""
SLOWEST_BYTES = 1 << 16
"""What has to come of an upload in the time that a whole body has."""


def caller_of(request: web.Request) -> Caller:
    """The one whose token a request has."""
    return request[CALLER]


async def asked_of(request: web.Request, kind: type[T]) -> T:
    """What a request asks for, from its body.

    Raises:
        ValidationError, DecodeError: it is not of that type.
        RequestRefused: it is too large, takes too long, or can't be read.
    """
    with _read(request):
        async with asyncio.timeout(_patience_s(request)):
            body = await request.read()
    try:
        return msgspec.json.decode(body, type=kind)
    except RecursionError as error:
        raise RequestRefused(422, "the request has values that are nested too deep") from error


async def pieces_of(request: web.Request) -> AsyncIterator[bytes]:
    """The body of an upload, in pieces.

    Raises:
        RequestRefused: it stands still, or can't be read.
    """
    is_whole = False
    while not is_whole:
        piece = bytearray()
        with _read(request):
            async with asyncio.timeout(_patience_s(request)):
                while len(piece) < SLOWEST_BYTES and not is_whole:
                    piece += await request.content.read(PIECE_BYTES)
                    is_whole = request.content.at_eof()
        yield bytes(piece)


def is_still_known(request: web.Request) -> bool:
    """Whether the token of a request, which may have been long ago, is valid yet."""
    return request.app[KEEPER].caller(_token(request)) is not None


@contextmanager
def _read(request: web.Request) -> Iterator[None]:
    """Raises:
    RequestRefused: the body can't be read; says why.
    """
    try:
        yield
    except web.HTTPRequestEntityTooLarge as error:
        raise RequestRefused(413, "the request is too large: upload data with POST /v1/contexts") from error
    except TimeoutError as error:
        raise RequestRefused(408, f"the request was not there after {_patience_s(request):g} s") from error
    except (web.RequestPayloadError, web.PayloadAccessError, HttpProcessingError) as error:
        raise RequestRefused(400, "the body of the request can't be read: it breaks off or is malformed") from error


def _patience_s(request: web.Request) -> float:
    return request.app[DESK].config.service.read_s


def reply(value: object, status: int = 200, **headers: str) -> web.Response:
    """A message as a JSON answer."""
    return web.Response(body=to_json(value), status=status, content_type="application/json", headers=headers)


def guards(keeper: Doorkeeper, hosts: frozenset[str], is_ready: asyncio.Event) -> list[Middleware]:
    """The middlewares of the service; `hosts` are the names by which it is reached, and `is_ready` is set once it has
    taken up what a service before it left unfinished."""

    @web.middleware
    async def told(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except RequestRefused as refused:
            return _told(request, refused)
        except web.HTTPException as error:
            return _told(request, RequestRefused(error.status, error.text or error.reason))
        except (msgspec.ValidationError, msgspec.DecodeError) as error:
            return _told(request, RequestRefused(422, str(error)))
        except StoreError as error:
            return _told(request, RequestRefused(507, str(error)))
        except RLMError as error:
            return _told(request, RequestRefused(500, str(error)))

    @web.middleware
    async def known(request: web.Request, handler: Handler) -> web.StreamResponse:
        _check_host(request, hosts)
        if request.path not in OPEN_PATHS:
            caller = keeper.caller(_token(request))
            if caller is None:
                raise RequestRefused(401, "give a valid token: Authorization: Bearer TOKEN")
            request[CALLER] = caller
            await is_ready.wait()
        return await handler(request)

    return [told, known]


def _told(request: web.Request, refused: RequestRefused) -> web.Response:
    """An error as RFC 9457 has it, or as OpenAI's clients read it."""
    headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else {}
    if request.path.startswith(OPENAI_PATHS):
        return reply(openai_error(refused), refused.status, **headers)
    body = to_json(ProblemDetails(title=refused.title, status=refused.status, detail=refused.detail))
    return web.Response(body=body, status=refused.status, content_type="application/problem+json", headers=headers)


def openai_error(refused: RequestRefused) -> OpenAIError:
    """An error as OpenAI's clients read it."""
    kind: Literal["invalid_request_error", "server_error"] = (
        "invalid_request_error" if refused.status < 500 else "server_error"
    )
    return OpenAIError(error=OpenAIFault(message=refused.detail, type=kind, code=str(refused.status)))


def _check_host(request: web.Request, hosts: frozenset[str]) -> None:
    """Refuse what a page of another site makes a browser ask.

    Raises:
        RequestRefused: the host, or the origin, is none of the names of this service.
    """
    if _name(f"//{request.host}") not in hosts:
        raise RequestRefused(421, "this service is not known by that host: name it in allowed_hosts of [service]")
    origin = request.headers.get("Origin")
    if origin is not None and _name(origin) not in hosts:
        raise RequestRefused(403, "this service takes no requests from pages of other sites")


def _name(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
