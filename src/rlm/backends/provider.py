"""What the providers that are called directly have in common: settings and key, one attempt and its retries, streamed
or not. What goes into a request and what a reply means is the business of each provider's wire."""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from rlm.backends.catalog import traits_of
from rlm.backends.http_client import Endpoint, HttpAnswer, HttpClient, Timeouts
from rlm.backends.refusals import Addressee, Refusal, read_refusal, refusal_instead, refusal_within, to_error
from rlm.backends.retry import OnRetry, RateGate, RetryPolicy, call_with_retries, ignore_retry
from rlm.backends.sse import EventReader, ServerEvent
from rlm.core.exceptions import AuthenticationError, BackendError, BadReplyError, ToolsRefusedError
from rlm.core.types import ModelReply, ModelRequest, ModelTraits, TokenUsage

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Set

    from rlm.backends import BackendSetup
    from rlm.core.config import ProviderConfig

CHARS_PER_TOKEN = 8
"""A stream may have so many characters for each token that it was granted: more than any language or code has."""
LOOK_EVERY_BYTES = 16_384
SILENCE_S = 2.0
"""How long a stream is waited for whose reply has said that it ends: the usage may follow."""
EVENTS_CAP = 500_000
"""The most events of one streamed reply."""
_KEY = re.compile(r"[!-~]+")
_OPTIONAL: Mapping[str, re.Pattern[str]] = {
    "stream": re.compile(r"stream", re.IGNORECASE),
    "response_schema": re.compile(r"response_format|output_config|output_format|schema", re.IGNORECASE),
    "temperature": re.compile(r"temperature", re.IGNORECASE),
}
"""The features that a request can do without, and the words in which servers refuse them."""
_TOOLS = "tools"
"""The feature that a request can't do without: whoever asked has to speak otherwise."""
_UNTAKEN = frozenset({400, 422})
"""The statuses with which servers refuse a feature."""
_UNREAD = frozenset({400, 422, 500, 501})
"""The statuses with which they refuse a form: llama.cpp's templates fail with 500."""
_GOOD = frozenset({200, 201, 202, 203})
"""The statuses under which a reply comes."""
_KEY_REFUSED = frozenset({401, 403})
_NOWHERE = frozenset({404, 405})
VERSION = "/v1"
"""Where most servers have the wire of OpenAI, below their address."""
_STREAM = re.compile(rb"(?:data|event|id|retry)?:")
_JSON = (b"{", b"[", b"<")
_BOM = b"\xef\xbb\xbf"
_TOLD_BYTES = 8
"""How much of a body tells whether it is a stream."""


class Draft(Protocol):
    """A streamed reply while it comes in."""

    @property
    def complete(self) -> bool:
        """Whether the last event has arrived."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the reply has said that it ends: it is whole, whatever becomes of the stream."""
        ...

    def add(self, data: bytes, name: str = "") -> None:
        """Take the data of the next event, which may have a name. Raises:
        BadReplyError: it is malformed, or the server gives up.
        """
        ...

    def reply(self) -> ModelReply:
        """The complete reply. Raises:
        BadReplyError: the stream ended before the reply did.
        """
        ...

    def cut(self) -> ModelReply:
        """The reply as far as it has come, as one that reached its output cap; its usage is estimated. Raises:
        BadReplyError: what has come is no reply.
        """
        ...

    @property
    def written_chars(self) -> int:
        """How many characters of it have come."""
        ...

    def spent(self) -> TokenUsage | None:
        """The usage so far, estimated where it must be; None before the reply begins."""
        ...


