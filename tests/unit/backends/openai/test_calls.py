"""Tool calls out of the pieces in which servers stream them, case by case and in any cut."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rlm.backends.openai.calls import CallDrafts
from rlm.backends.openai.wire import OpenAIWire
from rlm.core.dialects import EXECUTE_CODE
from rlm.core.exceptions import BadReplyError
from rlm.core.types import Message, ModelReply, ModelRequest, ToolSpec

CASES = json.loads((Path(__file__).parents[3] / "corpus/wires/openai_streams.json").read_text(encoding="utf-8"))
NEEDS = {"type": "object", "required": ["x"]}
ASK = ModelRequest(
    model="m",
    messages=(Message(role="user", content="hi"),),
    max_output_tokens=100,
    tools=(EXECUTE_CODE, *(ToolSpec(name=name, description="", parameters=NEEDS) for name in "fg")),
)


def streamed(deltas: list[Any], ask: ModelRequest = ASK) -> ModelReply:
    draft = OpenAIWire().draft(ask)
    for delta in deltas:
        draft.add(json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": [delta]}}]}).encode())
    draft.add(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}).encode())
    return draft.reply()


def called(reply: ModelReply) -> list[list[Any]]:
    return [[call.name, json.loads(call.arguments or "{}")] for call in reply.tool_calls]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_pieces_are_put_together_as_they_were_meant(case: dict[str, Any]) -> None:
    reply = streamed(case["deltas"])
    assert called(reply) == case["calls"]
    assert len({call.id for call in reply.tool_calls}) == len(case["calls"])


CODE = json.dumps({"code": 'print("{\\"a\\": [1, {}]}")\n# ' + "}" * 9})


@given(st.lists(st.integers(0, len(CODE)), max_size=8), st.sampled_from(["index", "id", "name", "nothing"]))
def test_where_arguments_are_cut_changes_nothing(cuts: list[int], repeated: str) -> None:
    ends = sorted({0, len(CODE), *cuts})
    head: dict[str, Any] = {"index": 0, "id": "a", "function": {"name": "execute_code", "arguments": ""}}
    more = {"index": {"index": 0}, "id": {"id": "a"}, "name": {"index": 0}, "nothing": {}}[repeated]
    name = {"name": "execute_code"} if repeated == "name" else {}
    pieces = [CODE[start:end] for start, end in itertools.pairwise(ends)]
    reply = streamed([head, *({**more, "function": {**name, "arguments": piece}} for piece in pieces)])
    assert called(reply) == [["execute_code", json.loads(CODE)]]


CALLS = st.lists(
    st.tuples(st.sampled_from(["f", "g"]), st.integers(0, 9) | st.text(max_size=9)), min_size=1, max_size=3
)


@given(
    st.data(),
    CALLS.filter(lambda calls: all(one != other for one, other in itertools.pairwise(calls))),
    st.sampled_from(["first", "all", "fresh", "none"]),
    st.sampled_from(["right", "zero", "none", "counting"]),
    st.sampled_from(["first", "all"]),
    st.booleans(),
)
def test_calls_one_after_the_other_are_told_apart_in_any_style(
    data: Any, calls: list[tuple[str, Any]], ids: str, indexes: str, names: str, bare_head: bool
) -> None:
    assume(not (indexes == "counting" and names == "all" and bare_head and ids != "all"))  # a call each, as it seems
    deltas: list[dict[str, Any]] = []
    for number, (name, value) in enumerate(calls):
        written = json.dumps({"x": value})
        cuts = data.draw(st.lists(st.integers(1, len(written) - 1), max_size=3))
        pieces = [written[start:end] for start, end in itertools.pairwise(sorted({0, len(written), *cuts}))]
        for place, piece in enumerate(["", *pieces] if bare_head else pieces):
            function = {"arguments": piece, **({"name": name} if place == 0 or names == "all" else {})}
            id_ = {"first": "" if place else f"c{number}", "all": f"c{number}", "fresh": f"t{len(deltas)}", "none": ""}
            index = {"right": number, "zero": 0, "counting": len(deltas), "none": None}
            deltas.append({"index": index[indexes], "id": id_[ids], "function": function})
    assert called(streamed(deltas)) == [[name, {"x": value}] for name, value in calls]


def test_a_call_without_a_name_is_the_only_tool_that_is_on_offer() -> None:
    nameless = [{"index": 0, "id": "a", "function": {"arguments": '{"code": "1"}'}}]
    assert called(streamed(nameless, replace(ASK, tools=(EXECUTE_CODE,)))) == [["execute_code", {"code": "1"}]]
    with pytest.raises(BadReplyError, match="without a name"):
        streamed(nameless)


def test_looking_at_a_draft_changes_nothing() -> None:
    draft = OpenAIWire().draft(replace(ASK, tools=(EXECUTE_CODE,)))
    for delta in ({"id": "a"}, {"function": {"name": "execute"}}, {"function": {"name": "_code", "arguments": "{}"}}):
        draft.add(json.dumps({"choices": [{"delta": {"tool_calls": [{"index": 0, **delta}]}}]}).encode())
        assert draft.written_chars >= 0
        assert draft.spent() is not None
    draft.add(b"[DONE]")
    assert called(draft.reply()) == [["execute_code", {}]]


def test_a_large_call_in_small_pieces_takes_linear_time() -> None:
    drafts = CallDrafts(ASK.tools)
    drafts.add({"id": "a", "function": {"name": "f", "arguments": '{"code": "'}})
    for _ in range(20_000):
        drafts.add({"id": "a", "function": {"name": "f", "arguments": "}" * 10}})
    assert len(drafts.found()[0].arguments) == 200_010
