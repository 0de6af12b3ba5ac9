"""Stamps events and hands them on: mask secrets, cap sizes, journal first, then every other sink.

The only place that stamps. It never raises at a caller that records in passing: when the journal fails, the failure is
kept, and `check` raises it where a run can land.
"""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias, cast

import msgspec

from rlm.core.events import Body, Event, Warned, encode
from rlm.core.exceptions import RecordError, RecordLimitReached
from rlm.core.interfaces import BufferedSink, LineSink
from rlm.core.notes import ImageNote
from rlm.core.off_loop import checkpoint, is_large, off_loop
from rlm.core.record.blobs import HEAD_CHARS, carried, fitted
from rlm.core.texts import change_texts, is_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rlm.core.interfaces import Journal, Keeper, Masker, Sink
    from rlm.core.types import Image

EXACT = frozenset(
    {"run.start", "completion.start", "completion.end", "message", "model.end", "tool.end", "exec.end", "limit"}
    | {"control"}
)
"""What a resumed run takes from the record: where masking changes it, it is kept exact until the run completes."""


_WARNINGS = 1_000
_GRACE_S = 0.25
"""How long what is large is still made ready once it was given up, in seconds."""


_Draft: TypeAlias = "tuple[Event, bytes | None]"
"""An event as sinks get it, yet to be stamped, and what of its body is to be kept exact."""


@dataclass(frozen=True, slots=True)
class Span:
    """A place in the tree of spans."""

    id: str
    parent: str | None

    def child(self) -> Span:
        return Span(os.urandom(8).hex(), self.id)


def new_run_id() -> str:
    """A W3C trace id."""
    return os.urandom(16).hex()


