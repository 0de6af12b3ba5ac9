"""A run as one HTML page, to attach to an issue: whole in itself, without a script, and silent when it is opened.

What models, guests and files wrote is masked, made plain and escaped, and the page's own policy allows nothing but its
one style. It has an upper size: of a larger run, texts are shortened and steps left out, those that failed last.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter, defaultdict
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm.cli.console import counted
from rlm.cli.moments import local_time
from rlm.cli.run_tree import dollars
from rlm.core.events import (
    ArtifactSaved,
    Compaction,
    CompletionEnd,
    CompletionStart,
    Event,
    ExecEnd,
    ExecOutput,
    ExecStart,
    MessageAdded,
    ModelEnd,
    ModelStart,
    ToolEnd,
    ToolStart,
)
from rlm.core.plain import one_line, plain
from rlm.sinks.progress import notice_text
from rlm.trajectory.titles import fell_short, title_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rlm.trajectory.span_records import SpanRecord
    from rlm.trajectory.states import RunState

PAGE_BYTES = 5_000_000
"""The size of a page, at most."""

_DEEPEST = 60
"""Deeper steps are nested no further: a browser gives up on markup that is."""
_FEW_TURNS = 12
"""The turns of a run that are shown open; of a longer one, those in which something failed."""
_LINKS = 8
_GROUPS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measure:
    """How much of a run a page shows."""

    chars: int
    """Of each text."""
    steps: int
    """Calls, cells and turns; and as many messages and notices."""


_MEASURES = (
    _Measure(chars=1_000_000, steps=50_000),
    _Measure(chars=20_000, steps=20_000),
    _Measure(chars=4_000, steps=8_000),
    _Measure(chars=1_000, steps=3_000),
    _Measure(chars=100, steps=500),
)
"""From the whole run down to what fits in any case."""


def as_page(run: RunState, records: Sequence[SpanRecord], mask: Callable[[str], str]) -> str:
    """The page of a run, of at most `PAGE_BYTES` as UTF-8; `mask` is given every text that is shown."""
    pages = (_joined(_Page(run, records, mask, measure).pieces()) for measure in _MEASURES)
    return next(page for page in pages if page is not None)


def _joined(pieces: Iterable[str]) -> str | None:
    """The text of a page; None if it is too large."""
    page, size = [], 0
    for piece in pieces:
        page.append(piece)
        size += len(piece.encode())
        if size > PAGE_BYTES:
            return None
    return "".join(page)


class _Page:
    """Writes one page, by one measure."""

    def __init__(
        self, run: RunState, records: Sequence[SpanRecord], mask: Callable[[str], str], measure: _Measure
    ) -> None:
        self._run = run
        self._records = records
        self._mask = mask
        self._measure = measure
        self._shown = _chosen(records, measure.steps)
        self._events_left = measure.steps
        self._events_left_out = 0

    def pieces(self) -> Iterator[str]:
        """The page from its beginning to its end."""
        style = Path(__file__).with_name("run_page.css").read_text(encoding="utf-8")
        digest = b64encode(sha256(style.encode()).digest()).decode()
        policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
        yield (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{self._line(self._run.title, 80) or 'run'} - {self._line(self._run.status, 20)}</title>\n"
            f"<style>{style}</style></head><body>\n"
        )
        yield from self._summary()
        yield from self._failures()
        yield '<h2 id="steps">What happened</h2>\n'
        yield from self._steps()
        yield from self._left_out()
        yield "</body></html>\n"

    def _summary(self) -> Iterator[str]:
        run = self._run
        yield f"<h1>{self._line(run.title, 300) or 'A run without a prompt'}</h1>\n<dl>"
        for name, said in self._facts():
            if said:
                yield f"<dt>{name}</dt><dd>{self._line(said, 300)}</dd>"
        yield "</dl>\n"
        roots = (record for record in self._records if record.state.parent_number < 0)
        end = next((body for body in map(_end, roots) if isinstance(body, CompletionEnd)), None)
        if end is not None and end.error:
            yield self._text("Error", end.error, "error")
        yield self._text("Answer", run.response if end is None else end.response)

    def _facts(self) -> Iterator[tuple[str, str]]:
        run = self._run
        yield "Status", run.status + (f" ({run.limit})" if run.limit else "")
        yield "Models", ", ".join(sorted({r.state.model for r in self._records if r.state.model} or {run.model}))
        yield "Started", f"{local_time(run.started_at)}, {run.duration_s:.1f} s"
        yield "Cost", dollars(run.cost_usd) or ("price unknown" if run.model_calls else "")
        yield "Tokens", f"{run.input_tokens:,} in, {run.output_tokens:,} out"
        calls = (counted(run.model_calls, "model call"), counted(run.subcalls, "sub-call"))
        context = next((b.context for r in self._records if isinstance(b := _start(r), CompletionStart)), None)
        if context is not None and context.kind != "none":
            yield "Context", f"{context.kind}, {context.size_bytes:,} bytes"
        yield "Steps", ", ".join((counted(run.turns, "turn"), counted(run.cells, "cell"), *calls))
        yield "Sandbox", run.environment
        yield "Run", run.id
        yield "Origin", run.origin(32)
        yield "To go on", f"rlm resume {run.id}" if run.status != "completed" else f"rlm replay {run.id}"

    def _failures(self) -> Iterator[str]:
        """What failed, alike failures together, and what was warned of."""
        groups: dict[tuple[str, str], list[int]] = defaultdict(list)
        for record in self._records:
            if record.state.status == "error":
                groups[_kind(record), _reason(record)].append(record.state.number)
        if groups:
            yield "<h2>What failed</h2>\n<ul>"
            for (kind, reason), numbers in sorted(groups.items(), key=lambda group: -len(group[1]))[:_GROUPS]:
                yield f'<li><span class="error">{self._line(f"{kind}: {reason}", 300)}</span> {_links(numbers)}</li>'
            yield "</ul>\n"
        warned = Counter(notice for r in self._records for event in r.events if (notice := notice_text(event)))
        if warned:
            yield "<h2>Warnings and limits</h2>\n<ul>"
            for notice, count in warned.most_common(_GROUPS):
                times = f" ({count:,} times)" if count > 1 else ""
                yield f'<li class="warning">{self._line(notice, 300)}{times}</li>'
            yield "</ul>\n"

    def _steps(self) -> Iterator[str]:
        """The tree of spans, with what happened in each, in the order of their events."""
        waiting: list[SpanRecord | Event | str] = [r for r in reversed(self._records) if r.state.parent_number < 0]
        while waiting:
            item = waiting.pop()
            if isinstance(item, str):
                yield item
            elif isinstance(item, Event):
                yield self._event(item)
            elif item.state.number in self._shown:
                yield self._opened(item)
                inner: list[SpanRecord | Event] = [*item.events, *item.children]
                inner.sort(key=_sequence, reverse=True)
                if item.state.level < _DEEPEST:
                    waiting.append("</details>\n")
                else:
                    yield "</details>\n"
                waiting.extend(inner)

    def _left_out(self) -> Iterator[str]:
        steps = len(self._records) - len(self._shown)
        if steps or self._events_left_out or self._measure is not _MEASURES[0]:
            yield (
                f"<p>This page shows at most {self._measure.chars:,} characters of a text. It leaves out "
                f"{counted(steps, 'step')} and {counted(self._events_left_out, 'message')}, for its size; "
                f"the record has them: rlm logs show {self._line(self._run.id, 40)} --full</p>\n"
            )

    def _opened(self, record: SpanRecord) -> str:
        """A step without what is in it, and without its end tag."""
        state, name = record.state, _class(record)
        opened = " open" if self._is_open(record) else ""
        facts = " · ".join(filter(None, _span_facts(record)))
        return (
            f'<details id="s{state.number}"{f" class={name}" if name else ""}{opened}>'
            f"<summary><b>{self._line(_kind(record), 80)}</b> {self._line(state.head, 120)} "
            f'<span class="facts">{self._line(facts, 200)}</span></summary>\n' + "".join(self._body(record))
        )

    def _is_open(self, record: SpanRecord) -> bool:
        state = record.state
        if state.total_errors or state.level == 0:
            return True
        return state.kind == "turn" and state.depth == 0 and self._run.turns <= _FEW_TURNS

    def _body(self, record: SpanRecord) -> Iterator[str]:
        start, end = _start(record), _end(record)
        match start:
            case CompletionStart():
                yield self._text("Prompt", start.prompt)
            case ModelStart() if start.prompt:
                yield self._text("Asked", start.prompt)
            case ExecStart():
                yield self._text("Code", start.code)
                yield self._text("Printed", "".join(e.body.text for e in record.events if _is_output(e)))
            case ToolStart():
                yield self._text("Arguments", str(start.arguments))
        if record.state.level or not isinstance(end, CompletionEnd):  # the root's stands at the top
            yield from self._end(end)

    def _end(self, end: Any) -> Iterator[str]:
        match end:
            case CompletionEnd():
                yield self._text("Answer", end.response)
                yield self._text("Error", end.error or "", "error")
            case ModelEnd():
                yield self._text("Reasoning", end.reasoning)
                yield self._text("Reply", end.text)
                for call in end.tool_calls:
                    yield self._text(f"Called {call.name}", str(call.arguments))
                yield self._text("Error", end.error or "", "error")
            case ExecEnd():
                if end.error is not None:
                    said = end.error.traceback or f"{end.error.kind}: {end.error.message}"
                    yield self._text(f"Error ({end.status})", said, "error")
                if end.final is not None:
                    yield self._text("FINAL", end.final.text)
            case ToolEnd():
                yield self._text("Result", "" if end.error or end.result is None else str(end.result))
                yield self._text("Error", end.error or "", "error")

    def _event(self, event: Event) -> str:
        """What happened in a step, besides its steps; empty for what is shown elsewhere."""
        match event.body:
            case MessageAdded() as said:
                label, text = f"Message to the model ({said.role})", said.content
            case Compaction() as notes:
                label, text = f"Notes in the place of {counted(notes.dropped, 'message')}", notes.content
            case ArtifactSaved() as saved:
                label, text = "Saved", f"{saved.name}, {saved.size_bytes:,} bytes"
            case _:
                label, text = "Notice", notice_text(event)
        if not text:
            return ""
        if not self._events_left:
            self._events_left_out += 1
            return ""
        self._events_left -= 1
        if label == "Notice":
            return f'<div class="warning">{self._line(text, 300)}</div>\n'
        head = f"<summary><b>{self._line(label, 80)}</b> {self._line(text, 100)}</summary>"
        return f"<details>{head}\n{self._text('', text)}</details>\n"

    def _text(self, label: str, text: str, name: str = "") -> str:
        """A text below its label; empty if there is none."""
        if not text.strip():
            return ""
        masked = self._mask(text)
        left = len(masked) - self._measure.chars
        more = f"\n[{left:,} more characters]" if left > 0 else ""
        shown = escape(plain(masked[: self._measure.chars]).rstrip()) + more
        heading = f'<div class="label">{self._line(label, 80)}</div>' if label else ""
        return f"{heading}<pre{f' class={name}' if name else ''}>{shown}</pre>\n"

    def _line(self, text: str, chars: int) -> str:
        return escape(one_line(self._mask(text), chars))


def _chosen(records: Sequence[SpanRecord], most: int) -> frozenset[int]:
    """The numbers of the steps that are shown: those that failed, those in which they are, then the first."""
    if len(records) <= most:
        return frozenset(range(len(records)))
    shown: set[int] = set()
    for record in (*(r for r in records if r.state.status == "error"), *records):
        number, line = record.state.number, []
        while number >= 0 and number not in shown:
            line.append(number)
            number = records[number].state.parent_number
        if len(shown) + len(line) <= most:
            shown.update(line)
    return frozenset(shown)


def _sequence(item: SpanRecord | Event) -> int:
    return item.seq if isinstance(item, Event) else item.state.first_seq


def _is_output(event: Event) -> bool:
    return isinstance(event.body, ExecOutput)


def _start(record: SpanRecord) -> Any:
    return None if record.start is None else record.start.body


def _end(record: SpanRecord) -> Any:
    return None if record.end is None else record.end.body


def _kind(record: SpanRecord) -> str:
    """What a step is called; of a model call, the model too."""
    if record.start is None:
        return f"{record.kind} without a beginning"
    title, model = title_of(record.state), record.state.model
    return f"{title} of {model}" if record.state.kind == "model" else title


def _class(record: SpanRecord) -> str:
    """How a step looks: failed, or short of its end."""
    if record.state.status == "error":
        return "failed"
    return "short" if fell_short(record.state) or record.state.status == "open" else ""


def _span_facts(record: SpanRecord) -> Iterator[str]:
    state = record.state
    yield {"error": "failed", "open": "didn't end", "ok": ""}[state.status]
    yield state.detail if state.status == "error" or state.kind == "completion" else ""
    yield "" if state.ended_at is None else f"{state.ended_at - state.started_at:.2f} s"
    yield f"{state.total_tokens:,} tokens" if state.total_tokens else ""
    yield dollars(state.total_cost_usd)
    yield f"from {state.answered_from}" if state.answered_from else ""
    yield f"{state.total_errors:,} failed below" if state.total_errors and state.status != "error" else ""


def _reason(record: SpanRecord) -> str:
    """Why a step failed, in a line."""
    end = _end(record)
    if isinstance(end, ExecEnd) and end.error is not None:
        return f"{end.error.kind}: {end.error.message}"
    return getattr(end, "error", None) or record.state.detail or "it failed"


def _links(numbers: Sequence[int]) -> str:
    """Where a failure is found, and how often it came."""
    places = " ".join(f'<a href="#s{number}">step {number}</a>' for number in numbers[:_LINKS])
    more = f" and {len(numbers) - _LINKS:,} more" if len(numbers) > _LINKS else ""
    return f"{places}{more}" + (f" ({len(numbers):,} times)" if len(numbers) > 1 else "")
