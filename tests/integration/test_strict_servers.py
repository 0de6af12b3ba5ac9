"""Whole runs against real servers that refuse what others let pass: each takes the conversation to its end."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rlm import RLM, Budget, Config
from rlm.core.config import ProviderConfig
from rlm.core.events import Event, ModelEnd, Warned, decode
from rlm.core.exceptions import ToolsRefusedError
from rlm.core.outcome import RLMResult
from rlm.sinks.memory import MemorySink
from tests.servers.faults import Received, WireServer, raw
from tests.servers.openai_server import openai_server, refusal

Judge: TypeAlias = Callable[[dict[str, Any]], str | None]
"""Says why a request is refused; None: it isn't."""


class Strict:
    """Answers by the next message of a script, the last one over and over, unless its judge refuses the request."""

    def __init__(self, judge: Judge, *script: dict[str, Any]) -> None:
        self._judge = judge
        self._script = list(script)
        self.refused = 0

    async def __call__(self, received: Received) -> Any:
        if problem := self._judge(received.body):
            self.refused += 1
            return await refusal(400, problem)(received)
        message = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        return await raw(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode())(received)


def called(arguments: str, **more: Any) -> dict[str, Any]:
    call = {"id": "a", "type": "function", "function": {"name": "execute_code", "arguments": arguments}}
    return {"content": "", "tool_calls": [call], **more}


def code(text: str) -> dict[str, Any]:
    return called(json.dumps({"code": text}))


def fenced(text: str) -> dict[str, Any]:
    return {"content": f"```repl\n{text}\n```"}


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    async with openai_server() as served:
        yield served


@pytest.fixture
def make(tmp_path: Path, server: WireServer) -> Iterator[Callable[..., RLM]]:
    """Makes an RLM over the server; all are closed at the end."""
    made: list[RLM] = []

    def build(**settings: Any) -> RLM:
        provider = ProviderConfig(base_url=server.base_url, max_retries=0)
        how = {"environment": "local", "log_dir": str(tmp_path / "logs"), "sinks": (), **settings}
        sinks = how.pop("sinks")
        made.append(RLM(config=Config(model="openai/m", openai=provider, **how), sinks=sinks))
        return made[-1]

    yield build
    for rlm in made:
        rlm.close()


def read(result: RLMResult) -> list[Event]:
    """The events of a run, as the record has them."""
    assert result.trajectory is not None
    return [decode(line) for line in result.trajectory.read_bytes().splitlines()]


def turns(body: dict[str, Any]) -> str | None:
    roles = [message["role"] for message in body["messages"]]
    for before, after in itertools.pairwise(roles):
        if (before, after) in {("tool", "user"), ("user", "user"), ("assistant", "assistant")}:
            return f"Unexpected role '{after}' after role '{before}'"
    return None


def parsed(body: dict[str, Any]) -> str | None:
    calls = [call for message in body["messages"] for call in message.get("tool_calls", ())]
    if len({call["id"] for call in calls}) < len(calls):
        return "tool call ids must be unique"
    for call in calls:
        try:
            json.loads(call["function"]["arguments"])["code"]
        except (ValueError, TypeError, KeyError):
            return "Failed to parse tool call arguments as JSON"
    return None


def reasoned(body: dict[str, Any]) -> str | None:
    for index, message in enumerate(body["messages"]):
        if message.get("tool_calls") and not message.get("reasoning_content"):
            return f"reasoning_content is missing in assistant tool call message at index {index}"
    return None


def toolless(body: dict[str, Any]) -> str | None:
    return "gemma3:4b does not support tools" if "tools" in body else None


@pytest.mark.parametrize("dialect", ["tools", "code"])
async def test_roles_take_turns_up_to_the_landing(make: Any, server: WireServer, dialect: str) -> None:
    write = {"tools": code, "code": fenced}[dialect]
    server.default = strict = Strict(turns, *(write(f"print({n})") for n in range(4)), {"content": "FINAL(about 4)"})
    result = await make(dialect=dialect, budget=Budget(max_turns=4)).acompletion("q")
    assert (result.limit, result.response, strict.refused) == ("max_turns", "about 4", 0)


ODD = ('{"code": "a = 1",}', "b = 2", '{"code": "c = "3""}', '{"code": "d = 4\ne = 5"}')


async def test_odd_arguments_with_one_id_poison_no_conversation(make: Any, server: WireServer) -> None:
    server.default = strict = Strict(parsed, *map(called, ODD), code("FINAL([a, b, c, d, e])"))
    result = await make().acompletion("q")
    assert (result.value, strict.refused) == ([1, 2, "3", 4, 5], 0)


async def test_reasoning_goes_back_and_what_a_resumed_run_has_lost_is_made_up_for(
    make: Any, server: WireServer
) -> None:
    cells: Sequence[dict[str, Any]] = [
        {**code(text), "reasoning_content": f"I think {text}."} for text in ("a = 1", "a += 1", "FINAL(a)")
    ]
    server.default = strict = Strict(reasoned, *cells)
    result = await make().acompletion("q")
    assert (result.value, strict.refused) == (2, 0)
    ends = [event.body for event in read(result) if isinstance(event.body, ModelEnd)]
    assert ends[0].reasoning == "I think a = 1."
    server.default = strict = Strict(reasoned, code("FINAL([a])"))
    assert (await make().afork(result.run_id, 2, "and again")).value == [2]
    assert strict.refused == 1
    said = server.requests[-1].body["messages"]
    assert [each["reasoning_content"] for each in said if each.get("tool_calls")] == [
        "I think a = 1.",
        "I think a += 1.",
    ]


ASKS_CHILD = "answer = rlm_query('sub')\nprint(answer)"


async def test_a_server_that_takes_no_tools_is_asked_in_fenced_code_and_that_is_remembered(
    make: Any, server: WireServer
) -> None:
    script = [fenced(ASKS_CHILD), fenced("FINAL('from a child')"), fenced("FINAL(answer)")]
    server.default = strict = Strict(toolless, *script, *script)
    rlm = make(sinks=[sink := MemorySink()])
    first, second = await rlm.acompletion("q"), await rlm.acompletion("q")
    assert [first.value, second.value] == ["from a child"] * 2
    assert (strict.refused, len(server.requests)) == (1, 7)
    warnings = [event.body.message for event in sink.events if isinstance(event.body, Warned)]
    assert any("goes on in fenced code" in warning for warning in warnings)
    asked = len(server.requests)
    server.default = Strict(toolless, fenced("FINAL([answer])"))
    assert (await make().afork(first.run_id, 2, "once more")).value == ["from a child"]
    assert len(server.requests) == asked + 1


async def test_who_wants_tool_calls_is_told_that_there_are_none(make: Any, server: WireServer) -> None:
    server.default = Strict(toolless, fenced("FINAL(1)"))
    result = await make(dialect="tools").acompletion("q")
    assert isinstance(result.error, ToolsRefusedError)
    assert "--dialect code" in str(result.error)