class Recorder:
    """The event stream of one run; used on one event loop only."""

    def __init__(
        self,
        run_id: str,
        journal: Journal,
        sinks: Iterable[Sink] = (),
        masker: Masker | None = None,
        *,
        keeper: Keeper | None = None,
        root: str | None = None,
    ) -> None:
        """`root` is the id of the root's span in the run that this one resumes; None: the span is new."""
        self.run_id = run_id
        self.root = Span(root or os.urandom(8).hex(), None)
        self.is_masking = masker is not None
        self.warnings: list[str] = []
        """The warnings of the run so far, masked; the first thousand."""
        self._keeper = keeper
        self._journal: Journal | None = journal
        self._sinks = list(sinks)
        self._of_lines = {id(sink) for sink in self._sinks if isinstance(sink, LineSink)}
        """The sinks that take lines: what a sink offers is asked once, for that takes longer than to write an event."""
        self._buffered = [sink for sink in self._sinks if isinstance(sink, BufferedSink)]
        self._masker = masker
        self._seq = 0
        self._failure: RecordError | None = None

    def record(self, span: Span, body: Body, *, served: bool = False, is_masked: bool = False) -> None:
        """Stamp `body` as the next event of `span`, and put it on disk and into every sink.

        `served` marks what is repeated from the record of an earlier run; what `is_masked` is not masked again. A body
        of any size goes by `record_large`.
        """
        masked = body if is_masked else self._masked(body)
        self._keep_exact(self._exact(body, masked))
        event, line = self._fit(self._event(span, masked, served=served))
        self._write(event, line)

    async def record_large(
        self, span: Span, body: Body, *, otherwise: Body | None = None, is_masked: bool = False
    ) -> None:
        """Do as `record`, off the event loop where that may take long; the event is stamped when that is done.

        If this is cancelled before, and not done a moment later, `otherwise` is recorded instead.
        """
        if is_large(body):
            draft = partial(self._drafted, is_masked=is_masked)
            await self._record_drafted([(span, body)], draft, None if otherwise is None else (span, otherwise))
        else:
            self.record(span, body, is_masked=is_masked)

    async def record_served(self, bodies: Sequence[tuple[Span, Body]]) -> None:
        """Record what is repeated from the record of an earlier run, off the event loop where that may take long: all
        at once or, if this is cancelled before, and not done a moment later, nothing.
        """
        if is_large(*(body for _span, body in bodies)):
            await self._record_drafted(bodies, partial(self._drafted, served=True))
        else:
            for span, body in bodies:
                self.record(span, body, served=True)

    async def _record_drafted(
        self,
        bodies: Sequence[tuple[Span, Body]],
        draft: Callable[[Span, Body], _Draft],
        otherwise: tuple[Span, Body] | None = None,
    ) -> None:
        drafting = asyncio.ensure_future(off_loop(lambda: [draft(span, body) for span, body in bodies]))
        try:
            await asyncio.wait([drafting])
        except asyncio.CancelledError:
            with suppress(asyncio.CancelledError):
                await asyncio.wait([drafting], timeout=_GRACE_S)
            raise
        finally:
            if drafting.done():
                for event, exact in drafting.result():
                    self._write_draft(event, exact)
            else:
                drafting.cancel()
                if otherwise is not None:
                    self.record(*otherwise)

    def mask(self, text: str) -> str:
        """`text` as it is recorded."""
        return text if self._masker is None else self._masker.mask(text)

    def beginning(self, text: str, chars: int = HEAD_CHARS) -> str:
        """The first `chars` characters of a text, masked before it is cut: half a secret is not recognised."""
        return text if len(text) <= chars else self.mask(text[: 4 * chars])[:chars]

    def store(self, content: bytes) -> None:
        """Put bytes on disk beside the trajectory."""
        if (journal := self._writable) is not None:
            try:
                journal.store(content)
            except OSError as error:
                self._fail(error)

    def keep(self, images: Iterable[Image]) -> list[ImageNote]:
        """Put the bytes of images on disk, and return what an event says of them."""
        return [self._keep(image) for image in images]

    def check(self, cap_bytes: int | None = None) -> None:
        """Raise what keeps the journal from being written on.

        Raises:
            RecordError: disk full, folder gone.
            RecordLimitReached: the record has `cap_bytes` or more.
        """
        if self._failure is not None:
            raise self._failure
        if cap_bytes is not None and self.size_bytes >= cap_bytes:
            raise RecordLimitReached(
                f"record_bytes of {cap_bytes:,} is used up: the record has {self.size_bytes:,} bytes"
            )

    @property
    def size_bytes(self) -> int:
        """The size of the record with what stands beside it, as far as it was written."""
        kept = 0 if self._keeper is None else self._keeper.size_bytes
        return kept + (0 if self._journal is None else self._journal.size_bytes)

    def close(self) -> None:
        """Close the journal; idempotent. Sinks stay open, for whoever gave them: other runs may use them too."""
        buffered, self._buffered = self._buffered, []
        for sink in buffered:
            self._flush(sink)
        journal, self._journal = self._journal, None
        if journal is None:
            return
        try:
            journal.close()
        except OSError as error:
            self._fail(error)

    @property
    def _writable(self) -> Journal | None:
        """The journal; None once it failed, for what came after a gap would be no record, and once it is closed."""
        return self._journal if self._failure is None else None

    def _write_draft(self, draft: Event, exact: bytes | None) -> None:
        self._keep_exact(exact)
        event = msgspec.structs.replace(draft, seq=self._seq, at=time.time())
        self._write(event, encode(event))

    def _masked(self, body: Body) -> Body:
        masking = self._masker
        return body if masking is None else change_texts(body, masking.mask, masking.mask_value)

    def _exact(self, body: Body, masked: Body) -> bytes | None:
        """What is to be kept of a body whose event doesn't have it exact; None where it has."""
        if self._keeper is None or self._writable is None or body.TYPE not in EXACT:
            return None
        if masked is body and is_plain(body):
            return None
        try:
            return self._keeper.form(body)
        except OSError as error:
            self._fail(error)
            return None

    def _event(self, span: Span, body: Body, *, served: bool = False) -> Event:
        return Event(
            seq=self._seq,
            at=time.time(),
            run=self.run_id,
            span=span.id,
            parent=span.parent,
            type=body.TYPE,
            body=body,
            served=served,
        )

    def _drafted(self, span: Span, body: Body, *, served: bool = False, is_masked: bool = False) -> _Draft:
        """Make the draft of an event. Runs in a thread."""
        masked = body if is_masked else self._masked(body)
        exact = self._exact(body, masked)
        checkpoint()
        return self._fit(self._event(span, masked, served=served))[0], exact

    def _fit(self, event: Event) -> tuple[Event, bytes]:
        """The event as sinks get it, its large parts beside the record, and its line, encoded once for all of them."""
        journal = self._writable
        if journal is None:
            return carried(event)
        try:
            return fitted(event, journal.store)
        except OSError as error:
            self._fail(error)
            return carried(event)

    def _write(self, event: Event, line: bytes) -> None:
        """Put the next event on disk and into every sink."""
        self._seq += 1
        if isinstance(event.body, Warned) and len(self.warnings) < _WARNINGS:
            self.warnings.append(event.body.message)
        if (journal := self._writable) is not None:
            try:
                journal.write(event, line)
            except OSError as error:
                self._fail(error)
        for sink in tuple(self._sinks):
            self._offer(sink, event, line)

    def _keep_exact(self, form: bytes | None) -> None:
        """Keep an exact body, before its event: a kill between the two leaves a body without one, which is harmless."""
        if form is None or self._keeper is None or self._writable is None:
            return
        try:
            self._keeper.keep(self._seq, form)
        except OSError as error:
            self._fail(error)

    def _keep(self, image: Image) -> ImageNote:
        self.store(image.data)
        return ImageNote(media_type=image.media_type, size_bytes=len(image.data), digest=image.digest)

    def _fail(self, error: OSError) -> None:
        """Write no more; the journal stays open, and the run alive to its readers, until `close`."""
        self._failure = self._failure or _record_error(error)
        if self._journal is not None:
            self._journal.give_up()

    def _offer(self, sink: Sink, event: Event, line: bytes) -> None:
        try:
            if id(sink) in self._of_lines:
                cast("LineSink", sink).write_encoded(line)
            else:
                sink.write(event)
        except BaseException as error:  # noqa: BLE001 - a sink is foreign code; the run must not depend on it
            self._detach(sink, error)

    def _flush(self, sink: BufferedSink) -> None:
        try:
            sink.flush()
        except BaseException as error:  # noqa: BLE001 - as for `_offer`
            self._detach(sink, error)

    def _detach(self, sink: Sink, error: BaseException) -> None:
        """Go on without a sink, and say so once."""
        if sink in self._sinks:
            self._sinks.remove(sink)
            name = sink.name if isinstance(sink, BufferedSink) else type(sink).__name__
            self.record(self.root, Warned(message=f"{name} failed and was detached: {error!r}"))


def _record_error(error: Exception) -> RecordError:
    failure = RecordError(f"the trajectory cannot be written: {error}; free some space or set another log_dir")
    failure.__cause__ = error
    return failure
