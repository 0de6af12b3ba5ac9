"""The caps of a run, and the spend tree that enforces them: reserve before a call, settle after it.

Every completion has a `Ledger`; what it reserves, spends and counts is reserved, spent and counted in all its ancestors
too, so no cap can be passed at any depth, in any batch. Runs may share a ledger above their roots. Slack: the prompt's
part of a reservation is an estimate (`estimate_tokens`); a settled call may have used more by that estimate's error,
and only by that.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import Struct

from rlm.core.exceptions import (
    CostBudgetExhausted,
    MaxDepthExceeded,
    SharedBudgetExhausted,
    SubcallBudgetExhausted,
    TokenBudgetExhausted,
    ToolBudgetExhausted,
)
from rlm.core.fields import (  # msgspec reads the types at run time
    AtLeastOne,
    Count,
    Seconds,
    Size,
    TokenCounts,
    Usd,
    shown_number,
)
from rlm.core.image_headers import pixel_size
from rlm.core.types import Charge, RunUsage, TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rlm.core.types import Image, Message, Price

MIN_OUTPUT_TOKENS = 512
"""A call whose output cap would have to be smaller than this is refused."""

NEAR = 0.8
"""The share of a cap after which the model is told that the cap is near."""

BYTES_PER_TOKEN = 3
_TOKENS_PER_MESSAGE = 4
_NO_CAP = 1 << 60
_REASONS = 20
"""So many reasons are told apart for which sub-calls got no answer."""
_REASON_CHARS = 200

IMAGE_TOKENS = 4_784
"""The most that one image counts, by the rules below."""


class Budget(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The caps of one run, over its whole tree. None means no cap, where it is allowed."""

    max_depth: Count = 4
    """How many levels of children there may be below the root; deeper, `rlm_query` is a plain call. Hard."""
    max_turns: AtLeastOne = 30
    """Model calls of one completion, root or child. Hard; the landing call comes on top."""
    token_budget: AtLeastOne | None = 1_000_000
    """Input and output tokens over the tree, cached input too. Hard but for the error of the prompt's estimate."""
    token_budget_counts: TokenCounts = "all"  # noqa: S105 - tokens of another kind
    """The tokens that token_budget counts: all; uncached, without input that the provider read from its cache (though a
    call is made only if it fits with none of it cached); or output alone."""
    cost_budget_usd: Usd | None = None
    """US dollars over the tree; needs a known price for every model that may be used."""
    tool_budget: Count | None = 1_000
    """Calls of host tools by the model or by guest code; `execute_code` is not counted. Hard."""
    subcall_budget: Count | None = 1_000
    """llm_query and rlm_query calls, each item of a batch counted. Hard."""
    timeout_s: Seconds | None = 600.0
    """Wall time of the root completion, hard: it returns within 2 s of it. Early enough before, by twice the slowest
    reply of its model so far and a quarter of the limit at most, turns end and the model is asked for its best answer;
    where there is no time for that, the answer is the last thing that a cell printed, or that it said. A child ends
    with its parent."""
    max_concurrency: AtLeastOne = 64
    """Requests to backends at one time, over the tree. Hard."""
    record_bytes: Size | None = 1_000_000_000
    """Size of the record: its events, large texts, and what is kept for resuming. Soft by what one cell leaves and the
    landing; artifacts have a cap of their own."""


def estimate_tokens(text: str) -> int:
    """Tokens of `text` in a prompt, one per 3 bytes of UTF-8: high for English, near for code and CJK."""
    size_bytes = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return size_bytes // BYTES_PER_TOKEN + _TOKENS_PER_MESSAGE


def estimate_images(images: Iterable[Image]) -> int:
    """Tokens of images in a prompt: for each the most that OpenAI or Anthropic count for its size, or for any size.

    The models of before 2025 that bill images in tokens of their own (`gpt-4o-mini`) count more. Sources:
    https://platform.claude.com/docs/en/build-with-claude/vision and
    https://developers.openai.com/api/docs/guides/images-vision, with `detail` high.
    """
    return sum(_image_tokens(image.data) for image in images)


def estimate_message(message: Message) -> int:
    """Tokens of a message in a prompt: its text, its images, its tool calls and the reasoning that goes with these."""
    text = message.content + "".join(call.arguments for call in message.tool_calls)
    if message.tool_calls:
        text += message.reasoning
    return estimate_tokens(text) + estimate_images(message.images)


