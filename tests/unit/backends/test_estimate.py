"""Which counts of a server are believed, and what stands in for the others."""

from __future__ import annotations

import pytest

from rlm.backends.estimate import believed_usage, estimate_usage
from rlm.core.types import Message, ModelRequest, ToolCall, ToolSpec

TOOL = ToolSpec(name="t", description="A tool.", parameters={"type": "object", "properties": {"a": {"type": "string"}}})
ASK = ModelRequest(model="m", messages=(Message(role="user", content="x" * 300),), max_output_tokens=64)
TEXT, CALL = "y" * 1_000, ToolCall(id="1", name="f", arguments="z" * 600)
ESTIMATED = estimate_usage(ASK, TEXT, (CALL,))


@pytest.mark.parametrize("said", [(5, 13), (1, 13), (9_000, 4_000)])
def test_what_can_be_is_believed(said: tuple[int, int]) -> None:
    used = believed_usage(ASK, TEXT, (CALL,), said)
    assert (used.input_tokens, used.output_tokens) == said


@pytest.mark.parametrize("output_tokens", [None, 0, 1, 12, 10**7 + 1, 1 << 60])
def test_an_output_that_can_not_be_is_estimated(output_tokens: int | None) -> None:
    used = believed_usage(ASK, TEXT, (CALL,), (7, output_tokens))
    assert (used.input_tokens, used.output_tokens) == (7, ESTIMATED.output_tokens)


@pytest.mark.parametrize("input_tokens", [None, 0, 1 << 60])
def test_a_prompt_that_can_not_be_is_estimated(input_tokens: int | None) -> None:
    used = believed_usage(ASK, TEXT, (CALL,), (input_tokens, 20))
    assert (used.input_tokens, used.output_tokens) == (ESTIMATED.input_tokens, 20)


def test_a_reply_that_says_nothing_may_have_no_output() -> None:
    assert believed_usage(ASK, "", (), (3, 0)).output_tokens == 0


def test_the_tools_of_a_request_are_part_of_its_prompt() -> None:
    asked = ModelRequest(model="m", messages=ASK.messages, max_output_tokens=64, tools=(TOOL,))
    assert estimate_usage(asked, "").input_tokens > estimate_usage(ASK, "").input_tokens
