"""A run as one page: what is shown of a run that is too large, and what is never shown."""

from __future__ import annotations

import re

from rlm.cli.run_page import PAGE_BYTES, as_page
from rlm.core.events import CompletionEnd, CompletionStart, Event, ExecOutput, ExecStart
from rlm.core.notes import ContextNote
from rlm.core.types import RunUsage
from rlm.secrets.masking import mask_secrets
from rlm.trajectory.span_records import SpanRecord
from rlm.trajectory.states import RunState, SpanState

RUN = RunState(id="ab" * 16, status="completed", prompt="what is it?", model="m", started_at=1.0)
NO_CONTEXT = ContextNote(kind="none", size_bytes=0)


def span(number: int, parent: int = -1, **rest: object) -> SpanRecord:
    state = SpanState(
        number=number, id=f"{number:016x}", parent_number=parent, started_at=1.0, first_seq=number, last_seq=number
    )
    state.level, state.status = max(parent, -1) + 1 if parent >= 0 else 0, "ok"
    for name, value in rest.items():
        setattr(state, name, value)
    return SpanRecord(state)


def event(body: object) -> Event:
    return Event(seq=0, at=1.0, run=RUN.id, span="0" * 16, parent=None, type=body.TYPE, body=body)  # type: ignore[attr-defined]


def test_a_run_of_any_size_fits_and_what_failed_in_it_is_shown() -> None:
    root = span(0)
    root.children = [span(number, 0, level=1, kind="exec", head="x" * 120) for number in range(1, 40_000)]
    failed = span(40_000, 0, level=1, kind="exec", status="error", detail="ZeroDivisionError")
    root.children.append(failed)
    page = as_page(RUN, [root, *root.children], str)
    assert len(page.encode()) <= PAGE_BYTES
    assert 'id="s40000"' in page
    assert 'href="#s40000"' in page
    assert re.search(r"leaves out [\d,]+ steps", page)


def test_long_texts_are_shortened_and_the_page_says_so() -> None:
    root = span(0, kind="exec")
    root.start = event(ExecStart(cell=1, code="<&>" * 400_000))
    root.events = [event(ExecOutput(text="<&>" * 300_000)) for _ in range(8)]
    page = as_page(RUN, [root], str)
    assert len(page.encode()) <= PAGE_BYTES
    assert "more characters]" in page


def test_steps_nested_deeper_than_a_browser_goes_are_all_there() -> None:
    records = [span(number, number - 1, level=number) for number in range(700)]
    for record in records[:-1]:
        record.children = [records[record.state.number + 1]]
    page = as_page(RUN, records, str)
    assert page.count("<details") == page.count("</details>") == 700
    depth = deepest = 0
    for tag in re.findall(r"</?details", page):
        depth += -1 if tag.startswith("</") else 1
        deepest = max(deepest, depth)
    assert deepest < 100


def test_what_is_shown_is_masked_and_escaped() -> None:
    key = "sk-proj-" + "aB3" * 16
    root = span(0, kind="completion")
    root.start = event(CompletionStart(depth=0, prompt=f"<b>{key}</b>", model="m", dialect="code", context=NO_CONTEXT))
    root.end = event(
        CompletionEnd(status="failed", response=f"{key}<script>", duration_s=1.0, usage=RunUsage(), error=f"E: {key}")
    )
    page = as_page(RUN, [root], mask_secrets)
    assert key not in page
    assert page.count("[REDACTED_") >= 3
    assert "<script" not in page
    assert "<b>[" not in page