def _image_tokens(data: bytes) -> int:
    size = pixel_size(data)
    if size is None:
        return IMAGE_TOKENS

    def squares(side: int, cap: int) -> int:
        """How many cover the image; a larger one is scaled down until `cap` do."""
        return min(cap, math.ceil(size.width / side) * math.ceil(size.height / side))

    counts = (
        squares(28, IMAGE_TOKENS),  # Anthropic, at high resolution
        1.2 * squares(32, 2_500),  # OpenAI, later models
        2.46 * squares(32, 1_536),  # OpenAI, the dearest of the small models
        85 + 170 * squares(512, 8),  # OpenAI, by tiles
    )
    return math.ceil(max(counts))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallEstimate:
    """The worst case of one model call."""

    input_tokens: int
    max_output_tokens: int
    price: Price | None = None

    def cost_usd(self, output_tokens: int) -> float:
        """The most that it can cost."""
        if self.price is None:
            return 0.0
        return self.price.worst_usd(TokenUsage(input_tokens=self.input_tokens, output_tokens=output_tokens))

    def output_tokens_for(self, usd: float) -> int:
        """How many output tokens `usd` buys on top of the prompt; negative where it doesn't buy the prompt."""
        prompt_usd = self.cost_usd(0)
        if usd < prompt_usd:
            return -1
        million_usd = self.cost_usd(1_000_000) - prompt_usd
        if not million_usd:
            return self.max_output_tokens
        return int(min((usd - prompt_usd) / million_usd * 1_000_000, self.max_output_tokens))


class Reservation:
    """Room held for one attempt at a model call; ends by exactly one `settle` or `release`, later ones do nothing."""

    def __init__(self, ledger: Ledger, estimate: CallEstimate, max_output_tokens: int, *, landing: bool) -> None:
        self._ledger: Ledger | None = ledger
        self._estimate = estimate
        self._prompt_tokens = ledger._prompt_tokens(estimate)
        self._landing = landing
        self.max_output_tokens = max_output_tokens
        """The output cap that was granted, to be sent to the provider."""
        self._has_room = True

    @property
    def tokens(self) -> int:
        """How many are held."""
        return self._prompt_tokens + self.max_output_tokens if self._has_room else 0

    @property
    def cost_usd(self) -> float:
        """How much is held."""
        return self._estimate.cost_usd(self.max_output_tokens) if self._has_room else 0.0

    def renew(self, charge: Charge) -> bool:
        """Charge an attempt that failed, and hold as much room again for the next; False where there is none just now:
        nothing is held then.
        """
        ledger = self._ledger
        if ledger is None:
            return False
        ledger._settle(self, charge, 0)
        self._has_room = ledger._room(self._estimate, landing=self._landing) >= self.max_output_tokens
        ledger._hold(self)
        return self._has_room

    def settle(self, usage: TokenUsage, cost_usd: float | None, *, calls: int = 1) -> None:
        """Replace the room by what the last attempt spent; `cost_usd` None is an unknown price, and `calls` 0 is for a
        call that cost nothing at all.
        """
        self._end(Charge(usage=usage, cost_usd=cost_usd), calls)

    def release(self) -> None:
        """Give the room back: no call was made."""
        self._end(Charge(), 0)

    def _end(self, charge: Charge, calls: int) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            ledger._settle(self, charge, calls)


