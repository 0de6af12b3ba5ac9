"""Events survive the way to disk and back, and readers survive what they do not know."""

import pytest

from rlm.core import events
from rlm.core.types import RunUsage, TokenUsage, ToolCall


def event(body):
    return events.Event(seq=1, at=2.5, run="r", span="s", parent=None, type=body.TYPE, body=body)


@pytest.mark.parametrize(
    "body",
    [
        events.ModelEnd(
            text="a", tool_calls=[ToolCall(id="1", name="n", arguments="{}")], usage=TokenUsage(input_tokens=3)
        ),
        events.CompletionEnd(status="limit", response="r", duration_s=1.0, usage=RunUsage(turns=2), limit="max_turns"),
        events.Warned(message="line\nbreak \x00"),
    ],
)
def test_round_trip(body):
    line = events.encode(event(body))
    assert b"\n" not in line
    assert events.decode(line) == event(body)


def test_a_line_is_one_to_every_reader():
    said = event(events.Warned(message="a\u2028b\u2029c\x85d\x0be\x1cf\rg"))
    line = events.encode(said)
    assert len(line.decode().splitlines()) == 1
    assert events.decode(line) == said


def test_an_unknown_type_keeps_its_body():
    line = events.encode(event(events.Warned(message="x"))).replace(b'"warning"', b'"from.tomorrow"')
    assert events.decode(line).body == {"message": "x"}


def test_a_known_type_that_does_not_fit_keeps_its_body():
    line = events.encode(event(events.Warned(message="x"))).replace(b'"message":"x"', b'"message":5')
    assert events.decode(line).body["message"] == 5


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"seq": 1}', b"\xff"])
def test_what_is_no_event_is_a_value_error(line):
    with pytest.raises(ValueError):
        events.decode(line)


def test_every_body_has_its_own_type():
    assert len(events.BODIES) == len(events.AnyBody.__args__)