class Wire(Protocol):
    """How one provider writes requests and replies."""

    @property
    def name(self) -> str:
        """The name of the provider, and of its section in the configuration."""
        ...

    @property
    def url(self) -> str:
        """The provider's own base URL."""
        ...

    @property
    def path(self) -> str:
        """The path of requests, below the base URL."""
        ...

    @property
    def models_path(self) -> str:
        """The path at which a server lists its models, below the base URL."""
        ...

    @property
    def forms(self) -> Mapping[str, re.Pattern[str]]:
        """The other forms that a request can have, and the words in which servers ask for each."""
        ...

    def headers(self, key: str | None) -> Mapping[str, str]: ...

    def encode(self, request: ModelRequest, *, stream: bool, forms: Set[str]) -> bytes:
        """The body of a request, in some of its other forms."""
        ...

    def decode(self, body: bytes, request: ModelRequest) -> ModelReply:
        """The reply in a body that was not streamed. Raises:
        BadReplyError: it is malformed or of another shape.
        """
        ...

    def draft(self, request: ModelRequest) -> Draft:
        """Begin to read a streamed reply."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """Where and how a provider is called."""

    base_url: str | None = None
    """The base URL; None for the provider's own."""
    key: str | None = field(default=None, repr=False)
    stream: bool = True
    prompt_cache: bool = True
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment, for its proxy variables."""


class HttpBackend:
    """Calls one provider, by `wire`.

    Replies are streamed unless the settings or the server say otherwise; what a server refuses by name and a request
    can do without (streaming, a response schema, a temperature) is left out from then on, for that model, and what it
    wants in another form of the wire is written so. That a model takes no tools is remembered too.
    """

    on_loop = True

    def __init__(self, wire: Wire, settings: ProviderSettings, on_retry: OnRetry = ignore_retry) -> None:
        self._wire = wire
        self._settings = settings
        self._on_retry = on_retry
        self._gate = RateGate()
        base_url = settings.base_url or wire.url
        self._version = ""
        """What goes between the base URL and paths, where the URL was given without it."""
        self._may_lack_version = not wire.path.startswith(VERSION) and not urlsplit(base_url).path.strip("/")
        self._own = is_own(base_url, wire.url)
        self._refused: set[tuple[str, str]] = set()
        endpoint = Endpoint(
            base_url=base_url,
            section=wire.name,
            key=settings.key,
            headers=wire.headers(settings.key),
            environ=settings.environ,
        )
        self._client = HttpClient(endpoint, settings.timeouts)

    def traits(self, model: str) -> ModelTraits:
        """What the bundled table says, for the provider itself; another server may serve anything under any name."""
        traits = traits_of(self._wire.name, model) if self._own else ModelTraits()
        return replace(traits, native_tools=False) if (model, _TOOLS) in self._refused else traits

    async def call(self, request: ModelRequest) -> ModelReply:
        return await call_with_retries(
            lambda: self._attempt(request), self._settings.retry, self._on_retry, gate=self._gate, model=request.model
        )

    async def aclose(self) -> None:
        await self._client.aclose()

    async def _attempt(self, request: ModelRequest) -> ModelReply:
        body = self._body(request)
        outcome = await self._exchange(request, body)
        while isinstance(outcome, Refusal) and self._can_do_without(outcome, request, body):
            body = self._body(request)
            outcome = await self._exchange(request, body)
        if isinstance(outcome, Refusal):
            error = self._error(outcome, request.model)
            if isinstance(error, ToolsRefusedError):
                self._refused.add((request.model, _TOOLS))
            raise error
        return outcome

    async def models(self) -> tuple[str, ...] | None:
        """The names of the models that the server lists; None where it lists none, though it answers.

        Raises:
            BackendError: it can't be reached, or refuses the key.
        """
        for version in (self._version, VERSION) if self._may_lack_version and not self._version else (self._version,):
            async with self._client.get(version + self._wire.models_path) as answer:
                if answer.status in _KEY_REFUSED:
                    raise self._error(read_refusal(answer.status, answer.headers, await answer.rest()), "")
                names = _names_in(await answer.rest()) if answer.status in _GOOD else None
            if names is not None:
                return names
        return None

    async def _exchange(self, request: ModelRequest, body: bytes) -> ModelReply | Refusal:
        """One request and what came of it; where nothing is there, one below `VERSION`, which is often left out."""
        outcome = await self._exchange_at(self._version, request, body)
        if not _is_nowhere(outcome) or self._version or not self._may_lack_version:
            return outcome
        below = await self._exchange_at(VERSION, request, body)
        if _is_nowhere(below):
            return outcome
        self._version = VERSION
        return below

    async def _exchange_at(self, version: str, request: ModelRequest, body: bytes) -> ModelReply | Refusal:
        """One request and what came of it; an error says what it may be billed."""
        draft = self._wire.draft(request)
        with _billed(draft, request):
            async with self._client.post(version + self._wire.path, body) as answer:
                if answer.status not in _GOOD:
                    return read_refusal(answer.status, answer.headers, await answer.rest())
                with self._host_named():
                    outcome = await self._read(answer, draft, request)
                if isinstance(outcome, Refusal) and (draft.spent() is not None or _may_be_billed(outcome)):
                    raise self._error(outcome, request.model, billed=True)
                return outcome

    async def _read(self, answer: HttpAnswer, draft: Draft, request: ModelRequest) -> ModelReply | Refusal:
        head = await _head(answer)
        if _is_stream(head, answer.headers.get("Content-Type", "")):
            return await _read_events(answer, draft, head, request.max_output_tokens)
        body = head + await answer.whole()
        if refusal := refusal_within(body):
            return refusal
        try:
            return self._wire.decode(body, request)
        except BadReplyError:
            if refusal := refusal_instead(body):
                return refusal
            raise

    def _body(self, request: ModelRequest) -> bytes:
        model = request.model
        if request.response_schema is not None and (model, "response_schema") in self._refused:
            request = replace(request, response_schema=None)
        if request.temperature is not None and (model, "temperature") in self._refused:
            request = replace(request, temperature=None)
        return self._wire.encode(request, stream=self._streams(model), forms=self._forms(model))

    def _streams(self, model: str) -> bool:
        return self._settings.stream and (model, "stream") not in self._refused

    def _forms(self, model: str) -> frozenset[str]:
        return frozenset(form for form in self._wire.forms if (model, form) in self._refused)

    def _can_do_without(self, refusal: Refusal, request: ModelRequest, body: bytes) -> bool:
        """Note what the server refuses by name in `body`, if the request can go without, or be written otherwise.

        A call beside this one may have noted it already.
        """
        forms = self._wire.forms if refusal.status in _UNREAD else {}
        features = _OPTIONAL if refusal.status in _UNTAKEN else {}
        for name, words in (*forms.items(), *features.items()):
            if not words.search(refusal.says):
                continue
            known = (request.model, name) in self._refused
            self._refused.add((request.model, name))
            if self._body(request) != body:
                return True
            if not known:
                self._refused.discard((request.model, name))
        return False

    @contextmanager
    def _host_named(self) -> Iterator[None]:
        try:
            yield
        except BadReplyError as error:
            host = self._client.host
            message = str(error) if str(error).startswith(host) else f"{host}: {error}"
            raise BadReplyError(message, status=200) from error

    def _error(self, refusal: Refusal, model: str, *, billed: bool | None = None) -> BackendError:
        """The error of a refusal; what it may be billed is as its status says, where nothing else does."""
        addressee = Addressee(
            host=self._client.host,
            model=model,
            key_variable=key_variable(self._wire.name),
            key=self._settings.key,
        )
        error = to_error(refusal, addressee)
        error.billed = error.billed if billed is None else billed
        return error


@contextmanager
def _billed(draft: Draft, request: ModelRequest) -> Iterator[None]:
    """Have an error say what the provider may bill, where that is more than what was granted."""
    try:
        yield
    except BackendError as error:
        spent = draft.spent()
        if error.billed and spent is not None and spent.output_tokens > request.max_output_tokens:
            error.usage = spent
        raise


def _is_nowhere(outcome: ModelReply | Refusal) -> bool:
    return isinstance(outcome, Refusal) and outcome.status in _NOWHERE


class _Listed(Struct):
    id: str


class _Listing(Struct):
    data: list[_Listed]


def _names_in(body: bytes) -> tuple[str, ...] | None:
    """The names in a list of models; None where it is no such list."""
    try:
        return tuple(each.id for each in msgspec.json.decode(body, type=_Listing).data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _may_be_billed(refusal: Refusal) -> bool:
    """Whether an error under status 200, before any reply, leaves open what the server did: it failed by itself, and
    doesn't say that it was overloaded.
    """
    return refusal.status >= 500 and refusal.status not in (503, 529)


class _Meter:
    """Tells when a stream has outgrown the output that it was granted, by more than a tokenizer can explain."""

    def __init__(self, draft: Draft, granted_tokens: int) -> None:
        self._draft = draft
        self._granted_tokens = granted_tokens
        self._seen_bytes = 0
        self._look_at_bytes = 0

    def is_exceeded_after(self, piece: bytes) -> bool:
        """Whether it has, once this piece has come; looked at now and then, since that takes time."""
        self._seen_bytes += len(piece)
        if self._seen_bytes < self._look_at_bytes:
            return False
        self._look_at_bytes = self._seen_bytes + max(LOOK_EVERY_BYTES, self._seen_bytes // 8)
        return self._draft.written_chars > CHARS_PER_TOKEN * self._granted_tokens

    def cut(self) -> ModelReply:
        """The reply as far as it has come, billed for no less than what was granted."""
        reply = self._draft.cut()
        output_tokens = max(reply.usage.output_tokens, self._granted_tokens)
        return replace(reply, usage=replace(reply.usage, output_tokens=output_tokens))


async def _head(answer: HttpAnswer) -> bytes:
    """The beginning of a body, enough to tell what it is."""
    pieces: list[bytes] = []
    told_bytes = 0
    while told_bytes < _TOLD_BYTES and (piece := await answer.piece()):
        pieces.append(piece)
        told_bytes += len(piece if told_bytes else piece.lstrip())
    return b"".join(pieces)


def _is_stream(head: bytes, content_type: str) -> bool:
    """Whether a body is a stream of events, by its beginning, else by its type, which some get wrong."""
    begin = head.removeprefix(_BOM).lstrip()
    if begin.startswith(_JSON):
        return False
    return _STREAM.match(begin) is not None or content_type.partition(";")[0].strip().lower() == "text/event-stream"


async def _read_events(answer: HttpAnswer, draft: Draft, head: bytes, granted_tokens: int) -> ModelReply | Refusal:
    reader, count, piece, meter = EventReader(), 0, head, _Meter(draft, granted_tokens)
    while not draft.complete:
        events = reader.feed(piece) if piece else reader.end()
        count += len(events)
        if count > EVENTS_CAP:
            raise BadReplyError(f"the stream has more than {EVENTS_CAP:,} events")
        for event in events:
            if refusal := _take(draft, event):
                return refusal
        if not piece:
            break
        if meter.is_exceeded_after(piece):
            return meter.cut()
        try:
            async with asyncio.timeout(SILENCE_S if draft.finished else None) as silence:
                piece = await answer.piece()
        except (BadReplyError, TimeoutError) as error:
            if not draft.finished or (isinstance(error, TimeoutError) and not silence.expired()):
                raise
            break
    if draft.complete:
        await answer.drain()
    return draft.reply()


def _take(draft: Draft, event: ServerEvent) -> Refusal | None:
    """Give an event to the draft; what follows the end of a reply no longer matters."""
    for data in _payloads(event.data):
        if draft.complete:
            return None
        refusal = refusal_within(data, event.name)
        if refusal is not None and not draft.finished:
            return refusal
        try:
            draft.add(data, event.name)
        except BadReplyError:
            if not draft.finished:
                raise
    return None


def _payloads(data: bytes) -> list[bytes]:
    """The data of an event; or of several, where a server leaves out the empty lines between them."""
    lines = [line for line in data.split(b"\n") if line.strip()] if b"\n" in data else []
    several = len(lines) > 1 and all(line.lstrip().startswith((b"{", b"[DONE")) for line in lines)
    return lines if several else [data]


def settings_of(wire: Wire, config: ProviderConfig, setup: BackendSetup) -> ProviderSettings:
    """The settings for `wire`: its section of the configuration, its variables of the environment.

    Raises:
        AuthenticationError: the provider's own API is meant and its key isn't set, or isn't a key.
    """
    base_url = config.base_url or setup.environ.get(f"{wire.name.upper()}_BASE_URL") or None
    return ProviderSettings(
        base_url=base_url,
        key=_read_key(wire.name, setup.environ, needed=base_url is None or is_own(base_url, wire.url)),
        stream=config.stream,
        prompt_cache=config.prompt_cache,
        timeouts=Timeouts(
            total_s=config.request_timeout_s,
            first_byte_s=config.first_byte_timeout_s,
            idle_s=config.idle_timeout_s,
        ),
        retry=RetryPolicy(max_retries=config.max_retries),
        environ=setup.environ,
    )


def key_variable(provider: str) -> str:
    return f"{provider.upper()}_API_KEY"


def is_own(base_url: str, own_url: str) -> bool:
    """Whether `base_url` is at the provider's own host."""
    try:
        return urlsplit(base_url).hostname == urlsplit(own_url).hostname
    except ValueError:
        return False


def _read_key(provider: str, environ: Mapping[str, str], *, needed: bool) -> str | None:
    name = key_variable(provider)
    key = environ.get(name, "").strip()
    if not key and needed:
        raise AuthenticationError(
            f"{name} is not set; set it, or set {provider.upper()}_BASE_URL to a server without keys"
        )
    if key and not _KEY.fullmatch(key):
        raise AuthenticationError(f"{name} holds characters that no key has, such as spaces or line breaks")
    return key or None
