"""What of a conversation goes back to a server: valid in every part, whatever came in."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from rlm.backends.anthropic.wire import AnthropicWire
from rlm.backends.openai.request import FORMS, OWED_REASONING, OWED_SIGNATURES, SHORT_IDS
from rlm.backends.openai.wire import OpenAIWire
from rlm.backends.tool_calls import with_ids
from rlm.core.types import Image, Message, ModelReply, ModelRequest, ToolCall
from tests.support.images import png

SYSTEM, USER = Message(role="system", content="work"), Message(role="user", content="hi")
ASK = ModelRequest(model="m", messages=(USER,), max_output_tokens=64)


def sent(wire: OpenAIWire | AnthropicWire, *messages: Message, **how: Any) -> list[dict[str, Any]]:
    """The messages of a request as they go out."""
    body = json.loads(wire.encode(replace(ASK, messages=messages), stream=False, **how))
    found: list[dict[str, Any]] = body["messages"]
    return found


def called(name: str, arguments: str, call_id: str = "c1") -> Message:
    return Message(role="assistant", content="", tool_calls=(ToolCall(id=call_id, name=name, arguments=arguments),))


@pytest.mark.parametrize(
    ("arguments", "understood"),
    [
        ('{"code": "print(1)"}', {"code": "print(1)"}),
        ('{"code": "print(1)",}', {"code": "print(1)"}),
        ("print(1)", {"code": "print(1)"}),
        ('{"code": "print("hi")"}', {"code": 'print("hi")'}),
        ('{"code": "a = 1\nb = 2"}', {"code": "a = 1\nb = 2"}),
        ("{'code': 'print(1)'}", {"code": "print(1)"}),
        ("", {}),
        ('{"code": "print(1', {"INVALID_JSON": '{"code": "print(1'}),
        ("[1]", {"INVALID_JSON": "[1]"}),
        ("[" * 9_999, {"INVALID_JSON": "[" * 9_999}),
        ('"\udc80', {"INVALID_JSON": '"?'}),
    ],
)
def test_arguments_go_back_as_they_were_understood(arguments: str, understood: dict[str, str]) -> None:
    message = called("functions.execute_code", arguments)
    [call] = sent(OpenAIWire(), message)[0]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == understood
    [use] = sent(AnthropicWire(), USER, message)[1]["content"]
    assert use["input"] == understood
    assert call["function"]["name"] == use["name"] == "execute_code"


def test_valid_arguments_stay_as_they_were_written() -> None:
    written = '{ "b": 1.50,\n"a": "\\u00e9" }'
    assert sent(OpenAIWire(), called("f", written))[0]["tool_calls"][0]["function"]["arguments"] == written


@pytest.mark.parametrize("name", ["", "print('hi')", "é", "x" * 200])
def test_a_name_that_was_made_up_goes_back_in_plain_characters(name: str) -> None:
    assert re.fullmatch(r"[\w-]{1,64}", sent(OpenAIWire(), called(name, "{}"))[0]["tool_calls"][0]["function"]["name"])


def ids_of(*ids: str, asked: ModelRequest = ASK) -> list[str]:
    return [call.id for call in with_ids((ToolCall(id=each, name="f", arguments="") for each in ids), asked)]


def test_ids_are_kept_where_every_server_takes_them_and_made_where_not() -> None:
    assert ids_of("call_1", "toolu-2") == ["call_1", "toolu-2"]
    made = ids_of("", "", "a", "a", "functions.f:0", "x" * 200, "é")
    assert made[2] == "a"
    assert len(set(made)) == 7
    assert all(re.fullmatch(r"[a-zA-Z0-9]{9}", each) for each in [*made[:2], *made[3:]])
    before = replace(ASK, messages=(USER, called("f", "{}", "toolu_1")))
    assert ids_of("toolu_1", asked=before) != ["toolu_1"]


def test_ids_of_a_record_that_are_odd_or_repeated_are_made_anew_with_their_results() -> None:
    twice = replace(called("f", "{}", "call_1"), tool_calls=called("f", "{}", "call_1").tool_calls * 2)
    results = [Message(role="tool", content=text, tool_call_id="call_1") for text in "abc"]
    odd = called("f", "{}", "functions.f:0")
    told = Message(role="tool", content="d", tool_call_id="functions.f:0")
    conversation = (USER, twice, *results[:2], called("f", "{}", "call_1"), results[2], odd, told)
    shown = sent(OpenAIWire(), *conversation)
    asked = [call["id"] for each in shown for call in each.get("tool_calls", ())]
    assert [each["tool_call_id"] for each in shown if each["role"] == "tool"] == asked
    assert asked[0] == "call_1"
    assert len(set(asked)) == 4
    assert shown == sent(OpenAIWire(), *conversation)
    turns = sent(AnthropicWire(), *conversation)
    used = [block["id"] for turn in turns for block in turn["content"] if block["type"] == "tool_use"]
    assert used == asked


def test_roles_take_turns_and_nobody_speaks_after_a_tool() -> None:
    result = Message(role="tool", content="4", tool_call_id="c1")
    image = replace(USER, images=(Image.of(png()),))
    shown = sent(
        OpenAIWire(), SYSTEM, USER, replace(USER, content="and"), called("f", "{}"), result, USER, USER, image,
        Message(role="assistant", content=""), Message(role="assistant", content="so"), called("f", "{}", "c2"),
    )  # fmt: skip
    assert [(each["role"], each["content"]) for each in shown[:4]] == [
        ("system", "work"),
        ("user", "hi\n\nand"),
        ("assistant", ""),
        ("tool", "4\n\nhi\n\nhi"),
    ]
    assert [each["role"] for each in shown[4:]] == ["user", "assistant"]
    assert (shown[5]["content"], shown[5]["tool_calls"][0]["id"]) == ("so", "c2")


def test_nothing_goes_back_empty() -> None:
    shown = sent(OpenAIWire(), USER, Message(role="assistant", content=""), replace(USER, content=" "))
    assert [each["content"] for each in shown] == ["hi", "(empty)", "(empty)"]


CALL = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}


def streamed(wire: OpenAIWire, *deltas: dict[str, Any]) -> ModelReply:
    draft = wire.draft(ASK)
    for delta in deltas:
        draft.add(json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode())
    draft.add(b"[DONE]")
    return draft.reply()


def answered(reply: ModelReply) -> tuple[Message, ...]:
    """The conversation after a reply with one call."""
    said = Message(role="assistant", content=reply.text, tool_calls=reply.tool_calls)
    return (USER, said, Message(role="tool", content="4", tool_call_id=reply.tool_calls[0].id))


DETAILS = [{"type": "reasoning.text", "text": "so", "index": 0}, {"type": "reasoning.text", "text": " it", "index": 0}]


@pytest.mark.parametrize(
    ("deltas", "fields"),
    [
        ([{"reasoning_content": "I "}, {"reasoning_content": "think."}], {"reasoning_content": "I think."}),
        ([{"reasoning": "I think."}], {"reasoning": "I think."}),
        (
            [{"reasoning_details": [each]} for each in (*DETAILS, {"type": "reasoning.encrypted", "data": "x"})],
            {
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "so it", "index": 0},
                    {"type": "reasoning.encrypted", "data": "x"},
                ]
            },
        ),
        (
            [{"extra_content": {"google": {"thought_signature": "c2ln"}}}],
            {"extra_content": {"google": {"thought_signature": "c2ln"}}},
        ),
    ],
)
def test_reasoning_goes_back_with_the_calls_it_led_to(deltas: list[dict[str, Any]], fields: dict[str, Any]) -> None:
    wire = OpenAIWire()
    conversation = answered(streamed(wire, *deltas, {"tool_calls": [CALL]}))
    assert sent(wire, *conversation)[1].items() >= fields.items()
    assert sent(wire, SYSTEM, *conversation)[2].items() >= fields.items()  # wherever the conversation was shortened
    assert not fields.keys() & sent(OpenAIWire(), *conversation)[1].keys()
    assert not fields.keys() & sent(wire, *conversation, forms={"reasoning"})[1].keys()
    assert streamed(wire, *deltas, {"content": "5"}).text == "5"


def test_reasoning_that_is_only_in_details_is_read_and_counted() -> None:
    draft = OpenAIWire().draft(ASK)
    draft.add(json.dumps({"choices": [{"delta": {"reasoning_details": [{"text": "so " * 100}]}}]}).encode())
    assert draft.written_chars == 300
    spent = draft.spent()
    assert spent is not None
    assert spent.output_tokens >= 100
    assert streamed(OpenAIWire(), {"reasoning_details": DETAILS}, {"content": "5"}).reasoning == "so it"


def test_conversations_side_by_side_keep_their_reasoning_apart_whatever_ids_a_server_repeats() -> None:
    wire = OpenAIWire()
    one, other = (
        answered(streamed(wire, {"reasoning_content": thought}, {"tool_calls": [CALL]})) for thought in ("one", "other")
    )
    assert [sent(wire, *each)[1]["reasoning_content"] for each in (one, other)] == ["one", "other"]


SIGNED = {"google": {"thought_signature": "c2ln"}}


@pytest.mark.parametrize(
    "deltas",
    [
        [{"tool_calls": [{**CALL, "extra_content": SIGNED}]}],
        [{"tool_calls": [CALL]}, {"tool_calls": [{"extra_content": SIGNED}]}],
    ],
)
def test_what_is_opaque_in_a_call_goes_back_with_it(deltas: list[dict[str, Any]]) -> None:
    wire = OpenAIWire()
    conversation = answered(streamed(wire, *deltas))
    assert sent(wire, *conversation)[1]["tool_calls"][0]["extra_content"] == SIGNED


def test_reasoning_that_the_record_has_is_sent_to_a_server_that_wants_it() -> None:
    message = replace(called("f", "{}"), reasoning="I think.")
    assert "reasoning_content" not in sent(OpenAIWire(), message)[0]
    assert sent(OpenAIWire(), message, forms={OWED_REASONING})[0]["reasoning_content"] == "I think."


@pytest.mark.parametrize("effort", ["none", "high"])
def test_an_effort_is_asked_for_in_the_words_of_each_wire(effort: Any) -> None:
    asked = replace(ASK, effort=effort)
    openai, claude = (json.loads(wire.encode(asked)) for wire in (OpenAIWire(), AnthropicWire()))
    assert openai["reasoning_effort"] == effort
    assert claude["output_config"] == {"effort": "high" if effort == "high" else "low"}
    for wire in (OpenAIWire(), AnthropicWire()):
        assert "effort" not in wire.encode(asked, forms={"effort"}).decode()


def asked_for(said: str) -> str:
    """The first other form that a refusal in these words asks for."""
    return next(form for form, words in FORMS.items() if words.search(said))


def test_what_was_lost_is_made_up_for_where_a_server_cannot_do_without() -> None:
    said = "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2"
    assert asked_for(said) == OWED_REASONING
    assert sent(OpenAIWire(), called("f", "{}"), forms={OWED_REASONING})[0]["reasoning_content"].strip()
    said = "Function call `f` in the 2. content block is missing a `thought_signature`."
    assert asked_for(said) == OWED_SIGNATURES
    [call] = sent(OpenAIWire(), called("f", "{}"), forms={OWED_SIGNATURES})[0]["tool_calls"]
    assert call["extra_content"]["google"]["thought_signature"]


@pytest.mark.parametrize(
    "said",
    [
        "reasoning_content in the input messages is not allowed",
        "property 'reasoning' is unsupported",
        "messages.2.extra_content: Extra inputs are not permitted",
        "Unknown name 'reasoning_details' at 'messages[2]'",
    ],
)
def test_reasoning_is_left_out_where_it_is_refused(said: str) -> None:
    assert asked_for(said) == "reasoning"


def test_ids_of_another_server_are_shortened_for_mistral() -> None:
    assert asked_for("Tool call id was call_Xy but must be a-z, A-Z, 0-9, with a length of 9.") == SHORT_IDS
    result = Message(role="tool", content="4", tool_call_id="call_long")
    call, answer = sent(OpenAIWire(), called("f", "{}", "call_long"), result, forms={SHORT_IDS})
    assert re.fullmatch(r"[a-zA-Z0-9]{9}", answer["tool_call_id"])
    assert call["tool_calls"][0]["id"] == answer["tool_call_id"]


def test_thinking_goes_back_after_the_results_of_tools_too() -> None:
    wire, messages = AnthropicWire(), (USER,)
    for call_id in ("c1", "c2"):
        blocks = [
            {"type": "thinking", "thinking": call_id, "signature": "c2ln"},
            {"type": "tool_use", "id": call_id, "name": "f", "input": {}},
        ]
        reply = wire.decode(json.dumps({"content": blocks}).encode(), replace(ASK, messages=messages))
        messages = (*messages, *answered(reply)[1:])
    assert [turn["content"][0].get("thinking") for turn in sent(wire, *messages)[1::2]] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("blocks", "kept"),
    [
        ([{"type": "thinking", "thinking": "hmm"}], []),
        ([{"type": "thinking", "thinking": "hmm", "signature": "c2ln"}], ["thinking"]),
        ([{"type": "redacted_thinking", "data": "x"}, {"type": "thinking", "thinking": "h"}], ["redacted_thinking"]),
    ],
)
def test_thinking_without_its_signature_stays_out(blocks: list[dict[str, Any]], kept: list[str]) -> None:
    wire = AnthropicWire()
    use = {"type": "tool_use", "id": "c1", "name": "f", "input": {}}
    reply = wire.decode(json.dumps({"content": [*blocks, use], "stop_reason": "tool_use"}).encode(), ASK)
    conversation = answered(reply)
    found = json.loads(wire.encode(replace(ASK, messages=(ASK.messages[0], *conversation[1:]))))["messages"]
    assert [block["type"] for block in found[1]["content"]] == [*kept, "tool_use"]
    without = json.loads(wire.encode(replace(ASK, messages=conversation), forms={"thinking"}))["messages"]
    assert [block["type"] for block in without[1]["content"]] == ["tool_use"]