class Ledger:
    """The spend of one completion and of all below it; used on one event loop only."""

    def __init__(
        self,
        budget: Budget,
        parent: Ledger | None = None,
        *,
        above: Ledger | None = None,
        landing_tokens: int = 0,
        landing_usd: float = 0.0,
    ) -> None:
        """`above` is a `shared` ledger, whose caps hold for this root and those of other runs together."""
        self.budget = budget
        self.parent = parent
        self.above = above if parent is None else None
        self.depth: int = 0 if parent is None else parent.depth + 1
        self._root: Ledger = self if parent is None else parent._root
        self._landing_tokens = landing_tokens
        self._landing_usd = landing_usd
        self._reserved_tokens = 0
        self._reserved_cost_usd = 0.0
        self._usage = TokenUsage()
        self._cost_usd = 0.0
        self._has_unknown_cost = False
        self._model_calls = self._turns = self._answered = 0
        self._counts: Counter[str] = Counter()
        self._depth_reached = self.depth
        self._failures: Counter[str] = Counter()
        """Why sub-calls got no answer, and how often; in the ledger of the root."""
        self._queue: asyncio.Lock = asyncio.Lock() if parent is None else parent._queue
        self._is_shared = False
        self._changed: asyncio.Event | None = None
        """Set when a call is settled or the caps change; in the ledger that is uppermost of all."""

    @classmethod
    def shared(
        cls, *, token_budget: int | None = None, cost_budget_usd: float | None = None, counts: TokenCounts = "all"
    ) -> Ledger:
        """A ledger above the roots of many runs, with caps on what they use together."""
        ledger = cls(
            Budget(
                token_budget=token_budget,
                token_budget_counts=counts,
                cost_budget_usd=cost_budget_usd,
                tool_budget=None,
                subcall_budget=None,
            )
        )
        ledger._is_shared = True
        return ledger

    def child(self, budget: Budget | None = None) -> Ledger:
        """Open the ledger of a child completion, with a smaller share if `budget` is given.

        Raises:
            MaxDepthExceeded: the child would be deeper than the run's `max_depth`.
        """
        cap = self._root.budget.max_depth
        if self.depth + 1 > cap:
            raise MaxDepthExceeded(f"max_depth of {cap} reached: no child below depth {self.depth}")
        return Ledger(budget or Budget(token_budget=None, tool_budget=None, subcall_budget=None), self)

    @property
    def caps(self) -> Budget:
        """The caps of the whole run, as they are now."""
        return self._root.budget

    def change_caps(self, budget: Budget, *, landing_tokens: int, landing_usd: float) -> None:
        """Put other caps in the place of those of the whole run. What is reserved stays so; who waits looks again."""
        root = self._root
        root.budget, root._landing_tokens, root._landing_usd = budget, landing_tokens, landing_usd
        root._wake()

    async def reserve(self, estimate: CallEstimate, *, landing: bool = False) -> Reservation:
        """Hold room for one model call, waiting while calls in flight may still free some.

        The output cap shrinks to what is left when nothing is in flight. `landing` may use the part set aside
        for the last call. Raises:
            TokenBudgetExhausted, CostBudgetExhausted: the call cannot fit any more.
            SharedBudgetExhausted: it doesn't fit what is left for all runs together.
        """
        async with self._queue:  # first come, first served in each tree: no large call of it is overtaken for ever
            while (output_tokens := self._room(estimate, landing=landing)) < estimate.max_output_tokens:
                self._check_fits(estimate, landing=landing)
                if not self._in_flight():
                    break
                await self._settlement()
            reservation = Reservation(self, estimate, output_tokens, landing=landing)
            self._hold(reservation)
            return reservation

    def check_fits(self, estimate: CallEstimate) -> None:
        """Raise what keeps a call from ever fitting, even once nothing is in flight.

        Raises:
            TokenBudgetExhausted, CostBudgetExhausted, SharedBudgetExhausted: it is too large for what is left.
        """
        self._check_fits(estimate, landing=False)

    def count_subcalls(self, wanted: int) -> int:
        """Count up to `wanted` sub-calls and return how many of them the cap allows."""
        return self._count("subcall_budget", wanted)

    def count_failed(self, error: Exception) -> None:
        """Count a sub-call that got no answer."""
        for node in self.line():
            node._counts["subcalls_failed"] += 1
        reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"[:_REASON_CHARS]
        failures = self._root._failures
        failures[reason if reason in failures or len(failures) < _REASONS else "other errors"] += 1

    @property
    def failures(self) -> list[tuple[str, int]]:
        """Why sub-calls of this run got no answer, the most frequent first, and how often."""
        return self._root._failures.most_common()

    def count_answered(self) -> None:
        """Count a sub-call that came to its answer, or to an error."""
        for node in self.line():
            node._answered += 1

    @property
    def answered(self) -> int:
        """How many of the sub-calls that were counted have come to an end."""
        return self._answered

    def check_covers(self, calls: int, estimate: CallEstimate) -> None:
        """Raise what keeps a whole batch from being answered; `estimate` has the tokens of all its prompts.

        Raises:
            SubcallBudgetExhausted, TokenBudgetExhausted, CostBudgetExhausted: there is less left than it takes.
        """
        left = min((cap - node._counts["subcall_budget"] for node, cap in self._caps("subcall_budget")), default=calls)
        if calls > left:
            raise SubcallBudgetExhausted(
                f"these are {calls:,} sub-calls, and {left:,} are left of the subcall_budget of "
                f"{self._cap('subcall_budget'):,}: nothing was asked; ask fewer"
            )
        try:
            self.check_fits(estimate)
        except (TokenBudgetExhausted, CostBudgetExhausted, SharedBudgetExhausted) as error:
            raise type(error)(f"nothing was asked: for {calls:,} sub-calls together, {error}") from error

    def count_tool_call(self) -> None:
        """Count one tool call.

        Raises:
            ToolBudgetExhausted: the cap is reached; nothing was counted.
        """
        if not self._count("tool_budget", 1):
            raise ToolBudgetExhausted(f"tool_budget of {self._cap('tool_budget')} tool calls is used up")

    def count_turn(self) -> None:
        for node in self.line():
            node._turns += 1

    def begin_anew(self) -> None:
        """Forget all that was used: the caps are for each question, and the user has asked another."""
        self._usage, self._cost_usd, self._has_unknown_cost = TokenUsage(), 0.0, False
        self._model_calls = self._turns = 0
        self._counts.clear()
        self._failures.clear()
        self._depth_reached = self.depth

    def restore(self, usage: RunUsage, cost_usd: float | None) -> None:
        """Count what an earlier run spent on the same work; never refused. The ledger above the root has it already."""
        for node in self._tree():
            node._usage += TokenUsage(
                input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, cached_tokens=usage.cached_tokens
            )
            node._model_calls += usage.model_calls
            node._turns += usage.turns
            node._counts["subcall_budget"] += usage.subcalls
            node._counts["subcalls_failed"] += usage.subcalls_failed
            node._counts["tool_budget"] += usage.tool_calls
            node._depth_reached = max(node._depth_reached, usage.depth_reached)
            node._has_unknown_cost |= cost_usd is None
            node._cost_usd += cost_usd or 0.0

    def usage(self) -> RunUsage:
        """What this completion and all below it used so far."""
        return RunUsage(
            input_tokens=self._usage.input_tokens,
            output_tokens=self._usage.output_tokens,
            cached_tokens=self._usage.cached_tokens,
            model_calls=self._model_calls,
            subcalls=self._counts["subcall_budget"],
            subcalls_failed=self._counts["subcalls_failed"],
            tool_calls=self._counts["tool_budget"],
            turns=self._turns,
            depth_reached=self._depth_reached,
        )

    def left_tokens(self, price: Price | None = None) -> int:
        """Tokens left for a landing of this completion once nothing is in flight; a large number without a cap.

        What is set aside counts for the root alone. With a `price`, no more than the money left surely buys.
        """
        is_root = self.parent is None
        left = (
            [node._left(cap, landing=is_root) for node, cap in self._caps("token_budget")]
            if self._prompts_count
            else []
        )
        if price is not None:
            dearest_usd = CallEstimate(input_tokens=1, max_output_tokens=1, price=price).cost_usd(1)
            money = [node._left_usd(cap, landing=is_root) for node, cap in self._caps("cost_budget_usd")]
            left += [int(min(usd / dearest_usd, _NO_CAP)) for usd in money if dearest_usd]
        return min(left, default=_NO_CAP)

    @property
    def cost_usd(self) -> float | None:
        """Settled cost; None once a call of unknown price was made."""
        return None if self._has_unknown_cost else self._cost_usd

    def near(self) -> Iterator[tuple[str, str]]:
        """Yield (name, message) of each cap of the tree that is used to `NEAR` or more."""
        root = self._root
        spent = {
            "token_budget": root._spent_tokens,
            "cost_budget_usd": root._cost_usd,
            "tool_budget": root._counts["tool_budget"],
            "subcall_budget": root._counts["subcall_budget"],
        }
        for name, used in spent.items():
            cap = getattr(root.budget, name)
            if cap is not None and used >= NEAR * cap:
                yield name, f"{shown_number(used)} of {shown_number(cap)} of {name} used"

    def subcalls_exhausted(self) -> SubcallBudgetExhausted:
        return SubcallBudgetExhausted(f"subcall_budget of {self._cap('subcall_budget')} sub-calls is used up")

    def line(self) -> Iterator[Ledger]:
        """This ledger and its ancestors, upwards, with the one above the root."""
        yield from self._tree()
        if self._root.above is not None:
            yield from self._root.above.line()

    def _tree(self) -> Iterator[Ledger]:
        """This ledger and its ancestors in the tree of its run, upwards."""
        node: Ledger | None = self
        while node is not None:
            yield node
            node = node.parent

    def _caps(self, name: str) -> list[tuple[Ledger, int]]:
        """The nodes of the line that set this cap, with it."""
        found = ((node, getattr(node.budget, name)) for node in self.line())
        return [(node, cap) for node, cap in found if cap is not None]

    def _cap(self, name: str) -> int:
        return min(cap for _, cap in self._caps(name))

    def _count(self, cap_name: str, wanted: int) -> int:
        left = [cap - node._counts[cap_name] for node, cap in self._caps(cap_name)]
        granted = max(0, min([wanted, *left]))
        for node in self.line():
            node._counts[cap_name] += granted
        return granted

    @property
    def _prompts_count(self) -> bool:
        return self._root.budget.token_budget_counts != "output"  # noqa: S105 - tokens of another kind

    def _prompt_tokens(self, estimate: CallEstimate) -> int:
        """What a call's prompt counts at most: nobody knows before it how much of it is cached."""
        return estimate.input_tokens if self._prompts_count else 0

    @property
    def _spent_tokens(self) -> int:
        """The tokens that count, of those that were used."""
        match self._root.budget.token_budget_counts:
            case "all":
                return self._usage.total_tokens
            case "uncached":
                return self._usage.total_tokens - self._usage.cached_tokens
        return self._usage.output_tokens

    def _left(self, cap: int, *, landing: bool) -> int:
        """Tokens of this node's cap that aren't spent."""
        return cap - self._spent_tokens - (0 if landing else self._landing_tokens)

    def _left_usd(self, cap_usd: float, *, landing: bool) -> float:
        return cap_usd - self._cost_usd - (0.0 if landing else self._landing_usd)

    def _room(self, estimate: CallEstimate, *, landing: bool) -> int:
        """Output tokens that fit now in every node of the line."""
        room, prompt_tokens = estimate.max_output_tokens, self._prompt_tokens(estimate)
        for node, cap in self._caps("token_budget"):
            room = min(room, node._left(cap, landing=landing) - node._reserved_tokens - prompt_tokens)
        for node, cap_usd in self._caps("cost_budget_usd"):
            room = min(
                room, estimate.output_tokens_for(node._left_usd(cap_usd, landing=landing) - node._reserved_cost_usd)
            )
        return room

    def _check_fits(self, estimate: CallEstimate, *, landing: bool) -> None:
        """Raise what keeps the call from ever fitting, even once nothing is in flight."""
        least = min(MIN_OUTPUT_TOKENS, estimate.max_output_tokens)
        for node, cap in self._caps("token_budget"):
            if node._left(cap, landing=landing) - self._prompt_tokens(estimate) < least:
                left = max(0, node._left(cap, landing=landing))
                said = (
                    f"{node._named('token_budget')} of {cap:,} has {left:,} tokens left, and another call takes about "
                    f"{estimate.input_tokens:,} and its reply: raise token_budget"
                )
                raise SharedBudgetExhausted(said) if node._is_shared else TokenBudgetExhausted(said)
        for node, cap_usd in self._caps("cost_budget_usd"):
            if estimate.output_tokens_for(node._left_usd(cap_usd, landing=landing)) < least:
                left_usd, least_usd = max(0.0, node._left_usd(cap_usd, landing=landing)), estimate.cost_usd(least)
                said = (
                    f"{node._named('cost_budget_usd')} of {cap_usd} has ${left_usd:.4f} left, and another call may "
                    f"cost ${least_usd:.4f} with the shortest reply: raise cost_budget_usd, or take a cheaper model"
                )
                raise SharedBudgetExhausted(said) if node._is_shared else CostBudgetExhausted(said)

    def _in_flight(self) -> bool:
        """Whether a capped node of the line holds reservations that may still free room."""
        return any(
            node._reserved_tokens > 0
            for node in self.line()
            if node.budget.token_budget is not None or node.budget.cost_budget_usd is not None
        )

    def _hold(self, reservation: Reservation) -> None:
        for node in self.line():
            node._reserved_tokens += reservation.tokens
            node._reserved_cost_usd += reservation.cost_usd
            node._depth_reached = max(node._depth_reached, self.depth)

    def _settle(self, reservation: Reservation, charge: Charge, calls: int) -> None:
        for node in self.line():
            node._reserved_tokens -= reservation.tokens
            # Sums of floats drift; nothing reserved is nothing.
            node._reserved_cost_usd = node._reserved_cost_usd - reservation.cost_usd if node._reserved_tokens else 0.0
            node._usage += charge.usage
            node._model_calls += calls
            node._has_unknown_cost |= charge.cost_usd is None
            node._cost_usd += charge.cost_usd or 0.0
        self._root._wake()

    def _wake(self) -> None:
        """Have whoever waits look again for room."""
        top = self._uppermost
        changed, top._changed = top._changed, None
        if changed is not None:
            changed.set()

    async def _settlement(self) -> None:
        """Wait until some call is settled, or the caps change; of each tree only the head of its queue does."""
        top = self._uppermost
        if top._changed is None:
            top._changed = asyncio.Event()
        await top._changed.wait()

    def _named(self, cap: str) -> str:
        return f"the {cap} of all runs together" if self._is_shared else cap

    @property
    def _uppermost(self) -> Ledger:
        """The ledger above all others, to which every change of the trees below it is told."""
        above = self._root.above
        return self._root if above is None else above._uppermost
