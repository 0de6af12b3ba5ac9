"""Random trees over a real HTTP server that cuts off, hangs, misreports and overruns, and keeps books of it all.

The server counts a token for every four characters, of the prompt and of what it has written, be that received or not:
fewer than any estimate, so that no slack is needed.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from aiohttp import web

from rlm.backends.http_client import Timeouts
from rlm.backends.openai.backend import OpenAIBackend
from rlm.backends.provider import ProviderSettings
from rlm.backends.retry import RetryPolicy
from rlm.core.calls.model import note_retry
from rlm.core.config import Config, PriceConfig
from rlm.core.types import Message, ModelRequest
from rlm.runtime.models import BackendPool
from rlm.runtime.request import Request
from rlm.runtime.runs import complete
from rlm.runtime.wiring import Parts
from tests.servers.faults import Received, WireServer, event, serve
from tests.servers.openai_server import DONE, chunk, refusal, wire_call
from tests.support.programs import ProgramSandbox
from tests.support.tree_runs import Watcher
from tests.support.trees import PRICES, Plan, TreeModel, draw_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from pathlib import Path

    from rlm.core.outcome import RLMResult

CHARS_PER_TOKEN = 4
PIECE_CHARS = 40
FAULTS = ("refused", "dropped", "cut", "silent", "hung", "misreported", "garbled", "failed within")
PATIENCE_S = 0.05
"""How long the client waits for a server that hangs."""
ODD_USAGES: tuple[Any, ...] = (
    *(None, [], "many", {}, {"prompt_tokens": -5, "completion_tokens": -7}),
    {"prompt_tokens": 0, "completion_tokens": 0},
    {"prompt_tokens": 10**12, "completion_tokens": 0},
    {"prompt_tokens": "x", "completion_tokens": [1]},
    {"prompt_tokens": 1e300, "completion_tokens": 1e300},
)
Serve: TypeAlias = "Callable[[Received, _Reply], Coroutine[Any, Any, web.StreamResponse]]"


@dataclass(kw_only=True)
class Books:
    """What the server has served, in tokens."""

    input_tokens: int = 0
    output_tokens: int = 0
    past_grant: int = 0
    """The part of the output that was written past the caps of requests."""
    usd: float = 0.0
    past_grant_usd: float = 0.0
    faults: dict[str, int] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(kw_only=True)
class _Reply:
    """One reply while it is written."""

    request: ModelRequest
    text: str
    calls: list[dict[str, Any]]
    prompt_tokens: int
    written_chars: int = 0

    @property
    def written_tokens(self) -> int:
        return -(-self.written_chars // CHARS_PER_TOKEN)

    @property
    def usage(self) -> dict[str, int]:
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.written_tokens}


class FaultyServer:
    """Answers as the model of a tree does, with faults; an `overruns` of 1 has it write past every cap."""

    def __init__(self, plan: Plan, *, faulty: float, overruns: float, kinds: Sequence[str]) -> None:
        self._rng = random.Random(plan.seed)
        self._model = TreeModel(plan, self._rng)
        self._plan = plan
        self._faulty = faulty
        self._kinds = kinds
        self._overruns = overruns
        self.books = Books()

    def new_mark(self) -> str:
        return self._model.new_mark()

    async def __call__(self, received: Received) -> web.StreamResponse:
        kind, answer = self._drawn()
        self.books.faults[kind] = self.books.faults.get(kind, 0) + 1
        request = _request_of(received.body)
        if kind == "refused":
            return await refusal(self._rng.choice([400, 429, 503, 529]), "no", headers={"Retry-After": "0"})(received)
        text, calls = self._model._reply(request)
        wired = [{"index": at, **wire_call(call.name, call.arguments, call.id)} for at, call in enumerate(calls)]
        prompt = sum(len(message.content) for message in request.messages)
        reply = _Reply(request=request, text=text, calls=wired, prompt_tokens=max(1, prompt // CHARS_PER_TOKEN))
        try:
            return await answer(received, reply)
        except ConnectionError:  # the client has hung up
            return web.Response()
        finally:
            self._book(reply)

    def _drawn(self) -> tuple[str, Serve]:
        if self._rng.random() < self._overruns:
            return "overran", self._overrun
        if self._rng.random() > self._faulty:
            return "good", self._good
        faults: dict[str, Serve] = {
            "refused": self._good,
            "dropped": self._dropped,
            "cut": self._cut,
            "silent": self._silent,
            "hung": self._hung,
            "misreported": self._misreported,
            "garbled": self._garbled,
            "failed within": self._failed,
        }
        kind = self._rng.choice(self._kinds)
        return kind, faults[kind]

    async def _good(self, received: Received, reply: _Reply) -> web.StreamResponse:
        response = await self._whole(received, reply)
        await response.write(event({"choices": [], "usage": reply.usage}).encode() + DONE.encode())
        return response

    async def _misreported(self, received: Received, reply: _Reply) -> web.StreamResponse:
        response = await self._whole(received, reply)
        usage = self._rng.choice(ODD_USAGES)
        await response.write(event({"choices": [], "usage": usage}).encode() + DONE.encode())
        return response

    async def _dropped(self, received: Received, reply: _Reply) -> web.StreamResponse:
        """Work on it, and drop the connection before the first byte."""
        reply.written_chars = len(reply.text)
        assert received.http.transport is not None
        received.http.transport.abort()
        return web.Response()

    async def _cut(self, received: Received, reply: _Reply) -> web.StreamResponse:
        response = await self._begun(received, reply)
        assert received.http.transport is not None
        received.http.transport.close()
        return response

    async def _silent(self, received: Received, reply: _Reply) -> web.StreamResponse:
        reply.written_chars = len(reply.text)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def _hung(self, received: Received, reply: _Reply) -> web.StreamResponse:
        await self._begun(received, reply)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def _garbled(self, received: Received, reply: _Reply) -> web.StreamResponse:
        response = await self._begun(received, reply)
        await response.write(b"data: {nonsense\n\n")
        return response

    async def _failed(self, received: Received, reply: _Reply) -> web.StreamResponse:
        response = await self._begun(received, reply)
        if not reply.written_chars:
            reply.prompt_tokens = 0  # it was refused
        await response.write(event({"error": {"type": "overloaded_error", "message": "busy"}}).encode())
        return response

    async def _overrun(self, received: Received, reply: _Reply) -> web.StreamResponse:
        """Write on and on, whatever the cap is."""
        response = await self._opened(received)
        while True:
            await self._say(response, reply, "word " * (PIECE_CHARS // 5))

    async def _whole(self, received: Received, reply: _Reply) -> web.StreamResponse:
        """All of the reply, cut at its cap, without usage."""
        response = await self._opened(received)
        cap_chars = reply.request.max_output_tokens * CHARS_PER_TOKEN
        whole = reply.text[:cap_chars]
        for at in range(0, len(whole), PIECE_CHARS):
            await self._say(response, reply, whole[at : at + PIECE_CHARS])
        for call in reply.calls:
            size = len(call["function"]["name"] + call["function"]["arguments"])
            if reply.written_chars + size > cap_chars:
                await response.write(chunk({}, "length").encode())
                return response
            reply.written_chars += size
            await response.write(chunk({"tool_calls": [call]}).encode())
        await response.write(chunk({}, "tool_calls" if reply.calls else "stop").encode())
        return response

    async def _begun(self, received: Received, reply: _Reply) -> web.StreamResponse:
        """Some of the reply."""
        response = await self._opened(received)
        for _ in range(self._rng.randint(0, 3)):
            left = reply.request.max_output_tokens * CHARS_PER_TOKEN - reply.written_chars
            await self._say(response, reply, ("part " * (PIECE_CHARS // 5))[:left])
        return response

    async def _opened(self, received: Received) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(received.http)
        return response

    async def _say(self, response: web.StreamResponse, reply: _Reply, text: str) -> None:
        reply.written_chars += len(text)
        await response.write(chunk({"content": text}).encode())

    def _book(self, reply: _Reply) -> None:
        past = max(0, reply.written_tokens - reply.request.max_output_tokens)
        price = PRICES[reply.request.model]
        self.books.input_tokens += reply.prompt_tokens
        self.books.output_tokens += reply.written_tokens
        self.books.past_grant += past
        output_usd = price.output_usd / 1_000_000
        self.books.usd += reply.prompt_tokens * price.input_usd / 1_000_000 + reply.written_tokens * output_usd
        self.books.past_grant_usd += past * output_usd


@dataclass(kw_only=True)
class GrownOverHttp:
    """A tree over a faulty server, after its end."""

    plan: Plan
    result: RLMResult
    books: Books
    recorded_tokens: int
    """The tokens of all ends of model calls in the record."""


def draw_faulty(seed: int) -> Plan:
    """A tree that takes no time of its own."""
    rng = random.Random(seed)
    plan = draw_plan(rng)
    timeout_s = rng.choice([None, None, None, rng.uniform(0.2, 1.0)])
    budget = msgspec.structs.replace(plan.budget, timeout_s=timeout_s, max_depth=min(2, plan.budget.max_depth))
    if budget.token_budget is None:
        budget = msgspec.structs.replace(budget, token_budget=rng.randint(5_000, 200_000))
    return replace(plan, budget=budget, latency_s=0.0, sandbox_s=0.0, native_tools=True, cache=False, width=3)


def grow_over_http(seed: int, log_dir: Path, *, faulty: float = 0.5, overruns: float = 0.0) -> GrownOverHttp:
    """Grow the tree of a seed to its end, on a real event loop; of three, one meets nothing but false reports."""
    plan = draw_faulty(seed)
    kinds = ("misreported",) if seed % 3 == 0 else FAULTS
    return asyncio.run(_grow(plan, log_dir, FaultyServer(plan, faulty=faulty, overruns=overruns, kinds=kinds)))


async def _grow(plan: Plan, log_dir: Path, server: FaultyServer) -> GrownOverHttp:
    async with serve(WireServer((), server), "/chat/completions", "/v1") as there:
        settings = ProviderSettings(
            base_url=there.base_url,
            timeouts=Timeouts(total_s=5.0, first_byte_s=PATIENCE_S, idle_s=PATIENCE_S),
            retry=RetryPolicy(max_retries=2, base_s=0.0),
        )
        backend = OpenAIBackend(settings, on_retry=note_retry)
        sink = Watcher(plan)
        parts = Parts(backends=BackendPool(backend), tools=(), sinks=(sink,), sandboxes={"auto": ProgramSandbox()})
        sink.cancel = parts.cancel
        try:
            result = await complete(parts, _asked(plan, server, log_dir))
        finally:
            await parts.aclose()
            await backend.aclose()
    recorded = sum(event.body.usage.total_tokens for event in sink.events if event.type == "model.end")
    return GrownOverHttp(plan=plan, result=result, books=server.books, recorded_tokens=recorded)


def _asked(plan: Plan, server: FaultyServer, log_dir: Path) -> Request:
    prices = {
        name: PriceConfig(input_usd=PRICES[name].input_usd, output_usd=PRICES[name].output_usd) for name in PRICES
    }
    config = Config(
        model="main",
        sub_model="sub",
        budget=plan.budget,
        max_sandboxes=plan.max_sandboxes,
        max_output_tokens=plan.max_output_tokens,
        log_dir=str(log_dir),
        memoise=plan.memoise,
        prices=prices,
    )
    return Request(prompt=f"root {server.new_mark()}", context="some data", config=config)


def problems(grown: GrownOverHttp) -> list[str]:
    """What was spent and isn't in the books of the run, or passed a cap."""
    books, caps, usage = grown.books, grown.plan.budget, grown.result.usage
    found = []
    served, reported = books.tokens - books.past_grant, usage.input_tokens + usage.output_tokens
    if caps.token_budget is not None and served > caps.token_budget:
        found.append(f"{served} tokens served within grants, with a cap of {caps.token_budget}")
    if caps.cost_budget_usd is not None and books.usd - books.past_grant_usd > caps.cost_budget_usd + 1e-9:
        found.append(f"${books.usd - books.past_grant_usd} served within grants, with a cap of {caps.cost_budget_usd}")
    if reported < served:
        found.append(f"{reported} tokens reported, {served} served within grants")
    if grown.recorded_tokens != reported:
        found.append(f"{reported} tokens reported, {grown.recorded_tokens} in the record")
    if (grown.result.cost_usd or 0.0) < books.usd - books.past_grant_usd - 1e-9:
        found.append(f"${grown.result.cost_usd} reported, ${books.usd - books.past_grant_usd} served within grants")
    return [f"{problem}: {books} {grown.plan}" for problem in found]


def _request_of(body: dict[str, Any]) -> ModelRequest:
    messages = tuple(
        Message(role="user" if each["role"] == "tool" else each["role"], content=str(each["content"] or ""))
        for each in body["messages"]
    )
    schema: dict[str, Any] | None = {} if "response_format" in body else None
    return ModelRequest(
        model=body["model"], messages=messages, max_output_tokens=body["max_tokens"], response_schema=schema
    )
