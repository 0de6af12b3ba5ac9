"""The image that containers are made of: found, or pulled if the engine does not have it; and what it brings along."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from rlm.core.exceptions import REPLError, SandboxUnavailableError
from rlm.repl.docker.engines import Refused

if TYPE_CHECKING:
    from rlm.repl.docker.engines import DockerEngine

_log = logging.getLogger(__name__)
_PULL_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerImage:
    """An image that the engine has."""

    id: str
    variables: tuple[str, ...]
    """The names of the environment variables that it sets."""
    volumes: tuple[str, ...]
    """Folders that a guest could write to, on the engine's disk and without bound."""


async def find(engine: DockerEngine, name: str) -> DockerImage:
    """The image of that name, pulled if the engine does not have it. Raises:
    SandboxUnavailableError: the engine can't get it.
    """
    try:
        return await engine.ask(partial(_inspect, name=name))
    except Refused as e:
        if e.status != 404:
            raise SandboxUnavailableError(f"docker.image {name!r}: {e}") from e
    _log.warning("the Docker engine at %s has no image %s yet: pulling it, once", engine.address.shown, name)
    try:
        async with asyncio.timeout(_PULL_S):
            await engine.ask(partial(_pull, name=name))
        return await engine.ask(partial(_inspect, name=name))
    except (REPLError, TimeoutError) as e:
        raise SandboxUnavailableError(
            f"the image {name!r} is not there and cannot be pulled: {str(e) or 'it takes too long'}\n"
            f"get it yourself (docker pull {name}, or docker load -i FILE), "
            "or set docker.image to one that the engine has; it needs Python 3.11 or later"
        ) from e


def _inspect(client: Any, name: str) -> DockerImage:
    found = client.inspect_image(name)
    config = found.get("Config") or {}
    return DockerImage(
        id=found["Id"],
        variables=tuple(variable.partition("=")[0] for variable in config.get("Env") or ()),
        volumes=tuple(f"/{volume.strip('/')}" for volume in config.get("Volumes") or ()),
    )


def _pull(client: Any, name: str) -> None:
    from docker import errors
    from docker.utils import parse_repository_tag

    repository, tag = parse_repository_tag(name)
    for said in client.pull(repository, tag or "latest", stream=True, decode=True):
        if "error" in said:
            raise errors.APIError(said["error"])
