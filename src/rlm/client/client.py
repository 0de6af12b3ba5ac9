"""The awaited client of the service: runs, their events, results and control, over its own protocol."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import aiohttp
import msgspec

from rlm.core.events import decode
from rlm.core.exceptions import ConfigError, RunFailed
from rlm.runtime.serving import read_serving, service_folder
from rlm.service.messages import NewAct, NewRun, ProblemDetails, ResultNote, RunNote, RunPage, UploadNote
from rlm.service.tokens import owner_token

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import BinaryIO

    from rlm.core.events import Event

T = TypeVar("T")
WAIT_S = 300
"""How long one request waits for a result, in seconds, before it asks again."""
AGAIN_S = 0.5
"""How long to wait before a lost connection is tried again, in seconds."""
TRIES = 20
"""How often in a row that is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEvent:
    """An event of a run, as the service sends it."""

    number: int
    """From 0, without gaps, over everything that became of the request."""
    event: Event


class Client:
    """A client of one service; used within `async with`, on one event loop."""

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        """`url` and `token` are by default those of this user's own service, where one runs.

        Raises:
            ConfigError: none does.
        """
        folder = service_folder(os.environ)
        serving = read_serving(folder) if url is None else None
        if url is None and serving is None:
            raise ConfigError("no service runs here: rlm serve starts one, or give its url and a token")
        self.url = (url or (serving.url if serving is not None else "")).rstrip("/")
        self._headers = {"Authorization": f"Bearer {token or owner_token(folder)}"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Client:
        connector = aiohttp.TCPConnector(limit=0)  # each run that is followed has a connection of its own
        self._session = aiohttp.ClientSession(
            self.url, connector=connector, headers=self._headers, timeout=aiohttp.ClientTimeout(sock_connect=30)
        )
        return self

    async def __aexit__(self, *_exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def run(self, prompt: str, context: Any = None, **given: Any) -> ResultNote:
        """Answer a prompt over data; `given` are other fields of `NewRun`.

        Raises:
            ConfigError: the service refuses it.
        """
        note = await self.submit(NewRun(prompt=prompt, context=context, **given))
        return await self.result(note.id)

    async def submit(self, asked: NewRun, *, key: str | None = None) -> RunNote:
        """Ask for a run, which goes on by itself; the same `key` again is the same run.

        Raises:
            ConfigError: the service refuses it.
        """
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self._asked(RunNote, "POST", "/v1/runs", data=msgspec.json.encode(asked), headers=headers)

    async def status(self, run_id: str) -> RunNote:
        """How a run stands. Raises as `submit`."""
        return await self._asked(RunNote, "GET", f"/v1/runs/{run_id}")

    async def runs(self, *, before: str = "", count: int = 50) -> RunPage:
        """Runs, the newest first; `before` is the `next` of the page before. Raises as `submit`."""
        return await self._asked(RunPage, "GET", "/v1/runs", params={"before": before, "limit": str(count)})

    async def result(self, run_id: str) -> ResultNote:
        """What a run comes to, once it has ended. Raises as `submit`."""
        while True:
            answer = await self._answer("GET", f"/v1/runs/{run_id}/result", params={"wait": str(WAIT_S)})
            if answer.status == 200:
                return msgspec.json.decode(answer.body, type=ResultNote)

    async def control(self, run_id: str, action: str, **given: Any) -> RunNote:
        """Act on a run in progress: pause, resume, cancel, set or say, with the fields of `NewAct`. Raises as
        `submit`."""
        act = msgspec.convert({"action": action, **given}, NewAct)
        return await self._asked(RunNote, "POST", f"/v1/runs/{run_id}/control", data=msgspec.json.encode(act))

    async def upload(self, content: bytes | BinaryIO | AsyncIterator[bytes]) -> UploadNote:
        """Keep data for runs that name it in `contexts`; a file is streamed. Raises as `submit`."""
        return await self._asked(UploadNote, "POST", "/v1/contexts", data=content)

    async def events(self, run_id: str, after: int = -1) -> AsyncIterator[ServiceEvent]:
        """The events of a run after that number, until it has ended; where the line breaks, it goes on from the last.

        Raises:
            ConfigError: there is no such run.
            RunFailed: the service can't be reached any more.
        """
        for tried in range(TRIES):
            if tried:
                await asyncio.sleep(AGAIN_S)
            try:
                async for each in self._events(run_id, after):
                    if each is None:
                        return
                    after = each.number
                    yield each
            except aiohttp.ClientError:
                continue
        raise RunFailed(f"the service at {self.url} can't be reached; the events go on after number {after}")

    async def _events(self, run_id: str, after: int) -> AsyncIterator[ServiceEvent | None]:
        """The events of one connection; None at the end of the run."""
        headers = {} if after < 0 else {"Last-Event-ID": str(after)}
        async with self._open.get(f"/v1/runs/{run_id}/events", headers=headers) as answer:
            _check(answer.status, b"" if answer.status < 400 else await answer.read())
            fields: dict[str, bytes] = {}
            async for line in _lines(answer.content):
                name, _, value = line.partition(b": ")
                if line:
                    fields[name.decode()] = value
                    continue
                if fields.get("event") == b"end":
                    yield None
                    return
                if "id" in fields:
                    yield ServiceEvent(number=int(fields["id"]), event=decode(fields["data"]))
                fields = {}

    async def _asked(self, kind: type[T], method: str, path: str, **given: Any) -> T:
        return msgspec.json.decode((await self._answer(method, path, **given)).body, type=kind)

    async def _answer(self, method: str, path: str, **given: Any) -> _Answer:
        try:
            async with self._open.request(method, path, **given) as answer:
                body = await answer.read()
        except aiohttp.ClientError as error:
            raise RunFailed(f"the service at {self.url} can't be reached: {error}") from error
        _check(answer.status, body)
        return _Answer(status=answer.status, body=body)

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise ConfigError("a Client is used within `async with`")
        return self._session


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    body: bytes


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream, of any length."""
    rest = b""
    async for piece in content.iter_any():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line.rstrip(b"\r")


def _check(status: int, body: bytes) -> None:
    """Raises:
    ConfigError: the service has refused; says why.
    """
    if status < 400:
        return
    try:
        said = msgspec.json.decode(body, type=ProblemDetails).detail
    except msgspec.MsgspecError:
        said = body[:500].decode(errors="replace")
    raise ConfigError(f"the service refuses that ({status}): {said}")
