"""The OpenAPI document of the service, made from the endpoints and from the types that decode requests.

Source: https://spec.openapis.org/oas/v3.1.1.
"""

from __future__ import annotations

import inspect
import re
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from rlm.service.endpoints import JSON, Media, ServiceEndpoint
from rlm.service.guards import OPEN_PATHS, OPENAI_PATHS
from rlm.service.messages import ProblemDetails
from rlm.service.openai_messages import OpenAIError
from rlm.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rlm.core.types import Json

_REF = "#/components/schemas/{name}"
_PART = re.compile(r"\{(\w+)(?::[^}]*)?\}")
"""A part of a path that is a parameter, with the pattern that a route may give it."""


def described(endpoints: Iterable[ServiceEndpoint]) -> ServiceEndpoint:
    """The endpoint that gives the document of the others, and of itself."""

    @cache
    def document() -> bytes:
        return msgspec.json.encode(openapi((*endpoints, itself)))

    async def answer(_request: web.Request) -> web.Response:
        """Describe the service, as OpenAPI does."""
        return web.Response(body=document(), content_type=JSON)

    itself = ServiceEndpoint(method="GET", path="/openapi.json", answer=answer, gives={200: (Media(type=JSON),)})
    return itself


def openapi(endpoints: Iterable[ServiceEndpoint]) -> dict[str, Json]:
    """The document of these endpoints."""
    listed = tuple(endpoints)
    kinds = dict.fromkeys(kind for each in listed for kind in _kinds(each))
    schemas, components = msgspec.json.schema_components(tuple(kinds), ref_template=_REF)
    known = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Any] = {}
    for each in listed:
        paths.setdefault(_PART.sub(r"{\1}", each.path), {})[each.method.lower()] = _described(each, known, components)
    asked = {each.query.__name__ for each in listed if each.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {"title": "rlm", "version": __version__, "summary": "A Recursive Language Model as a service."},
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in components.items() if name not in asked},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _kinds(endpoint: ServiceEndpoint) -> list[type]:
    given = (endpoint.takes, endpoint.query, *(kind for kinds in endpoint.gives.values() for kind in kinds))
    return [*(kind for kind in given if isinstance(kind, type)), ProblemDetails, OpenAIError]


def _described(endpoint: ServiceEndpoint, known: dict[type, Any], components: dict[str, Any]) -> dict[str, Json]:
    function = endpoint.answer
    face = function.__module__.rpartition(".")[2]
    said: dict[str, Any] = {
        "operationId": f"{face}_{function.__name__}",
        "summary": (inspect.getdoc(function) or "").partition("\n")[0],
        "tags": [face],
        "parameters": [*_parameters(endpoint, components)],
        "responses": {
            str(status): {"description": web.Response(status=status).reason, **_content(kinds, known)}
            for status, kinds in endpoint.gives.items()
        },
    }
    if endpoint.takes is not None:
        said["requestBody"] = {"required": True, **_content((endpoint.takes,), known)}
    if endpoint.path in OPEN_PATHS:
        return {**said, "security": []}
    is_openai = endpoint.path.startswith(OPENAI_PATHS)
    problem = {JSON: {"schema": known[OpenAIError]}} if is_openai else {_PROBLEM: {"schema": known[ProblemDetails]}}
    said["responses"]["default"] = {"description": "It was refused, or went wrong.", "content": problem}
    return said


_PROBLEM = "application/problem+json"


def _content(kinds: tuple[type | Media, ...], known: dict[type, Any]) -> dict[str, Json]:
    found = {
        kind.type if isinstance(kind, Media) else JSON: {} if isinstance(kind, Media) else {"schema": known[kind]}
        for kind in kinds
    }
    return {"content": found} if found else {}


def _parameters(endpoint: ServiceEndpoint, components: dict[str, Any]) -> Iterable[dict[str, Json]]:
    text = {"type": "string"}
    for name in _PART.findall(endpoint.path):
        yield {"name": name, "in": "path", "required": True, "schema": text}
    for name in endpoint.headers:
        yield {"name": name, "in": "header", "schema": text}
    if endpoint.query is not None:
        for name, schema in components[endpoint.query.__name__]["properties"].items():
            yield {"name": name, "in": "query", "schema": schema}
