"""A model behind a real HTTP server, which answers each question in one way only and counts how often it was asked."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from aiohttp import web

CHILD = "You are the child."
DATA = "some data"
PROMPT = "Do all that can be under way."
TURNS = (
    "a = llm_query('one')",
    "b = llm_query_batched(['first', 'second', 'third', 'fourth'])",
    "c = look('there')",
    f"d = rlm_query('{CHILD}', 'a part')",
    "total = '|'.join([a, *b, c, d])\nprint(total)",
)
"""The cells of the root: one that makes a sub-call, a batch, a tool call, a child, and one that sums up."""
CHILD_TURNS = ("e = llm_query('deep')", "FINAL(e + context)")
ANSWER = "|".join(
    ["re: one", "re: first", "re: second", "re: third", "re: fourth", "seen: there", "re: deep" + "a part"]
)
"""What a run comes to, by a landing that names a variable."""
LANDING = "FINAL_VAR(total)"
_SLOWEST_S = 0.08


def answer_to(messages: list[dict[str, Any]]) -> str:
    """The reply to a request; no two requests of a run have the same."""
    said = str(messages[-1]["content"])
    if "The run ends here" in said:  # joined to what the user's role said before
        return LANDING
    if messages[0]["role"] != "system":
        return f"re: {said}"
    turn = sum(message["role"] == "assistant" for message in messages)
    code = CHILD_TURNS if CHILD in str(messages[1]["content"]) else TURNS
    return f"```repl\n{code[turn]}\n```"


class ModelServer:
    """An OpenAI-compatible server in a thread of its own; each run has an address of its own."""

    def __init__(self, answer: Callable[[list[dict[str, Any]]], str] = answer_to) -> None:
        """`answer` gives the reply to the messages of a request."""
        self._reply_to = answer
        self.asked: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """How often each reply was asked for, by run."""
        self.url = ""
        self._random = random.Random(0)
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="model-server", daemon=True)
        self._thread.start()
        self._ready.wait()

    def close(self) -> None:
        """End the server."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._ready.set()
        self._loop.run_forever()

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/{run}/v1/chat/completions", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def _answer(self, request: web.Request) -> web.Response:
        text = self._reply_to((await request.json())["messages"])
        self.asked[request.match_info["run"]][text] += 1
        await asyncio.sleep(self._random.uniform(0.0, _SLOWEST_S))
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
        body = {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice], "usage": usage}
        return web.Response(text=json.dumps(body), content_type="application/json")
