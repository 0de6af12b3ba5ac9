"""A completion without a sandbox: a backend that talks in fenced code, and its cells run in this process. For tests of
what trusted code, such as the demo's, computes; what is real of a run is tested elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rlm.core.dialects.fences import split
from rlm.core.types import Message, ModelRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.interfaces import Backend


class Finished(BaseException):
    """FINAL was called."""

    def __init__(self, value: Any) -> None:
        super().__init__(value)
        self.value = value


@dataclass(kw_only=True)
class InProcessLoop:
    """Completes tasks turn by turn and keeps what was asked and run, over all depths."""

    backend: Backend
    max_turns: int = 10
    cells: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    """Of all sub-calls."""
    children: list[str] = field(default_factory=list)
    """The tasks of children."""

    def complete(self, task: str, context: Any) -> Any:
        """The value given to FINAL."""
        messages = [Message(role="system", content="You answer a task about data."), _task(task, context)]
        names = {
            "context": context,
            "FINAL": _finish,
            "llm_query": self._query,
            "llm_query_batched": lambda prompts: [self._query(prompt) for prompt in prompts],
            "rlm_query": self._recurse,
        }
        for _ in range(self.max_turns):
            reply = self._call(messages)
            try:
                shown = self._run(reply, names)
            except Finished as finished:
                return finished.value
            messages += [Message(role="assistant", content=reply), Message(role="user", content=shown)]
        raise AssertionError(f"no FINAL in {self.max_turns} turns")

    def _call(self, messages: Sequence[Message]) -> str:
        request = ModelRequest(model="demo", messages=tuple(messages), max_output_tokens=8192)
        return asyncio.run(self.backend.call(request)).text

    def _query(self, prompt: str) -> str:
        self.prompts.append(prompt)
        return self._call([Message(role="user", content=prompt)])

    def _recurse(self, prompt: str, context: Any = None) -> Any:
        self.children.append(prompt)
        return self.complete(prompt, context)

    def _run(self, reply: str, names: dict[str, Any]) -> str:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            for block in split(reply)[0]:
                self.cells.append(block.code)
                try:
                    exec(compile(block.code, "<cell>", "exec"), names)
                except Exception as error:  # noqa: BLE001 - the model is shown whatever its code raises
                    print(f"{type(error).__name__}: {error}")
        return printed.getvalue()


def _task(task: str, context: Any) -> Message:
    return Message(role="user", content=f"`context` is a {type(context).__name__}.\n\nTask: {task}")


def _finish(value: Any) -> None:
    raise Finished(value)
