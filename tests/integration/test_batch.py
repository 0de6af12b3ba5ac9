"""Batches: every question once, whatever ends the process; caps over all runs; outputs in order."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.config import Config
from rlm.core.exceptions import (
    AuthenticationError,
    BackendConnectionError,
    BadRequestError,
    ConfigError,
    SharedBudgetExhausted,
)
from rlm.core.types import ModelReply, ModelRequest, ModelTraits, Price, TokenUsage
from rlm.jobs.batch.batch import BatchCaps
from rlm.jobs.batch.control import BatchControl
from rlm.jobs.batch.planning import BatchRequest, opened, run_batch
from rlm.runtime.control import Act
from tests.architecture.sources import ROOT
from tests.integration.cli import User
from tests.servers.faults import Received
from tests.servers.openai_server import completion, openai_server, streamed, wire_call

CONFIG = Config(model="scripted/m", environment="local")


def batch_of(tmp_path: Path, count: int, **more: Any) -> BatchRequest:
    path = tmp_path / "q.jsonl"
    path.write_text("".join(json.dumps({"id": f"q{n}", "n": n}) + "\n" for n in range(count)))
    return BatchRequest(questions=path, out=tmp_path / "out", prompt="number {n}", **more)


def outputs(request: BatchRequest) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (request.out / "results.jsonl").read_text().splitlines()]


def number_in(request: ModelRequest) -> int:
    text = next(message.content for message in request.messages if "number " in message.content)
    return int(text.split("number ")[1].split()[0])


def cell(code: str) -> dict[str, Any]:
    """A call on OpenAI's wire that runs code."""
    return wire_call("execute_code", json.dumps({"code": code}))


async def test_outputs_are_in_the_order_of_the_questions_whatever_came_first(tmp_path: Path) -> None:
    last = asyncio.Event()

    async def answer(request: ModelRequest) -> str:
        if number_in(request) == 0:
            await last.wait()
        elif number_in(request) == 4:
            last.set()
        return f"it is {number_in(request)}"

    asked = batch_of(tmp_path, 5)
    report = await run_batch(asked, CONFIG, backend=ScriptedBackend(answer))
    assert (report.status.completed, report.stopped) == (5, None)
    assert [(row["id"], row["answer"]) for row in outputs(asked)] == [(f"q{n}", f"it is {n}") for n in range(5)]
    with pytest.raises(ConfigError, match="--resume goes on"):
        await run_batch(asked, CONFIG, backend=ScriptedBackend(answer))


async def test_what_failed_is_listed_and_asked_again_only_when_told_to(tmp_path: Path) -> None:
    is_broken = True

    def answer(request: ModelRequest) -> str | Exception:
        return BadRequestError("no") if is_broken and number_in(request) == 1 else "yes"

    asked, backend = batch_of(tmp_path, 3), ScriptedBackend(answer)
    report = await run_batch(asked, CONFIG, backend=backend)
    assert [(each.id, each.reason) for each in report.failures] == [("q1", "BadRequestError: no")]
    is_broken = False
    before = len(backend.requests)
    await run_batch(replace(asked, resume=True), CONFIG, backend=backend)
    assert len(backend.requests) == before
    report = await run_batch(replace(asked, resume=True, retry_failed=True), CONFIG, backend=backend)
    assert (report.status.completed, len(backend.requests)) == (3, before + 1)
    assert [row["answer"] for row in outputs(asked)] == ["yes"] * 3


async def test_a_cap_holds_over_all_runs_and_a_higher_one_goes_on_at_no_repeated_cost(tmp_path: Path) -> None:
    priced = ModelTraits(price=Price(input_usd=0.0, output_usd=1e6))
    finals = Counter[int]()

    def answer(request: ModelRequest) -> ModelReply:
        number = number_in(request)
        if not any(message.role == "tool" for message in request.messages):
            finals[number] += 1
            call = tool_call("execute_code", code="x = 1")
            return ModelReply(text="", tool_calls=(call,), usage=TokenUsage(input_tokens=9, output_tokens=500))
        return ModelReply(text="done", usage=TokenUsage(input_tokens=9, output_tokens=500))

    asked = batch_of(tmp_path, 4, concurrency=2, caps=BatchCaps(cost_budget_usd=2_600.0))
    backend = ScriptedBackend(answer, traits=priced)
    config = msgspec.structs.replace(CONFIG, max_output_tokens=1_000)
    report = await run_batch(asked, config, backend=backend)
    assert isinstance(report.stopped, SharedBudgetExhausted)
    assert report.status.cost_usd is not None
    assert report.status.cost_usd == 500.0 * len(backend.requests) <= 2_600.0
    more = replace(asked, resume=True, caps=BatchCaps(cost_budget_usd=9_000.0))
    report = await run_batch(more, config, backend=backend)
    assert (report.status.completed, report.status.cost_usd, len(backend.requests)) == (4, 4_000.0, 8)
    assert set(finals.values()) == {1}
    assert sum(row["cost_usd"] for row in outputs(asked)) == 4_000.0


