"""Events of a model call."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from rlm.core.events.body import Body, Keyed
from rlm.core.notes import ImageNote  # noqa: TC001 (msgspec reads them at run time)
from rlm.core.types import Charge, Finish, ModelReply, Price, TokenUsage, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    """The last message of the request, but for a turn: its conversation is in the events before."""
    left_out: int = 0
    """Only with landing: how many messages of the conversation, from the third on, were not sent for want of budget."""
    images: list[ImageNote] = []
    """Those that go with `prompt`."""
    digest: str | None = None
    """A salted digest of the whole request: equal calls are answered once."""

    @property
    def worst(self) -> TokenUsage:
        """The most that one attempt can use."""
        return TokenUsage(input_tokens=self.input_tokens_estimate, output_tokens=self.max_output_tokens)

    def given_up(self, price: Price | None) -> ModelEnd:
        """The end of this call where its run was cut off: the provider may bill the most that it can have cost."""
        charge = Charge.worst(self.worst, price)
        return ModelEnd(usage=charge.usage, cost_usd=charge.cost_usd, error=CUT_OFF)


class ModelEnd(Body, frozen=True):
    """A request was answered or failed, and was settled."""

    TYPE: ClassVar[str] = "model.end"

    text: str = ""
    reasoning: str = ""
    """What the model reasoned, where the provider tells it apart from the text."""
    tool_calls: list[ToolCall] = []
    usage: TokenUsage = TokenUsage()
    """What all attempts of the call used, those that failed too where the provider may bill them."""
    finish: Finish = "unknown"
    cost_usd: float | None = None
    error: str | None = None
    failed: bool = False
    """With `error` and a usage: every attempt failed. Without it, nobody waited for the reply."""
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
            reasoning=self.reasoning,
        )

    def beside(self, retries: Iterable[ModelRetry]) -> ModelEnd:
        """This end of a call that was cut off, with what the attempts cost that had failed before."""
        charge = sum((retry.charge for retry in retries), Charge(usage=self.usage, cost_usd=self.cost_usd))
        return msgspec.structs.replace(self, usage=charge.usage, cost_usd=charge.cost_usd)

    @property
    def was_given_up(self) -> bool:
        """Nobody waited for the reply, so the worst case was charged, which is nothing for a call that was recalled."""
        if self.error is None or self.failed:
            return False
        return self.usage.total_tokens > 0 or self.error == CUT_OFF


class ModelRetry(Body, frozen=True):
    """An attempt failed and another follows."""

    TYPE: ClassVar[str] = "model.retry"

    error: str
    wait_s: float
    attempt: int
    """The attempt that failed, from 1."""
    usage: TokenUsage = TokenUsage()
    """What the provider may bill for the attempt; the usage of the call's end has it too."""
    cost_usd: float | None = None
    """The cost of that; None where a price is unknown, or there is nothing to pay."""

    @property
    def charge(self) -> Charge:
        """What the attempt is charged."""
        return Charge(usage=self.usage, cost_usd=self.cost_usd) if self.usage.total_tokens else Charge()
