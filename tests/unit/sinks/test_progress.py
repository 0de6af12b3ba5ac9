from __future__ import annotations

import io

import pytest

from rlm.core.events import (
    Body,
    CompletionStart,
    Event,
    ExecEnd,
    ExecStart,
    Limit,
    ModelEnd,
    ModelRetry,
    ModelStart,
    TurnStart,
    Warned,
)
from rlm.core.notes import ContextNote
from rlm.core.types import TokenUsage
from rlm.sinks.progress import StepLines, notice_text, status_text, step_text
from rlm.trajectory.fold import LiveRun

EVIL = "\x1b]0;owned\x07\x1b[31mred\rback\u202e"


def event(body: Body, span: str = "s", parent: str | None = "p") -> Event:
    return Event(seq=0, at=0.0, run="r", span=span, parent=parent, type=body.TYPE, body=body)


def call(span: str) -> Event:
    return event(ModelStart(model="m", purpose="llm_query", max_output_tokens=1, input_tokens_estimate=1), span)


def test_the_status_adds_up_what_happened() -> None:
    run = LiveRun()
    end = ModelEnd(usage=TokenUsage(input_tokens=1000, output_tokens=234), cost_usd=0.5)
    child = CompletionStart(depth=1, prompt="?", model="m", dialect="code", context=ContextNote(kind="none"))
    for each in (event(TurnStart(turn=1)), call("a"), call("b"), event(end, "a"), event(child, "c")):
        run.add(each)
    assert status_text(run.state, 7.2) == "turn 1 · depth 1 · 1,234 tokens · $0.5000 · 2 sub-calls · 7 s"


def test_an_unknown_price_is_not_shown_as_nothing() -> None:
    run = LiveRun()
    run.add(event(ModelEnd(usage=TokenUsage(output_tokens=5), cost_usd=0.5)))
    run.add(event(ModelEnd(usage=TokenUsage(output_tokens=5))))
    assert status_text(run.state, 0) == "starting · 10 tokens · 0 s"


@pytest.mark.parametrize(
    "body",
    [
        Warned(message=EVIL),
        Limit(name=EVIL, state=EVIL, message=EVIL),
        ModelRetry(error=EVIL, wait_s=1, attempt=1),
        ExecStart(cell=1, code=EVIL),
        ExecEnd(status=EVIL, output_chars=1, duration_s=1),
        ModelEnd(error=EVIL),
        CompletionStart(depth=0, prompt=EVIL, model="m", dialect="code", context=ContextNote(kind="none")),
    ],
)
def test_no_text_from_outside_steers_a_terminal(body: Body) -> None:
    text = step_text(event(body))
    assert text.isprintable()
    assert "owned" not in text
    assert "red" in text


def test_warnings_limits_and_retries_are_notices() -> None:
    assert notice_text(event(Warned(message="low"))) == "warning: low"
    assert notice_text(event(Limit(name="max_turns", state="near", message="2 left"))) == "limit max_turns near: 2 left"
    retry = ModelRetry(error="429", wait_s=2, attempt=1)
    assert notice_text(event(retry)) == "attempt 1 failed, next in 2.0 s: 429"
    assert notice_text(event(TurnStart(turn=1))) == ""


def test_events_of_unknown_types_are_no_steps() -> None:
    strange = Event(seq=0, at=0.0, run="r", span="s", parent=None, type="dream", body={"a": 1})
    assert step_text(strange) == notice_text(strange) == ""


def test_steps_are_lines_with_their_time() -> None:
    stream = io.StringIO()
    StepLines(stream).write(event(TurnStart(turn=3)))
    assert stream.getvalue() == "    0.0 s  turn 3\n"
