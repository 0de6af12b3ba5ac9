"""The backend suite: what every way to reach a model keeps, whatever it speaks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

import pytest

from rlm.core.exceptions import BackendError
from rlm.core.types import Message, ModelRequest, ModelTraits

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.core.interfaces import Backend


def ask(model: str, said: str = "hi") -> ModelRequest:
    """A request with one message of the user."""
    return ModelRequest(model=model, messages=(Message(role="user", content=said),), max_output_tokens=512)


class BackendSuite:
    """What every backend keeps; inherit from it, and give `make` and the names of three models."""

    pytestmark = pytest.mark.asyncio

    echo: ClassVar[str] = "echo"
    """A model whose answer ends with what the user said last."""
    failing: ClassVar[str] = "fail"
    """A model that can't be asked."""
    hanging: ClassVar[str] = "hang"
    """A model that never answers."""

    @classmethod
    def make(cls, folder: Path) -> Backend:
        """The backend to be proved; `folder` is empty, and its own."""
        raise NotImplementedError(f"{cls.__name__} has no make(folder)")

    async def test_a_call_gives_text_and_usage(self, tmp_path: Path) -> None:
        backend = self.make(tmp_path)
        reply = await backend.call(ask(self.echo, "héllo\n\u2028 \U0001f600"))
        assert reply.text.endswith("héllo\n\u2028 \U0001f600")
        assert reply.usage.input_tokens > 0 < reply.usage.output_tokens
        await backend.aclose()

    async def test_calls_at_once_get_each_its_own_answer(self, tmp_path: Path) -> None:
        backend = self.make(tmp_path)
        replies = await asyncio.gather(*(backend.call(ask(self.echo, f"call {number}")) for number in range(8)))
        assert [reply.text.rpartition("call ")[2] for reply in replies] == [str(number) for number in range(8)]
        await backend.aclose()

    async def test_every_failure_is_a_backend_error(self, tmp_path: Path) -> None:
        backend = self.make(tmp_path)
        with pytest.raises(BackendError):
            await backend.call(ask(self.failing))
        await backend.aclose()

    async def test_cancellation_ends_a_call(self, tmp_path: Path) -> None:
        backend = self.make(tmp_path)
        call = asyncio.ensure_future(backend.call(ask(self.hanging)))
        await asyncio.wait([call], timeout=0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await backend.aclose()

    async def test_traits_need_no_call_and_closing_twice_is_fine(self, tmp_path: Path) -> None:
        backend = self.make(tmp_path)
        assert isinstance(backend.traits(self.echo), ModelTraits)
        await backend.aclose()
        await backend.aclose()