async def test_what_every_question_would_meet_stops_the_batch(tmp_path: Path) -> None:
    asked = batch_of(tmp_path, 9, concurrency=1)
    refused = ScriptedBackend(lambda _request: AuthenticationError("key refused"))
    report = await run_batch(asked, CONFIG, backend=refused)
    assert (str(report.stopped), len(refused.requests), report.status.left) == ("key refused", 1, 9)
    report = await run_batch(replace(asked, resume=True), CONFIG, backend=ScriptedBackend(lambda _request: "yes"))
    assert report.status.completed == 9


async def test_a_provider_that_is_down_loses_a_few_questions_and_not_all(tmp_path: Path) -> None:
    asked, down = batch_of(tmp_path, 40, concurrency=1), ScriptedBackend(lambda _: BackendConnectionError("down"))
    report = await run_batch(asked, CONFIG, backend=down)
    assert (str(report.stopped), report.status.left) == (
        "10 questions in a row were lost: BackendConnectionError: down",
        30,
    )
    again = replace(asked, resume=True, retry_failed=True)
    report = await run_batch(again, CONFIG, backend=ScriptedBackend(lambda _: "up"))
    assert report.status.completed == 40


async def test_a_batch_is_paused_goes_on_and_is_cancelled_as_a_whole(tmp_path: Path) -> None:
    asked_first, may_answer = asyncio.Event(), asyncio.Event()

    async def answer(_request: ModelRequest) -> str:
        asked_first.set()
        await may_answer.wait()
        return "yes"

    asked, backend = batch_of(tmp_path, 5, concurrency=1, caps=BatchCaps(timeout_s=60.0)), ScriptedBackend(answer)
    async with opened(asked, CONFIG, backend=backend) as batch:
        control, running = BatchControl(batch), asyncio.create_task(batch.run())
        await asked_first.wait()
        control.act(Act(action="set", cap="cost_budget_usd", value=5))
        control.act(Act(action="pause"))
        stands = control.status()
        assert (stands.state, stands.budget["cost_budget_usd"], stands.waits_for) == ("paused", 5, ["1 runs"])
        with pytest.raises(ConfigError, match="paused already"):
            control.act(Act(action="pause"))
        asked_first.clear()
        control.act(Act(action="resume"))
        may_answer.set()
        await asked_first.wait()
        may_answer.clear()
        control.act(Act(action="cancel", who="ann"))
        report = await running
    assert str(report.stopped) == "the batch was cancelled by ann"
    assert 0 < report.status.left < 5
    may_answer.set()
    report = await run_batch(replace(asked, resume=True), CONFIG, backend=backend)
    assert report.status.completed == 5


async def test_the_time_of_a_batch_is_all_that_it_has_worked(tmp_path: Path) -> None:
    async def never(_request: ModelRequest) -> str:
        await asyncio.Event().wait()
        return ""

    asked = batch_of(tmp_path, 1, caps=BatchCaps(timeout_s=0.2))
    report = await run_batch(asked, CONFIG, backend=ScriptedBackend(never))
    assert (str(report.stopped), report.status.left) == ("timeout_s of 0.2 s passed over the whole batch", 1)


@pytest.mark.parametrize(("form", "is_typed"), [("csv", True), ("parquet", True), ("parquet", False)])
async def test_answers_of_a_schema_become_columns(tmp_path: Path, form: str, is_typed: bool) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "tags": {"type": "array"}}}

    def answer(request: ModelRequest) -> Any:
        return tool_call("execute_code", code=f"FINAL({{'n': {number_in(request)}, 'tags': ['a', 'b']}})")

    asked = batch_of(tmp_path, 2, format=form, output_schema=schema if is_typed else None)
    report = await run_batch(asked, CONFIG, backend=ScriptedBackend(answer))
    assert report.outputs == asked.out / f"results.{form}"
    if form == "csv":
        rows = report.outputs.read_text().splitlines()
        assert rows[0].endswith(",n,tags")
        assert [row.endswith(f',{n},"[""a"",""b""]"') for n, row in enumerate(rows[1:])] == [True, True]
    else:
        import duckdb

        found = duckdb.execute(f"SELECT id, {'value.n, value.tags' if is_typed else 'answer'} FROM '{report.outputs}'")
        typed = [("q0", 0, ["a", "b"]), ("q1", 1, ["a", "b"])]
        texts = [(f"q{n}", f'{{"n": {n}, "tags": ["a", "b"]}}') for n in (0, 1)]
        assert found.fetchall() == (typed if is_typed else texts)
    assert [path.name for path in asked.out.glob(".*")] == [".lock"]


