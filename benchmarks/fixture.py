"""What the benchmarks run on: an RLM with a scripted model, a log folder of its own, and texts of a given size."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from rlm import RLM, Budget, Config, RLMResult
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.types import ModelReply, ModelRequest, TokenUsage
from rlm.tools.decorator import FunctionTool

Answer: TypeAlias = Callable[[ModelRequest], ModelReply | Awaitable[ModelReply]]

USAGE = TokenUsage(input_tokens=1_000, output_tokens=100)
LINE = b"The quick brown fox jumps over the lazy dog and writes it down in the log, again and again, line by line.\n"


def budget(*, max_turns: int = 10, max_depth: int = 2, max_concurrency: int = 256) -> Budget:
    """Caps that are all in force, and large enough not to be reached."""
    return Budget(
        max_depth=max_depth,
        max_turns=max_turns,
        max_concurrency=max_concurrency,
        token_budget=10**10,
        tool_budget=10**6,
        subcall_budget=10**6,
        timeout_s=600.0,
    )


def scripted(answer: Answer) -> ScriptedBackend:
    """A backend that answers one request by itself, the one of the warm-up, and all others by `answer`."""
    warm_up = iter([cell("FINAL(1)")])
    return ScriptedBackend(lambda request: next(warm_up, None) or answer(request))


@contextmanager
def running(model: ScriptedBackend, caps: Budget, tools: tuple[FunctionTool, ...] = ()) -> Iterator[RLM]:
    """An RLM over a `scripted` model that has answered once, so that all is warm; no sub-call is recalled."""
    with (
        tempfile.TemporaryDirectory() as folder,
        RLM(model, config=Config(log_dir=folder, budget=caps, memoise=False), tools=tools) as rlm,
    ):
        checked(rlm.completion("warm up"))
        model.requests.clear()
        yield rlm


def cell(code: str) -> ModelReply:
    """A reply that runs one cell."""
    return ModelReply(text="", usage=USAGE, tool_calls=(tool_call("execute_code", code=code),), finish="tool_calls")


def checked(result: RLMResult) -> RLMResult:
    """`result`, which must be an answer: a run that failed has no speed."""
    return result.raise_for_status()


def answering(code: str, latency_s: float) -> ScriptedBackend:
    """A model of that latency which runs `code` where it is offered tools, and else answers in a few words."""

    async def reply(request: ModelRequest) -> ModelReply:
        await asyncio.sleep(latency_s)
        return cell(code) if request.tools else ModelReply(text="a short answer", usage=USAGE)

    return scripted(reply)


@contextmanager
def text_file(size_bytes: int) -> Iterator[Path]:
    """A file of ASCII lines."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.log"
        block = LINE * (1 << 14)
        with path.open("wb") as file:
            for _ in range(size_bytes // len(block)):
                file.write(block)
            file.write(block[: size_bytes % len(block)])
        yield path
