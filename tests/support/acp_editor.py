"""An editor's side of the Agent Client Protocol, by hand: what a client sends and reads, line by line."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from rlm.acp.lines import Lines
from rlm.acp.server import serve
from rlm.processes.own_streams import Descriptors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Refused(Exception):
    """An error of the agent, as it stands in its answer."""


class Editor:
    """Talks to one agent; what the agent asks is answered by `permit`."""

    def __init__(self, lines: Lines, permit: Callable[[Any], str | None]) -> None:
        self.lines = lines
        self.updates: list[Any] = []
        self.asked: list[Any] = []
        """The permissions that were asked for."""
        self._permit = permit
        self._next = 0
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._waiting: list[tuple[Callable[[Any], bool], asyncio.Future[Any]]] = []
        self.strays: list[Any] = []
        """Answers to nothing that was asked."""
        self.reading = asyncio.create_task(self._read())
        self.reading.add_done_callback(self._ended)

    def write(self, line: bytes) -> None:
        self.lines.writer.write(line + b"\n")

    def notify(self, method: str, **params: Any) -> None:
        self.write(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode())

    def ask(self, method: str, **params: Any) -> asyncio.Future[Any]:
        """Send a request; its result is awaited."""
        self._next += 1
        future = self._pending[self._next] = asyncio.get_running_loop().create_future()
        self.write(json.dumps({"jsonrpc": "2.0", "id": self._next, "method": method, "params": params}).encode())
        return future

    async def opened(self, cwd: object, **more: Any) -> str:
        """The id of a new session."""
        return str((await self.ask("session/new", cwd=str(cwd), mcpServers=[], **more))["sessionId"])

    def prompt(self, session: str, *blocks: Any) -> asyncio.Future[Any]:
        """Ask; texts stand for blocks of text."""
        made = [{"type": "text", "text": block} if isinstance(block, str) else block for block in blocks]
        return self.ask("session/prompt", sessionId=session, prompt=made)

    async def update(self, wanted: Callable[[Any], bool]) -> Any:
        """Wait for an update."""
        for each in self.updates:
            if wanted(each):
                return each
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, future))
        return await future

    def said(self, kind: str = "agent_message_chunk") -> str:
        """The texts of all chunks of that kind."""
        return "".join(each["content"]["text"] for each in self.updates if each["sessionUpdate"] == kind)

    async def _read(self) -> None:
        while (message := await self.lines.receive()) is not None:
            if message.get("method") == "session/update":
                self._updated(message["params"]["update"])
            elif "method" in message:
                self._answer(message)
            elif (future := self._pending.pop(message["id"], None)) is None:
                self.strays.append(message)
            elif "error" in message:
                future.set_exception(Refused(message["error"]))
                self._give_up(Refused(message["error"]))
            else:
                future.set_result(message["result"])

    def _ended(self, reading: asyncio.Task[None]) -> None:
        """Nobody waits for an agent that has gone."""
        error = asyncio.CancelledError() if reading.cancelled() else reading.exception() or EOFError()
        self._give_up(error)
        for future in self._pending.values():
            if not future.done():
                future.set_exception(error)

    def _give_up(self, error: BaseException) -> None:
        """Wait for no update any more."""
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)

    def _updated(self, update: Any) -> None:
        self.updates.append(update)
        for wanted, future in self._waiting:
            if not future.done() and wanted(update):
                future.set_result(update)

    def _answer(self, message: Any) -> None:
        self.asked.append(message["params"])
        chosen = self._permit(message["params"])
        outcome = {"outcome": "cancelled"} if chosen is None else {"outcome": "selected", "optionId": chosen}
        self.write(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"outcome": outcome}}).encode())


@asynccontextmanager
async def editor(permit: Callable[[Any], str | None] = lambda _asked: "no", **overrides: Any) -> AsyncIterator[Editor]:
    """An editor with an agent in this process, which ends when the editor closes its end."""
    theirs, ours = os.pipe(), os.pipe()
    serving = asyncio.create_task(serve(overrides, Descriptors(reading=ours[0], writing=theirs[1])))
    made = Editor(await Lines.over(Descriptors(reading=theirs[0], writing=ours[1])), permit)
    try:
        await made.ask("initialize", protocolVersion=1)
        yield made
        await made.lines.close()
        await serving
        await made.reading
    finally:
        for task in (serving, made.reading):
            task.cancel()