@pytest.mark.parametrize("way", ["version", "questions", "prompt", "none"])
async def test_what_is_resumed_has_to_be_the_same(tmp_path: Path, way: str) -> None:
    asked, backend = batch_of(tmp_path, 1), ScriptedBackend(lambda _request: "yes")
    await run_batch(asked, CONFIG, backend=backend)
    again = replace(asked, resume=True)
    if way == "version":
        manifest = asked.out / "manifest.json"
        manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 99'))
    elif way == "questions":
        asked.questions.write_text('{"n": 1}\n')
    elif way == "prompt":
        again = replace(again, prompt="another")
    else:
        again = replace(again, out=tmp_path / "elsewhere")
    said = {"version": "version 99", "questions": "is not the file", "prompt": "--prompt", "none": "there is no batch"}
    with pytest.raises(ConfigError, match=said[way]):
        await run_batch(again, CONFIG, backend=backend)
    assert not (tmp_path / "elsewhere").exists()


async def test_wrong_rows_are_refused_before_anything_is_asked_or_written(tmp_path: Path) -> None:
    asked, backend = replace(batch_of(tmp_path, 3), prompt="{nothing}"), ScriptedBackend(lambda _request: "yes")
    with pytest.raises(ConfigError, match="line 1: there is no 'nothing'"):
        await run_batch(asked, CONFIG, backend=backend)
    assert (backend.requests, asked.out.exists()) == ([], False)


async def test_the_example_needs_no_key(user: User) -> None:
    asked = ("batch", str(ROOT / "examples/batch/questions.jsonl"), "--out", "out", "-m", "demo", "--env", "local")
    done = user.rlm(*asked, "-p", "How many lines contain {word}?")
    assert (done.returncode, done.stdout) == (0, "out/results.jsonl\n")
    answers = [json.loads(line)["answer"] for line in (user.cwd / "out" / "results.jsonl").read_text().splitlines()]
    assert [answer.partition(" contain ")[0] for answer in answers] == ["2 of 5 lines", "1 of 5 lines", "3 of 7 lines"]
    checked = user.rlm("verify", "out")
    assert (checked.returncode, checked.stdout.count("intact")) == (0, 3)
    record = next((user.cwd / "out" / "runs").glob("*.jsonl"))
    record.write_bytes(record.read_bytes().replace(b"lines", b"LINES", 1))
    changed = user.rlm("verify", "out")
    assert (changed.returncode, changed.stdout.count("intact")) == (1, 2)


async def test_a_kill_costs_nothing_but_the_calls_under_way(user: User) -> None:
    """Questions 0 to 2 are answered; 3 and 4 have begun, and wait for their second reply when the process is killed."""
    first, second, held = Counter[str](), Counter[str](), asyncio.Event()
    may_answer = asyncio.Event()

    async def answer(received: Received) -> web.StreamResponse:
        messages = received.body["messages"]
        name = next(m["content"] for m in messages if "number " in str(m["content"])).split("number ")[1].split()[0]
        reply = streamed if received.body.get("stream") else completion
        if not any(message["role"] == "tool" for message in messages):
            first[name] += 1
            return await reply(None, calls=[cell("y = 6")])(received)
        second[name] += 1
        if name in "34" and not may_answer.is_set():
            if second.total() == 5:
                held.set()
            await may_answer.wait()
        return await reply(None, calls=[cell(f"FINAL(y + {name})")])(received)

    user.write("q.jsonl", "".join(f'{{"n": {n}}}\n' for n in range(7)))
    command = ("batch", "q.jsonl", "--out", "out", "-m", "openai/m", "--env", "local", "-q", "--concurrency", "2")
    async with openai_server() as server:
        server.default = answer
        user.environ |= {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "key"}
        process = user.start(*command, "-p", "number {n}")
        async with asyncio.timeout(20):
            await held.wait()
        process.kill()
        process.wait()
        may_answer.set()
        journal = user.cwd / "out" / "journal.jsonl"
        journal.write_bytes(journal.read_bytes()[:-9])  # as a power cut leaves it; the run of that line has its record
        resumed = user.start(*command, "--resume")
        out, said = await asyncio.to_thread(resumed.communicate)
    assert (resumed.returncode, out, said) == (0, "out/results.jsonl\n", "")
    rows = [json.loads(line) for line in (user.cwd / "out" / "results.jsonl").read_text().splitlines()]
    assert [(row["id"], row["answer"]) for row in rows] == [(str(n + 1), str(6 + n)) for n in range(7)]
    assert set(first.values()) == {1}
    assert second == Counter("0123456") + Counter("34")
