"""The client that waits: each method is the awaited one of `Client`, run to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from rlm.client.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.client.client import ServiceEvent
    from rlm.service.messages import NewRun, ResultNote, RunNote, RunPage


class BlockingClient:
    """A client of one service; used within `with`, where no event loop runs."""

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        """See `Client`."""
        self._client = Client(url, token)
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        self._runner.run(self._client.__aenter__())
        return self

    def __exit__(self, *_exc: object) -> None:
        try:
            self._runner.run(self._client.__aexit__())
        finally:
            self._runner.close()

    def run(self, prompt: str, context: Any = None, **given: Any) -> ResultNote:
        """See `Client.run`."""
        return self._runner.run(self._client.run(prompt, context, **given))

    def submit(self, asked: NewRun, *, key: str | None = None) -> RunNote:
        """See `Client.submit`."""
        return self._runner.run(self._client.submit(asked, key=key))

    def status(self, run_id: str) -> RunNote:
        """See `Client.status`."""
        return self._runner.run(self._client.status(run_id))

    def runs(self, *, before: str = "", count: int = 50) -> RunPage:
        """See `Client.runs`."""
        return self._runner.run(self._client.runs(before=before, count=count))

    def result(self, run_id: str) -> ResultNote:
        """See `Client.result`."""
        return self._runner.run(self._client.result(run_id))

    def control(self, run_id: str, action: str, **given: Any) -> RunNote:
        """See `Client.control`."""
        return self._runner.run(self._client.control(run_id, action, **given))

    def events(self, run_id: str, after: int = -1) -> Iterator[ServiceEvent]:
        """See `Client.events`."""
        events = self._client.events(run_id, after)
        while (each := self._runner.run(_following(events))) is not None:
            yield each


async def _following(events: Any) -> ServiceEvent | None:
    found: ServiceEvent | None = await anext(events, None)
    return found
