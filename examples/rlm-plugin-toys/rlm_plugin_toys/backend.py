"""Models that are no language models: `toy/echo` says what it was told, `toy/answer` ends a run with what is in it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from rlm.backends.estimate import estimate_usage
from rlm.core.exceptions import BadRequestError
from rlm.core.types import ModelReply, ModelTraits, Price

if TYPE_CHECKING:
    from rlm.backends import BackendSetup
    from rlm.core.types import ModelRequest

_CELL = "```repl\nFINAL(f'{len(context):,} characters')\n```"


class ToyBackend:
    """Implements `Backend` of `rlm.core.interfaces`."""

    @classmethod
    def from_setup(cls, _setup: BackendSetup) -> ToyBackend:
        return cls()

    def traits(self, _model: str) -> ModelTraits:
        return ModelTraits(native_tools=False, price=Price(input_usd=0.0, output_usd=0.0))

    async def call(self, request: ModelRequest) -> ModelReply:
        """Answer at once, but for `toy/hang`. Raises:
        BadRequestError: the model is none of these.
        """
        if request.model == "hang":
            await asyncio.Event().wait()
        replies = {"echo": request.messages[-1].content, "answer": _CELL}
        if request.model not in replies:
            raise BadRequestError(f"no model toy/{request.model}: there are toy/echo, toy/answer and toy/hang")
        text = replies[request.model]
        return ModelReply(text=text, usage=estimate_usage(request, text))

    async def aclose(self) -> None:
        """Nothing is held."""
