"""Events of a model call."""

from __future__ import annotations

from typing import ClassVar

from rlm.core.events.body import Body, Keyed
from rlm.core.notes import ImageNote  # noqa: TC001 (msgspec reads them at run time)
from rlm.core.types import Finish, ModelReply, Price, TokenUsage, ToolCall

CUT_OFF = "the run was cut off while this call was under way"


class ModelStart(Keyed, frozen=True, kw_only=True):
    """A request goes to a backend; it holds a reservation of tokens."""

    TYPE: ClassVar[str] = "model.start"

    model: str
    purpose: str
    """turn, landing (the last call for the best answer), compaction (notes) or llm_query."""
    max_output_tokens: int
    input_tokens_estimate: int
    prompt: str | None = None
    """Only with llm_query; a turn's conversation is in the events before."""
    images: list[ImageNote] = []
    """Those that go with `prompt`."""
    digest: str | None = None
    """A salted digest of the whole request: equal calls are answered once."""

    def given_up(self, price: Price | None, error: str = CUT_OFF) -> ModelEnd:
        """The end of this call where nobody waited for the reply: the provider may bill the most it can have cost."""
        usage = TokenUsage(input_tokens=self.input_tokens_estimate, output_tokens=self.max_output_tokens)
        return ModelEnd(usage=usage, cost_usd=None if price is None else price.cost_usd(usage), error=error)


class ModelEnd(Body, frozen=True):
    """A request was answered or failed, and was settled."""

    TYPE: ClassVar[str] = "model.end"

    text: str = ""
    tool_calls: list[ToolCall] = []
    usage: TokenUsage = TokenUsage()
    finish: Finish = "unknown"
    cost_usd: float | None = None
    error: str | None = None
    cached: bool = False
    """Answered from memory; nothing was paid."""
    same_as: str | None = None
    """With `cached`: the span of the call in this run that has the prompt and the reply."""

    @property
    def reply(self) -> ModelReply:
        """The reply as the backend gave it."""
        return ModelReply(
            text=self.text,
            usage=self.usage,
            tool_calls=tuple(self.tool_calls),
            finish=self.finish,
            cost_usd=self.cost_usd,
        )

    @property
    def was_given_up(self) -> bool:
        """Nobody waited for the reply, so the worst case was charged, which is nothing for a call that was recalled."""
        return self.error is not None and (self.usage.total_tokens > 0 or self.error == CUT_OFF)


class ModelRetry(Body, frozen=True):
    """An attempt failed and another follows."""

    TYPE: ClassVar[str] = "model.retry"

    error: str
    wait_s: float
    attempt: int
    """The attempt that failed, from 1."""
