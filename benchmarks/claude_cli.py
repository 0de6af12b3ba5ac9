"""What a call through the installed `claude` costs on top of the model: the real program, with a configuration folder
of its own, against a local server that answers at once."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from statistics import median

from benchmarks.figures import Figure
from rlm.backends.claude_cli.backend import ClaudeCliBackend
from rlm.core.config import ClaudeCliConfig
from rlm.core.types import Message, ModelRequest
from tests.servers import anthropic_server as wire
from tests.support import node_tools

CALLS = 30


def calls() -> list[Figure]:
    """A first call, which starts the program, and warm ones back to back.

    Raises:
        FileNotFoundError: `claude` isn't there.
    """
    if not node_tools.put_on_path("claude"):
        raise FileNotFoundError("claude: python -m tests.support.node_tools puts it there")
    first_s, warm_s = asyncio.run(_times())
    return [
        Figure(name="claude-cli, warm call above the model, median", value=median(warm_s) * 1e3, unit="ms", limit=80),
        Figure(name="claude-cli, first call above the model", value=first_s * 1e3, unit="ms"),
    ]


async def _times() -> tuple[float, list[float]]:
    async with wire.anthropic_server() as server:
        server.default = wire.streamed(wire.text("pong"))
        with tempfile.TemporaryDirectory() as folder:
            own = {"HOME": folder, "CLAUDE_CONFIG_DIR": folder, "PATH": os.environ["PATH"]}
            environ = {**own, "ANTHROPIC_API_KEY": "sk-ant-x", "ANTHROPIC_BASE_URL": server.base_url}
            config = ClaudeCliConfig(environment=("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL"))
            backend = ClaudeCliBackend(config, environ)
            times = [await _call_s(backend, number) for number in range(CALLS + 1)]
            await backend.aclose()
    return times[0], times[1:]


async def _call_s(backend: ClaudeCliBackend, number: int) -> float:
    message = Message(role="user", content=f"call {number}")
    begin = time.perf_counter()
    await backend.call(ModelRequest(model="sonnet", messages=(message,), max_output_tokens=8192))
    return time.perf_counter() - begin
