"""The engine suite over a real cluster of two nodes on this machine, of which a worker and a node are lost at last."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rlm.core.budget import Budget
from rlm.core.config import Config, ProviderConfig
from rlm.core.interfaces import Backend
from rlm.core.types import ModelRequest
from rlm.jobs.batch.batch import BatchCaps
from rlm.jobs.batch.planning import BatchRequest, run_batch
from rlm.jobs.engines.cluster.engine import ClusterEngine
from rlm.testing import EngineSuite
from tests.servers.faults import Received
from tests.servers.openai_server import completion, openai_server, streamed, wire_call

MEMORY: dict[str, Any] = {"object_store_memory": 100_000_000}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """The one cluster of all tests: two nodes with a processor each."""
    os.environ |= {"OPENAI_API_KEY": "key", "RAY_USAGE_STATS_ENABLED": "0"}
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **MEMORY})
    made.add_node(num_cpus=1, **MEMORY)
    ray.init(address=made.address, log_to_driver=False, logging_level=40)
    yield made
    ray.shutdown()
    made.shutdown()  # type: ignore[no-untyped-call]
    del os.environ["OPENAI_API_KEY"]


class Reached:
    """An engine whose runs ask a backend of this process, over HTTP."""

    def __init__(self, engine: ClusterEngine, base_url: str, closing: AsyncExitStack) -> None:
        self._engine = engine
        self._base_url = base_url
        self._closing = closing

    async def submit(self, request: Any) -> Any:
        return await self._engine.submit(replace(request, config=asking(request.config, self._base_url)))

    def get(self, submission_id: str) -> Any:
        return self._engine.get(submission_id)

    async def aclose(self) -> None:
        await self._engine.aclose()
        await self._closing.aclose()


def asking(config: Config, base_url: str) -> Config:
    return msgspec.structs.replace(config, model="openai/held", openai=ProviderConfig(base_url=base_url))


def call_on(received: Received, code: str) -> Any:
    """A reply that runs code, as it was asked for: streamed or not."""
    reply = streamed if received.body.get("stream") else completion
    return reply(None, calls=[wire_call("execute_code", json.dumps({"code": code}))])


@pytest.mark.usefixtures("cluster")
class TestClusterEngine(EngineSuite):
    @classmethod
    async def make(cls, backend: Backend, *, max_running: int, max_queued: int) -> Any:
        closing = AsyncExitStack()
        server = await closing.enter_async_context(openai_server())

        async def answer(received: Received) -> Any:
            asked = ModelRequest(model="held", messages=(), max_output_tokens=1_000)
            [call] = (await backend.call(asked)).tool_calls
            return await call_on(received, json.loads(call.arguments)["code"])(received)

        server.default = answer
        return Reached(ClusterEngine(max_running=max_running, max_queued=max_queued), server.base_url, closing)


def worker_of(raylet: int) -> int:
    """The process of a worker of that node."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            if parent == raylet and b"ray::ClusterWorker" in (path.parent / "cmdline").read_bytes():
                return int(path.parent.name)
        except OSError:  # it has just ended
            continue
    raise AssertionError("that node has no worker")


async def test_a_batch_outlives_a_worker_and_a_node(cluster: Any, tmp_path: Path) -> None:
    """Each question is answered once, no first reply is paid for twice, and the ledger has what the server saw."""
    firsts, replies, lost = Counter[str](), Counter[str](), asyncio.Event()
    waiting = asyncio.Event()

    async def answer(received: Received) -> Any:
        messages = received.body["messages"]
        name = next(m["content"] for m in messages if "number " in str(m["content"])).split("number ")[1].split()[0]
        if not any(message["role"] == "tool" for message in messages):
            firsts[name] += 1
            return await call_on(received, "y = 6")(received)
        replies[name] += 1
        if replies.total() >= 4:
            waiting.set()
        await lost.wait()  # until then each of the four at work has its first reply on record, and no other has begun
        return await call_on(received, f"FINAL(y + {name})")(received)

    questions = tmp_path / "q.jsonl"
    questions.write_text("".join(f'{{"n": {n}}}\n' for n in range(8)))
    asked = BatchRequest(
        questions=questions,
        out=tmp_path / "out",
        prompt="number {n}",
        concurrency=4,
        engine="ray",
        caps=BatchCaps(token_budget=1_000_000),
    )
    async with openai_server() as server:
        server.default = answer
        budget = Budget(token_budget=200_000)
        config = asking(Config(environment="local", budget=budget), server.base_url)
        running = asyncio.create_task(run_batch(asked, config))
        await waiting.wait()
        os.kill(worker_of(cluster.head_node.all_processes["raylet"][0].process.pid), signal.SIGKILL)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        lost.set()
        report = await running
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert [row["answer"] for row in rows] == [str(6 + n) for n in range(8)], rows
    assert set(firsts.values()) == {1}
    assert (report.status.completed, report.stopped) == (8, None)
