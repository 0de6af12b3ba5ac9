"""One sandbox of E2B: made, kept alive by a heartbeat, and ended; and the words for whatever its SDK raises.

E2B ends a sandbox when its time is over, so that time is short and is extended for as long as this process lives.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rlm.core import extras
from rlm.core.exceptions import SandboxUnavailableError
from rlm.repl.owners import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rlm.core.config import E2bConfig

_KEY = "E2B_API_KEY"
_DEBUG = "E2B_DEBUG"
_BEATS = 3
"""How many times within a sandbox's time it is extended."""
_REQUEST_S = 30.0
_NOT_FOUND = 404
_OURS = {"rlm": "sandbox"}
"""The label of every sandbox that is made here, besides those of its owner."""


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the SDK raises as an error of ours. Raises:
    SandboxUnavailableError: the service can't, or won't; says what to do.
    """
    import e2b
    import httpx

    try:
        yield
    except e2b.AuthenticationException as e:
        raise SandboxUnavailableError(f"E2B refuses the key: {e}\nset {_KEY} to a key of your team") from e
    except e2b.RateLimitException as e:
        raise SandboxUnavailableError(f"E2B has no more sandboxes for this key now: {e}") from e
    except (e2b.SandboxException, e2b.ServiceBusyException) as e:
        is_unknown = getattr(e, "status_code", None) == _NOT_FOUND
        hint = "\nname a template that your team has by e2b.template" if is_unknown else ""
        raise SandboxUnavailableError(f"E2B: {e}{hint}") from e
    except httpx.HTTPError as e:
        raise SandboxUnavailableError(f"E2B can't be reached: {str(e) or type(e).__name__}") from e


class Box:
    """A sandbox that runs, and the heartbeat that keeps it."""

    def __init__(self, sandbox: Any, ttl_s: int | None) -> None:
        """`sandbox` is the SDK's AsyncSandbox; without a `ttl_s` nothing extends its time."""
        self.sandbox = sandbox
        self._is_gone = False
        self._beating = None if ttl_s is None else asyncio.get_running_loop().create_task(self._beat(ttl_s))

    @classmethod
    async def make(cls, section: E2bConfig) -> Box:
        """Make one, after ending those whose hosts are gone. Raises:
        SandboxUnavailableError: there is no key, or E2B makes none.
        """
        return cls(await made(section.template, section.ttl_s, Owner.here().labels), section.ttl_s)

    @property
    def is_alive(self) -> bool:
        return not self._is_gone

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Take note of what the SDK raises where E2B has ended it."""
        import e2b

        try:
            yield
        except (e2b.NotFoundException, e2b.SandboxNotRunningException):
            self._is_gone = True
            raise

    async def aclose(self) -> None:
        """End it, if it hasn't ended."""
        self.leave()
        if not self._is_gone:
            self._is_gone = True
            with translated():
                await self.sandbox.kill(request_timeout=_REQUEST_S)

    def leave(self) -> None:
        """Extend its time no more."""
        if self._beating is not None:
            self._beating.cancel()

    async def _beat(self, ttl_s: int) -> None:
        """Extend its time; a heartbeat that fails is made up for by the next, until E2B says that it is gone."""
        import e2b
        import httpx

        while not self._is_gone:
            await asyncio.sleep(ttl_s / _BEATS)
            try:
                with self.watched():
                    await self.sandbox.set_timeout(ttl_s, request_timeout=ttl_s / _BEATS)
            except (e2b.SandboxException, e2b.AuthenticationException, e2b.ServiceBusyException, httpx.HTTPError):
                continue


async def made(template: str | None, ttl_s: int, labels: Mapping[str, str], *, is_open: bool = False) -> Any:
    """A sandbox of E2B, as its SDK has it, with these labels, made after ending those whose hosts are gone; `is_open`:
    with the internet.

    Raises:
        SandboxUnavailableError: there is no key, or E2B makes none.
    """
    check_environment()
    with translated():
        from e2b import AsyncSandbox

        await _sweep()
        return await AsyncSandbox.create(
            template,
            timeout=ttl_s,
            metadata={**_OURS, **labels},
            allow_internet_access=is_open,
            request_timeout=_REQUEST_S,
        )


async def connected(sandbox: str) -> Any | None:
    """A sandbox of E2B that was made before; None if it is gone. Raises:
    SandboxUnavailableError: there is no key, or E2B doesn't answer.
    """
    check_environment()
    with translated():
        import e2b

        try:
            return await e2b.AsyncSandbox.connect(sandbox, timeout=1, request_timeout=_REQUEST_S)  # never shortens it
        except (e2b.NotFoundException, e2b.SandboxNotRunningException):
            return None


def lacks() -> str | None:
    """What is missing before anything can be asked of E2B, with what to do; None where nothing is."""
    try:
        import e2b  # noqa: F401
    except ImportError:
        return f"the sandbox e2b needs E2B's SDK\n{extras.install_command('e2b')}"
    if os.environ.get(_DEBUG, "").lower() == "true":
        return f"{_DEBUG} is set, under which E2B's SDK ends no sandbox and says that it did\nunset it"
    if not os.environ.get(_KEY):
        return f"the sandbox e2b has no key\nset {_KEY} to a key of your team"
    return None


def check_environment() -> None:
    """See whether E2B can be asked at all. Raises:
    SandboxUnavailableError: it can't; says what to do.
    """
    if missing := lacks():
        raise SandboxUnavailableError(missing)


async def _sweep() -> None:
    """End the sandboxes that hosts of this machine made which are gone: E2B would end them a little later."""
    import e2b
    from e2b.sandbox.sandbox_api import SandboxQuery

    pages = e2b.AsyncSandbox.list(SandboxQuery(metadata=_OURS), request_timeout=_REQUEST_S)
    while pages.has_next:
        for found in await pages.next_items():
            owner = Owner.of(found.metadata or {})
            if owner is not None and owner.is_gone:
                await e2b.AsyncSandbox.kill(found.sandbox_id, request_timeout=_REQUEST_S)
