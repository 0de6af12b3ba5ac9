"""Frozen values that cross module boundaries. No behaviour beyond what a value can say of itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from rlm.core.image_headers import MediaType, media_type_of

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, list, or dict with str keys."""

Role: TypeAlias = Literal["system", "user", "assistant", "tool"]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Finish: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "unknown"]
Status: TypeAlias = Literal["completed", "limit", "failed", "cancelled"]


IMAGE_BYTES = 5_000_000
"""The largest image."""
IMAGES_PER_MESSAGE = 20


INTERACTIVE = "interactive"
"""The dialect that the record names where a run's cells come from outside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image in a prompt, as the bytes of its file."""

    media_type: MediaType
    data: bytes = field(repr=False)
    digest: str = field(init=False, compare=False)
    """SHA-256 of the bytes, 64 hex digits."""

    def __post_init__(self) -> None:
        """Raises:
        ValueError: it has more than `IMAGE_BYTES`.
        """
        if len(self.data) > IMAGE_BYTES:
            raise ValueError(f"an image may have at most {IMAGE_BYTES:,} bytes: scale this one down")
        object.__setattr__(self, "digest", hashlib.sha256(self.data).hexdigest())

    @classmethod
    def of(cls, data: bytes) -> Image:
        """The image in a file of that content.

        Raises:
            ValueError: it is no PNG, JPEG, GIF or WebP, or has more than `IMAGE_BYTES`.
        """
        media_type = media_type_of(data)
        if media_type is None:
            raise ValueError(f"not a PNG, JPEG, GIF or WebP image: it begins with {data[:8]!r}")
        return cls(media_type=media_type, data=data)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A tool call as the model wrote it."""

    id: str
    name: str
    arguments: str
    """JSON text, unparsed: models write broken JSON, and the dialect answers that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a conversation."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """Only with role `assistant`."""
    tool_call_id: str | None = None
    """Only with role `tool`: the call that this answers."""
    images: tuple[Image, ...] = ()
    """Only with role `user`, at most `IMAGES_PER_MESSAGE`."""
    reasoning: str = ""
    """Only with role `assistant`: what the model reasoned before it, for servers that want it back."""

    def __post_init__(self) -> None:
        """Raises:
        ValueError: images where there can be none, or too many.
        """
        if self.images and self.role != "user":
            raise ValueError(f"a message with role {self.role} has no images")
        if len(self.images) > IMAGES_PER_MESSAGE:
            raise ValueError(f"at most {IMAGES_PER_MESSAGE} images go into one prompt, not {len(self.images)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """What a model is told of a tool."""

    name: str
    description: str
    parameters: Mapping[str, Json]
    """A JSON Schema of type object; the order of its properties is the order of positional arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """One request to a backend."""

    model: str
    """The name within the backend, without the provider."""
    messages: tuple[Message, ...]
    max_output_tokens: int
    tools: tuple[ToolSpec, ...] = ()
    temperature: float | None = None
    response_schema: Mapping[str, Json] | None = None
    effort: Effort | None = None
    """How much the model should reason; None: as it does by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Tokens of one model call, or of several added up."""

    input_tokens: int = 0
    """All of the prompt, cached tokens included."""
    output_tokens: int = 0
    cached_tokens: int = 0
    """The part of the input that the provider served from its cache."""
    cache_write_tokens: int = 0
    """The part of the input that the provider wrote to its cache, where it reports that; no token is in both parts."""

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
        )

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReply:
    """What a backend answered."""

    text: str
    usage: TokenUsage
    """Of the call: an attempt that broke off after its answer had begun, and was repeated, is in it by estimate."""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish = "stop"
    cost_usd: float | None = None
    """As the provider reports it; None where it reports none."""
    reasoning: str = ""
    """What the model reasoned, as far as the provider tells, apart from what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars per million tokens."""

    input_usd: float
    output_usd: float
    cached_usd: float | None = None
    """None: cached input costs as much as other input."""
    cache_write_usd: float | None = None
    """None: input that is written to the cache costs as much as other input."""
    long: LongPrice | None = None
    """What a call with a long prompt costs; None: as much a token as any other."""

    def cost_usd(self, usage: TokenUsage) -> float:
        """What one call costs; not to be asked of several added up, for the price may depend on the prompt's length."""
        if self.long is not None and usage.input_tokens > self.long.above_tokens:
            return self.long.price.cost_usd(usage)
        cached_usd = self.input_usd if self.cached_usd is None else self.cached_usd
        write_usd = self.input_usd if self.cache_write_usd is None else self.cache_write_usd
        fresh_tokens = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
        total = (
            fresh_tokens * self.input_usd
            + usage.cached_tokens * cached_usd
            + usage.cache_write_tokens * write_usd
            + usage.output_tokens * self.output_usd
        )
        return total / 1_000_000

    def worst_usd(self, usage: TokenUsage) -> float:
        """The most that one call can cost: with a prompt that is new to the provider's cache, or written to it."""
        fresh = TokenUsage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
        return max(self.cost_usd(fresh), self.cost_usd(replace(fresh, cache_write_tokens=usage.input_tokens)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LongPrice:
    """The price of a call, all of it, whose prompt has more than `above_tokens` tokens."""

    above_tokens: int
    price: Price


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a call, or one attempt at it, is charged."""

    usage: TokenUsage = TokenUsage()
    cost_usd: float | None = 0.0
    """None where the price is unknown."""

    @classmethod
    def worst(cls, usage: TokenUsage, price: Price | None) -> Charge:
        """The most that such a usage can cost."""
        return cls(usage=usage, cost_usd=None if price is None else price.worst_usd(usage))

    def __add__(self, other: Charge) -> Charge:
        unknown = self.cost_usd is None or other.cost_usd is None
        cost_usd = None if unknown else (self.cost_usd or 0.0) + (other.cost_usd or 0.0)
        return Charge(usage=self.usage + other.usage, cost_usd=cost_usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTraits:
    """What a backend knows of a model before calling it."""

    native_tools: bool = True
    price: Price | None = None
    """None where unknown, never zero by default."""
    context_window_tokens: int | None = None
    """The most tokens that a prompt may have; where prompt and output share one window, that window."""
    prompt_bytes: int | None = None
    """The most bytes of text that a prompt may have; None where tokens alone decide."""
    by_hand: bool = False
    """Whether answers are work of whoever drives this process: what the budget can't cover is not even asked then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which sandbox the environment `auto` took."""

    environment: str
    passed_over: Mapping[str, str] = field(default_factory=dict)
    """Those that were tried before it, and why they don't work here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a sandbox can offer; what it can't is answered to guest code by a documented error."""

    threads: bool = True
    shared_context: bool = True
    """Children get the parent's context without a copy."""
    policy: bool = False
    """The RestrictedPython policy applies."""
    packages: tuple[str, ...] = ()
    """Packages beyond the standard library that cells may import without a setting."""
    layers: tuple[str, ...] = ()
    """The layers of confinement in force, for the record; known once the sandbox has started."""
    choice: Choice | None = None
    """None where the sandbox was named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecError:
    """An exception in guest code."""

    kind: str
    """The exception's class name."""
    message: str
    traceback: str
    """Frames of the cell only, without the runtime's own."""


ExecStatus: TypeAlias = Literal["ok", "error", "timeout", "interrupted", "killed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """Words that an answer rests on, and where the data has them."""

    quote: str
    found: Literal["exact", "spacing", "no", "unchecked"] = "unchecked"
    """Whether the data has the words: exactly, with other spaces and line ends, or not at all."""
    file: str = ""
    """The name of the file, where the data is files."""
    path: str = ""
    """How the text is reached, where the data is a value: `[3]['name']`."""
    line: int | None = None
    """From 1."""
    start: int | None = None
    """Where it begins in its text, in characters; with `found` no, where what is nearest to it begins."""
    end: int | None = None
    likeness: float = 0.0
    """How like the quote that place is, from 0 to 1."""
    nearest: str = ""
    """The words there, where they are not those of the quote."""

    @property
    def holds(self) -> bool:
        """Whether the data has the words."""
        return self.found in ("exact", "spacing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """A final answer given in code by FINAL or FINAL_VAR."""

    value: Json
    text: str
    """`value` as text: itself if it is a str, else JSON, else repr."""
    sources: tuple[Citation, ...] = ()
    """The words of the data that it is said to rest on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """What became of one cell."""

    status: ExecStatus
    output: str
    """What the cell printed (stdout and stderr in order, last expression included), at most the kept cap: beyond that
    the beginning and the end, with a note between them."""
    output_chars: int
    """How much it printed in all, in characters."""
    duration_s: float
    error: ExecError | None = None
    final: Final | None = None
    changed: tuple[str, ...] = ()
    """Names of the variables that the cell set or changed by assignment."""
    state_reset: bool = False
    """The sandbox was killed: the next cell starts in a new REPL where only `context` is back."""


CallHandler: TypeAlias = Callable[[str, "tuple[Json, ...]", "Mapping[str, Json]"], "Any"]
"""`await handler(name, args, kwargs)` answers one call of guest code with a JSON value.

An `RLMError`, `ValueError`, `TypeError`, `LookupError` or `OSError` it raises is raised in the guest.
"""


def _ignore(_text: str) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplSpec:
    """What a REPL is opened with."""

    call: CallHandler
    functions: tuple[str, ...] = ()
    """Names bound in the guest; each calls back through `call`."""
    on_output: Callable[[str], None] = _ignore
    """Gets what a cell prints, as it prints, at most the kept cap per cell."""
    seed: int | None = None
    """Of `random` in the guest, so that cells which are run again draw the same; None: left to chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUsage:
    """What a completion and all below it used."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    model_calls: int = 0
    subcalls: int = 0
    subcalls_failed: int = 0
    """Sub-calls that got no answer: they failed, were cut short, or were refused before they were counted."""
    tool_calls: int = 0
    turns: int = 0
    depth_reached: int = 0
