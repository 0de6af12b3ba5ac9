"""Replies of every shape become steps; hostile text costs no more than linear time."""

import pytest

from rlm.core.dialects import DIALECTS, Answer, Cell, Correction, StepResult, UseTool, choose, landing_answer, shorten
from rlm.core.types import ModelReply, TokenUsage, ToolCall


def reply(text="", *calls, finish="stop"):
    return ModelReply(text=text, tool_calls=calls, usage=TokenUsage(), finish=finish)


def tool(name, arguments, call_id="c1"):
    return ToolCall(id=call_id, name=name, arguments=arguments)


def code(text, **kwargs):
    return DIALECTS["code"].parse(reply(text, **kwargs))


def tools(*args, **kwargs):
    return DIALECTS["tools"].parse(reply(*args, **kwargs))


def test_several_fences_are_several_cells_in_order():
    steps = code("First\n```repl\na = 1\n```\nthen\n```python\nprint(a)\n```\n")
    assert steps == (Cell(code="a = 1\n"), Cell(code="print(a)\n"))


def test_a_fence_of_another_language_is_not_run():
    assert isinstance(code("```json\n{}\n```")[0], Correction)


def test_a_longer_fence_may_hold_a_shorter_one():
    assert code("````repl\ns = '''\n```\n'''\n````") == (Cell(code="s = '''\n```\n'''\n"),)


def test_a_fence_that_was_never_closed_runs():
    assert code("```repl\nprint(1)") == (Cell(code="print(1)"),)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("FINAL(42)", "42"),
        ("The result:\nFINAL('it''s')", "'it''s'"),
        ('FINAL("two words")', "two words"),
        ("FINAL(a (b) c)\n\nI hope that (this) helps.", "a (b) c"),
        ("FINAL(line one\nline two)", "line one\nline two"),
        ("FINAL(never closed", "never closed"),
    ],
)
def test_final_in_prose_is_the_answer(text, answer):
    expected = "its" if "''" in text else answer
    assert code(text) == (Answer(text=expected),)


def test_final_beside_code_was_written_too_early():
    assert code("```repl\nx = 1\n```\nFINAL(7)") == (Cell(code="x = 1\n"),)


def test_final_var_in_prose_becomes_a_cell_after_the_code():
    assert code("```repl\nx = 1\n```\nFINAL_VAR(x)") == (Cell(code="x = 1\n"), Cell(code="FINAL_VAR('x')"))


@pytest.mark.parametrize("text", ["", "   ", "I will think about it.", "FINAL", "The FINAL(x) is inline"])
def test_a_reply_without_code_is_corrected(text):
    (step,) = code(text)
    assert isinstance(step, Correction)
    assert "```repl" in step.message


def test_a_plain_reply_answers_where_tools_are_native():
    assert tools("  Forty-two.  ") == (Answer(text="Forty-two."),)


def test_a_cut_reply_is_no_answer():
    assert isinstance(tools("Forty-", finish="length")[0], Correction)


def test_execute_code_becomes_a_cell():
    assert tools("", tool("execute_code", '{"code": "1 + 1"}')) == (Cell(code="1 + 1", call_id="c1"),)


def test_another_tool_is_used():
    (step,) = tools("", tool("file_read", '{"path": "a"}'))
    assert step == UseTool(name="file_read", arguments={"path": "a"}, call_id="c1")


@pytest.mark.parametrize("arguments", ["{", "[]", '{"code": 1}', "[" * 100_000])
def test_broken_arguments_are_corrected_under_their_call(arguments):
    (step,) = tools("", tool("execute_code", arguments))
    assert isinstance(step, Correction)
    assert step.call_id == "c1"


def test_each_call_is_answered_by_its_own_message():
    results = [
        StepResult(step=Cell(code="", call_id="a"), text="one"),
        StepResult(step=Correction(message="", call_id="b"), text="two"),
    ]
    messages = DIALECTS["tools"].render(results)
    assert [(m.role, m.tool_call_id, m.content) for m in messages] == [("tool", "a", "one"), ("tool", "b", "two")]


def test_code_results_are_one_message():
    results = [StepResult(step=Cell(code=""), text=text) for text in ("one", "two")]
    (message,) = DIALECTS["code"].render(results)
    assert message.content == "[1 of 2]\none\n\n[2 of 2]\ntwo"


def test_auto_takes_what_the_model_has():
    assert choose("auto", native_tools=True).name == "tools"
    assert choose("auto", native_tools=False).name == "code"
    assert choose("code", native_tools=True).name == "code"


def test_a_landing_reply_is_read_as_final_or_as_it_is():
    assert landing_answer(reply("FINAL(5)")) == Answer(text="5")
    assert landing_answer(reply("About five. ")) == Answer(text="About five.")
    assert landing_answer(reply("```repl\n1\n```\nFINAL_VAR(x)")) == Cell(code="FINAL_VAR('x')")


def test_shorten_cuts_in_the_middle_and_says_how_much():
    short = shorten("a" * 600 + "b" * 400 + "c" * 400, 1000)
    assert short.startswith("a" * 600)
    assert short.endswith("c" * 400)
    assert "400 of 1,400 characters cut" in short
    assert shorten("same", 10) == "same"


def test_many_openings_and_no_end_take_linear_time():
    assert len(code("```a\n" * 200_000 + "FINAL(" * 200_000)) == 1
