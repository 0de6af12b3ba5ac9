"""Replies as models and servers really send them, each with what is to be made of it: `tests/corpus/replies`."""

import json
from pathlib import Path

import pytest

from rlm.core.dialects import Answer, Cell, Correction, UseTool, choose
from rlm.core.types import ModelReply, TokenUsage, ToolCall

CORPUS = Path(__file__).parents[3] / "corpus" / "replies"


def rows(name):
    return json.loads((CORPUS / name).read_text(encoding="utf-8"))


def texts():
    """Each text in each dialect that it is meant for."""
    for case in rows("texts.json"):
        for dialect in [case["dialect"]] if "dialect" in case else ["code", "tools"]:
            yield pytest.param(case, dialect, id=f"{case['name']} ({dialect})")


def parsed(dialect, case, text="", calls=()):
    reply = ModelReply(text=text, tool_calls=calls, usage=TokenUsage(), finish=case.get("finish", "stop"))
    return choose(dialect, native_tools=True).parse(reply)


def check(case, steps):
    cells = [step.code.strip() for step in steps if isinstance(step, Cell)]
    told = " ".join(step.message for step in steps if isinstance(step, Correction))
    assert cells == case.get("cells", [])
    assert [step.text for step in steps if isinstance(step, Answer)] == ([case["answer"]] if "answer" in case else [])
    assert case.get("told", "") in told
    if case.get("cells") and "told" not in case:
        assert "repair" not in told


@pytest.mark.parametrize(("case", "dialect"), list(texts()))
def test_what_is_made_of_a_text(case, dialect):
    check(case, parsed(dialect, case, case["text"]))


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in rows("arguments.json")])
def test_what_is_made_of_the_arguments_of_a_call(case):
    steps = parsed("tools", case, calls=(ToolCall(id="c1", name=case["tool"], arguments=case["arguments"]),))
    used = [step.arguments for step in steps if isinstance(step, UseTool)]
    assert used == ([case["use"]] if "use" in case else [])
    check(case, steps)
