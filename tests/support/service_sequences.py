"""Random sequences of what clients and machines do to a service: submit, steer, vanish, kill, restart. Whatever the
sequence, every run that was taken has exactly one end, none is lost or made twice, and what is reported as spent is
what the model server billed.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlm.client import Client
from rlm.client.websocket import ENDS
from rlm.core.config import Config, PriceConfig, ProviderConfig, ServiceConfig
from rlm.core.exceptions import ConfigError, RunFailed
from rlm.service.messages import NewRun, ResultNote
from rlm.service.tokens import owner_token
from tests.servers.faults import WireServer
from tests.servers.openai_server import completion, openai_server, wire_call
from tests.support.served import Served, served

SENT, WRITTEN = 11, 7
PRICE = PriceConfig(input_usd=1_000.0, output_usd=2_000.0)
"""In US dollars for a million tokens."""
"""The tokens that the model server bills for each answer."""
CELL_EVERY = 6
"""One run in so many has a sandbox."""
ENDED = frozenset({"completed", "limit", "failed", "cancelled"})


@dataclass(slots=True)
class Asked:
    """A request for a run."""

    key: str
    id: str = ""
    """Empty: its answer was never read."""
    kills: int = 0
    """How often the service ended while the run may have gone on."""
    is_cancelled: bool = False
    says: int = 0
    """How often it was told something, each of which may be a turn more."""


_TASK = re.compile(r'Task: [^"]*?(tag-\d+)')
"""What a run was asked, below the data that it was given."""
_TAG = re.compile(r"(tag-\d+)")


class Bills:
    """A model that answers when it is let, and its books: how many answers it sent for each prompt."""

    def __init__(self) -> None:
        self.sent = Counter[str]()
        self.asked = Counter[str]()
        self.may_answer = asyncio.Semaphore(0)
        self.history: list[str] = []
        """What happened, in order, for whoever has to understand a problem."""

    async def __call__(self, received: Any) -> Any:
        said = json.dumps(received.body["messages"])
        tag = (_TASK.findall(said) or _TAG.findall(said))[0]
        self.asked[tag] += 1
        self.history.append(f"{tag} asked")
        await self.may_answer.acquire()
        try:
            answer = await _answer_to(received, tag)(received)
        except (asyncio.CancelledError, ConnectionError):
            self.may_answer.release()
            raise
        self.sent[tag] += 1
        self.history.append(f"{tag} sent")
        return answer


@dataclass(slots=True)
class Sequence:
    """One sequence, under way."""

    service: Served
    bills: Bills
    drawn: random.Random
    client: Client | None = None
    asked: list[Asked] = field(default_factory=list)
    lists: dict[str, list[Asked]] = field(default_factory=dict)
    """By their ids, the requests of lists."""
    steps: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    async def go(self, count: int) -> None:
        """Do so many steps, then let everything end, and look."""
        await self._start()
        try:
            for _ in range(count):
                step = self.drawn.choices(STEPS, WEIGHTS)[0]
                self.steps[step] += 1
                self.bills.history.append(step)
                await getattr(self, f"_{step}")()
            await self._settle()
        finally:
            assert self.client is not None
            await self.client.__aexit__(None, None, None)

    async def _start(self) -> None:
        await self.service.start()
        token = owner_token(self.service.folder)
        self.client = await Client(self.service.url, token).__aenter__()

    async def _submit(self) -> None:
        each = Asked(key=f"tag-{len(self.asked)}")
        self.asked.append(each)
        each.id = (await self._client.submit(_request(each), key=each.key)).id

    async def _again(self) -> None:
        """Ask for the same again, as a client does that has not read its answer."""
        if not self.asked:
            return
        each = self.drawn.choice(self.asked)
        if any(each in tasks for tasks in self.lists.values()):
            return
        note = await self._client.submit(_request(each), key=each.key)
        if each.id and each.id != note.id:
            self.problems.append(f"{each.key}: the same key made a run twice")
        each.id = note.id

    async def _vanish(self) -> None:
        """Send a request and go, at once or once it has been read."""
        each = Asked(key=f"tag-{len(self.asked)}")
        self.asked.append(each)
        at = self.service.url.rpartition("/")[2].partition(":")
        reader, writer = await asyncio.open_connection(at[0], int(at[2]))
        body = json.dumps({"prompt": _request(each).prompt}).encode()
        token = owner_token(self.service.folder)
        head = f"POST /v1/runs HTTP/1.1\r\nHost: {at[0]}\r\nAuthorization: Bearer {token}\r\n"
        about = f"Idempotency-Key: {each.key}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write((head + about).encode() + body)
        with suppress(ConnectionError):
            await writer.drain()
            if self.drawn.random() < 0.5:
                await reader.read(1)
        writer.close()

    async def _list(self) -> None:
        """Ask for a list of two, which are made in order."""
        tasks = [Asked(key=f"tag-{len(self.asked) + place}") for place in range(2)]
        body = {"tasks": [_request(each).prompt for each in tasks]}
        async with self._session.post("/execute", json=body) as answer:
            self.lists[(await answer.json())["execution_id"]] = tasks
        self.asked += tasks

    async def _steer(self) -> None:
        known = [each for each in self.asked if each.id]
        if not known:
            return
        each, action = self.drawn.choice(known), self.drawn.choice(["pause", "resume", "cancel", "say", "set"])
        acts: dict[str, dict[str, Any]] = {"say": {"text": "go on"}, "set": {"cap": "max_turns", "value": 9}}
        with suppress(ConfigError):  # it has ended
            await self._client.control(each.id, action, **acts.get(action, {}))
            each.is_cancelled |= action == "cancel"
            each.says += action == "say"

    async def _follow(self) -> None:
        """Read some events, go, come back and go on from the last number."""
        known = [each for each in self.asked if each.id]
        if not known:
            return
        each, last = self.drawn.choice(known), -1
        for _ in range(2):
            events = self._client.events(each.id, last)
            for _ in range(self.drawn.randrange(1, 4)):
                found = await _soon(anext(events, None))
                if found is None:
                    break
                if found.number != last + 1:
                    self.problems.append(f"{each.key}: event {found.number} came after {last}")
                last = found.number
            await events.aclose()  # type: ignore[attr-defined]

    async def _answer(self) -> None:
        self.bills.may_answer.release()

    async def _kill(self) -> None:
        await self._end(signal.SIGKILL)

    async def _restart(self) -> None:
        await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> None:
        await self.service.end(number)
        await self._client.__aexit__(None, None, None)
        for each in self.asked:
            each.kills += 1
        await self._start()

    async def _settle(self) -> None:
        """Let every run end, and check what became of all."""
        for list_id, tasks in self.lists.items():
            async with self._session.get(f"/executions/{list_id}/status") as answer:
                for each, told in zip(tasks, (await answer.json())["tasks"], strict=True):
                    each.id = told["run_id"]
        for each in self.asked:
            if not each.id:
                each.id = (await self._client.submit(_request(each), key=each.key)).id
        for _ in range(1_000 * len(self.asked)):
            self.bills.may_answer.release()
        for each in self.asked:
            with suppress(ConfigError):
                await self._client.control(each.id, "resume")
            await self._check(each, await self._client.result(each.id))
        listed = [note.id async for note in self._all()]
        if sorted(listed) != sorted(each.id for each in self.asked):
            self.problems.append(f"{len(self.asked)} runs were asked for, {len(listed)} are listed")

    async def _check(self, each: Asked, result: ResultNote) -> None:
        numbers, ends = [], 0
        async for found in self._client.events(each.id):
            numbers.append(found.number)
            ends += found.event.type == "completion.end" and found.event.parent is None
        if numbers != [*range(len(numbers))]:
            self.problems.append(f"{each.key}: its events are numbered {numbers}")
        never_went_on = result.status == "cancelled"  # what was cut off has no end of its own, or never began
        if not ((ends == 0 and never_went_on) or ends == 1) or result.status not in ENDED:
            self.problems.append(f"{each.key}: {ends} ends, {result.status}: {result.error}")
        if result.status == "completed" and result.response != f"done {each.key}":
            self.problems.append(f"{each.key}: answered {result.response!r}")
        if result.status != "completed" and not each.is_cancelled:
            self.problems.append(f"{each.key}: {result.status}, and nobody cancelled it: {result.error}")
        told = await self._told(each.id)
        end = {"completed": "process.completed", "cancelled": "process.canceled"}.get(result.status, "process.error")
        if [name for name in ENDS if told[name]] != [end] or told[end] != 1:
            self.problems.append(f"{each.key}: {result.status}, and was told {told}")
        self._check_spend(each, result)

    def _check_spend(self, each: Asked, result: ResultNote) -> None:
        """What was billed is reported, but for answers that were lost with their service or with a cancel."""
        sent, got = result.usage.get("input_tokens", 0), result.usage.get("output_tokens", 0)
        billed, lost = self.bills.sent[each.key], each.kills + each.is_cancelled
        said = f"{each}: {billed} answers were billed, {sent} + {got} tokens reported"
        if sent < (billed - lost) * SENT or (not lost and (sent, got) != (billed * SENT, billed * WRITTEN)):
            self.problems.append(said)  # a call that was lost with its service is reported as the most that it may cost
        cost_usd = (sent * PRICE.input_usd + got * PRICE.output_usd) / 1e6
        if result.status == "completed" and (result.cost_usd is None or abs(result.cost_usd - cost_usd) > 1e-9):
            self.problems.append(f"{said}, and a cost of {result.cost_usd}")
        calls = each.says + (2 if _has_cell(each.key) else 1)
        if self.bills.asked[each.key] > calls + each.kills:
            self.problems.append(f"{each}: asked the model {self.bills.asked[each.key]} times")

    async def _all(self) -> Any:
        before = ""
        while True:
            page = await self._client.runs(before=before, count=7)
            for note in page.runs:
                yield note
            if page.next is None:
                return
            before = page.next

    async def _told(self, run_id: str) -> Counter[str]:
        """What a socket is told of a run, by method; its numbers have to be without gaps."""
        told = Counter[str]()
        async with self._session.ws_connect("/ws") as socket:
            await socket.receive()
            await socket.send_json({"jsonrpc": "2.0", "method": "subscribe", "params": {"session_id": run_id}})
            while not told.keys() & ENDS:
                message = await socket.receive_json()
                if message["params"]["seq"] != told.total():
                    self.problems.append(f"{run_id}: {message} after {told.total()}")
                told[message["method"]] += 1
        return told

    @property
    def _session(self) -> Any:
        return self._client._open

    @property
    def _client(self) -> Client:
        assert self.client is not None
        return self.client


WEIGHTED = {
    "submit": 8, "list": 2, "again": 3, "vanish": 3, "steer": 6, "follow": 3, "answer": 8, "kill": 1, "restart": 1
}  # fmt: skip
STEPS, WEIGHTS = [*WEIGHTED], [*WEIGHTED.values()]


async def run_sequence(seed: int, folder: Path, count: int) -> Sequence:
    """A sequence of so many steps, done; `problems` says what was wrong."""
    bills = Bills()
    async with openai_server() as server:
        server.default = bills
        async with served(folder, config_for(server, folder), OPENAI_API_KEY="none") as service:
            made = Sequence(service=service, bills=bills, drawn=random.Random(seed))
            await made.go(count)
            return made


def config_for(server: WireServer, folder: Path) -> Config:
    """The settings of a service whose model is that server."""
    return Config(
        model="openai/m",
        environment="local",
        log_dir=str(folder / "logs"),
        openai=ProviderConfig(base_url=server.base_url, stream=False, max_retries=0),
        prices={"openai/m": PRICE},
        service=ServiceConfig(port=0, drain_s=0.01),
    )


def _has_cell(tag: str) -> bool:
    """Whether the run of that prompt runs a cell, which asks once more."""
    return int(tag.partition("-")[2]) % CELL_EVERY == CELL_EVERY - 1


def _answer_to(received: Any, tag: str) -> Any:
    usage = {"prompt_tokens": SENT, "completion_tokens": WRITTEN}
    if "tools" not in received.body:
        return completion(f"done {tag}", usage=usage)
    code = f"FINAL(llm_query('again {tag} please'))" if _has_cell(tag) else f"FINAL('done {tag}')"
    return completion("", calls=[wire_call("execute_code", {"code": code})], usage=usage, finish="tool_calls")


def _request(each: Asked) -> NewRun:
    return NewRun(prompt=f"answer {each.key} please")


async def _soon(event: Any) -> Any:
    """An event, where one comes without anything else being done; None where it does not."""
    with suppress(TimeoutError, RunFailed):
        async with asyncio.timeout(0.2):
            return await event
    return None
