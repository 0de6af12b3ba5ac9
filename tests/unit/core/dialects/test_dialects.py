"""Replies of every shape become steps; hostile text costs no more than linear time."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm.core.dialects import (
    Answer,
    Cell,
    Correction,
    StepResult,
    UseTool,
    choose,
    landing_answer,
    plain_reply,
    shorten,
)
from rlm.core.types import ModelReply, TokenUsage, ToolCall


def reply(text="", *calls, finish="stop"):
    return ModelReply(text=text, tool_calls=calls, usage=TokenUsage(), finish=finish)


def tool(name, arguments, call_id="c1"):
    return ToolCall(id=call_id, name=name, arguments=arguments)


def dialect(name):
    return choose(name, native_tools=True)


def code(text, **kwargs):
    return dialect("code").parse(reply(text, **kwargs))


def tools(*args, **kwargs):
    return dialect("tools").parse(reply(*args, **kwargs))


def ran(steps):
    """The code of the cells."""
    return [step.code.strip() for step in steps if isinstance(step, Cell)]


def corrected(steps):
    """What the corrections say, as one text."""
    return " ".join(step.message for step in steps if isinstance(step, Correction))


def execute(source, call_id="c1"):
    return tool("execute_code", json.dumps({"code": source}), call_id)


@pytest.mark.parametrize("tag", ["repl", "python", "PY", "python3", "tool_code"])
def test_several_fences_are_several_cells_in_order(tag):
    steps = code(f"First\n```{tag}\na = 1\n```\nthen\n```{tag}\nprint(a)\n```\n")
    assert steps == (Cell(code="a = 1\n"), Cell(code="print(a)\n"))


def test_beside_a_repl_fence_any_other_is_an_example():
    steps = code("Not\n```python\nFINAL(0)\n```\nbut\n```repl\nprint(1)\n```\n```\nrun(it)\n```\n")
    assert ran(steps) == ["print(1)"]
    assert "only those that begin with ```repl were run" in corrected(steps)


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
    messages = dialect("tools").render(results)
    assert [(m.role, m.tool_call_id, m.content) for m in messages] == [("tool", "a", "one"), ("tool", "b", "two")]


def test_code_results_are_one_message():
    results = [StepResult(step=Cell(code=""), text=text) for text in ("one", "two")]
    (message,) = dialect("code").render(results)
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


@pytest.mark.parametrize(
    "piece",
    [
        "```a\n",
        "FINAL(",
        "FINAL(your answer)\n",
        "FINAL(\n",
        "Final answer: ",
        "final answer\n",
        '{"name": ',
        "*",
        "- ",
    ],
)
@pytest.mark.parametrize("name", ["code", "tools"])
def test_hostile_text_takes_linear_time(name, piece):
    assert len(dialect(name).parse(reply(piece * 30_000 + ")"))) == 1


@pytest.mark.parametrize("piece", ["{", '{"code": "', '"', "\\", '\\"', '{"code": ', ", ", "'", "```\n", "-", "x."])
def test_hostile_arguments_take_linear_time(piece):
    assert len(tools("", tool("execute_code", piece * 30_000))) == 1


@pytest.mark.parametrize("language", ["", "javascript", "text-x"])
def test_a_fence_with_no_or_a_wrong_tag_runs_if_it_is_python_that_acts(language):
    assert ran(code(f"```{language}\nprint(len(context))\n```")) == ["print(len(context))"]


@pytest.mark.parametrize(
    "fence", ["```\n42\n```", "```\nTotal: x\n```", "```output\nf(1)\n```", "```\nLine 1 of 2\n```"]
)
def test_a_fence_that_shows_an_output_is_not_run(fence):
    assert ran(code(fence)) == []


def test_a_whole_reply_that_is_code_runs():
    assert ran(code("n = len(context)\nFINAL(n)\n")) == ["n = len(context)\nFINAL(n)"]
    assert ran(code("Hello.")) == []


def test_with_native_tools_code_in_text_runs_only_if_it_is_for_the_repl():
    steps = tools("Look:\n```python\nprint(len(context))\n```")
    assert ran(steps) == ["print(len(context))"]
    assert "Call execute_code" in corrected(steps)
    answer = "Use this:\n```python\ndef f(x):\n    return sorted(x)\n```"
    assert tools(answer) == (Answer(text=answer),)


def test_code_over_a_variable_that_is_set_is_for_the_repl():
    model = dialect("tools")
    model.parse(reply("", execute("rows = [1]")))
    assert ran(model.parse(reply("```\nprint(rows)\n```"))) == ["print(rows)"]


def test_a_fence_in_a_fence_or_in_an_argument_is_taken_off():
    nested = "```python\nprint(1)\n```"
    assert ran(code(f"```repl\n{nested}\n```")) == ["print(1)"]
    assert ran(tools("", execute(f"Here:\n{nested}"))) == ["print(1)"]


def test_marks_of_fences_in_a_string_stay():
    source = "s = '''\n```\nx\n```\n'''"
    assert ran(tools("", execute(source))) == [source]


@pytest.mark.parametrize("name", ["code", "tools"])
@pytest.mark.parametrize(
    "text",
    ["<think>\n```repl\nFINAL(0)\n```\nFINAL(0)\n</think>", "<think>FINAL(0)", "<think>\nit is: 0\n</think>\n \n"],
)
def test_a_thought_alone_is_nothing(name, text):
    (step,) = dialect(name).parse(reply(text))
    assert "nothing but a thought" in step.message


def test_what_follows_a_thought_counts():
    assert tools("<think>0?</think>\nFour.") == (Answer(text="Four."),)
    assert ran(code("maybe FINAL(0)\n</think>\n```repl\nprint(4)\n```")) == ["print(4)"]
    assert landing_answer(reply("<think>FINAL(0)</think>FINAL(4)")) == Answer(text="4")


CALL = json.dumps({"name": "execute_code", "arguments": {"code": "print(1)"}})


@pytest.mark.parametrize("name", ["code", "tools"])
@pytest.mark.parametrize(
    "text",
    [
        f"<tool_call>\n{CALL}\n</tool_call>",
        f"Now:\n<tool_call>{CALL}",
        f"<tool_call>{CALL.replace('arguments', 'parameters')}</tool_call>",
        "<tool_call>\n<function=execute_code>\n<parameter=code>\nprint(1)\n</parameter>\n</function>\n</tool_call>",
        '<function=execute_code>{"code": "print(1)"}</function>',
        '<invoke name="execute_code">\n<parameter name="code">print(1)</parameter>\n</invoke>',
        "<execute_code>\nprint(1)\n</execute_code>",
        CALL,
        f"```json\n{CALL}\n```",
        '<tool_call>{"name": "execute_code", "arguments": {"code": "print(1)",}}</tool_call>',
    ],
)
def test_execute_code_is_understood_in_the_markup_of_others(name, text):
    assert ran(dialect(name).parse(reply(text))) == ["print(1)"]


def test_no_other_tool_is_called_from_text():
    text = '<tool_call>{"name": "send_mail", "arguments": {}}</tool_call>\n```repl\nx()\n```'
    for steps in (code(text), tools(text)):
        assert [type(step) for step in steps] == [Correction]
        assert "send_mail" in corrected(steps)


def test_json_that_calls_nothing_is_an_answer():
    text = '{"name": "Oslo", "arguments": {}}'
    assert tools(text) == (Answer(text=text),)


SOURCE = 'import re\nn = re.findall(r"\\d+", context)\nprint("a\\tb", n)'


@pytest.mark.parametrize(
    "arguments",
    [
        json.dumps({"code": SOURCE}),
        json.dumps({"code": SOURCE}).replace("\\n", "\n"),
        json.dumps({"code": SOURCE})[:-1] + " , }",
        json.dumps(json.dumps({"code": SOURCE})),
        json.dumps(SOURCE),
        json.dumps({"source": SOURCE}),
        json.dumps({"code": SOURCE.split("\n")}),
        repr({"code": SOURCE}),
        '{"code": "' + SOURCE.replace("\\t", "\\\\t") + '"}',
        '{"code": "' + SOURCE.replace("\\t", "\\\\t").replace('"', '\\"') + '"}',
        f"```json\n{json.dumps({'code': SOURCE})}\n```",
        SOURCE,
    ],
)
def test_broken_arguments_are_read_where_they_are_clear(arguments):
    assert ran(tools("", tool("execute_code", arguments))) == [SOURCE]


def test_code_that_was_not_escaped_at_all_is_read_as_it_stands():
    source = 'print("a\\nb")\nprint(1)'
    assert ran(tools("", tool("execute_code", '{"code": "' + source + '"}'))) == [source]


def test_what_may_mean_two_things_that_both_run_is_not_read():
    assert ran(tools("", tool("execute_code", '{"code": "x = 1\\\n"}'))) == []
    assert ran(tools("", tool("execute_code", '{"code": "print("a\\\nb")"}'))) == []


def test_a_backspace_in_code_was_the_edge_of_a_word():
    steps = tools("", tool("execute_code", r'{"code": "re.findall(r\'\bno\b\', s)"}'))
    assert ran(steps) == [r"re.findall(r'\bno\b', s)"]


@pytest.mark.parametrize("cut", ['{"code": "print(1', '{"code": "x = 1', "print(", '{"code"'])
def test_what_was_cut_off_is_never_completed(cut):
    assert ran(tools("", tool("execute_code", cut))) == []
    assert "cut off" in corrected(tools("", tool("execute_code", cut), finish="length"))


def test_at_the_output_limit_nothing_is_guessed():
    assert ran(tools("", tool("execute_code", "print(1)"), finish="length")) == []
    steps = code("```repl\na = 1\n```\n```repl\nprint(a", finish="length")
    assert (ran(steps), "cut off" in corrected(steps)) == (["a = 1"], True)
    assert ran(tools("<function=execute_code><parameter=code>x()", finish="length")) == []


def test_a_namespace_before_the_name_of_the_tool_is_overlooked():
    assert ran(tools("", tool("functions.execute_code", '{"code": "x()"}'))) == ["x()"]


def test_the_arguments_of_another_tool_are_mended_but_not_guessed():
    (step,) = tools("", tool("file_read", "{'path': 'a', }"))
    assert step.arguments == {"path": "a"}
    assert isinstance(tools("", tool("file_read", "a.txt"))[0], Correction)


@pytest.mark.parametrize(
    "line", ["**FINAL(42)**", "> FINAL(42)", "FINAL(42) is it.", "FINAL（42）。", "`FINAL(42)`", "- FINAL(42)"]
)
def test_final_is_seen_through_emphasis(line):
    assert code(f"So:\n{line}\nDone (really).") == (Answer(text="42"),)


@pytest.mark.parametrize(
    "said",
    ["Final Answer: 42", "**Final Answer:** 42", "**Final answer: 42**", "## Final answer\n42", "FINAL: 42"],
)
def test_a_final_answer_may_be_given_in_words(said):
    assert code(f"I looked.\n\n{said}") == (Answer(text="42"),)
    assert tools(f"I looked.\n\n{said}") == (Answer(text="42"),)


def test_a_final_after_those_words_is_read_too():
    assert code("Final answer: FINAL('42')") == (Answer(text="42"),)


@pytest.mark.parametrize(
    "text", ["FINAL(your answer)", "FINAL()", "FINAL(...)", "Final answer:", "The final answer will come"]
)
def test_a_placeholder_is_no_answer(text):
    assert isinstance(code(text)[0], Correction)


def test_a_final_in_prose_that_names_a_variable_gives_its_value():
    model = dialect("code")
    model.parse(reply("```repl\nfor total in range(3): pass\n```"))
    assert ran(model.parse(reply("FINAL(total)"))) == ["FINAL(total)"]
    assert model.parse(reply("FINAL(other)")) == (Answer(text="other"),)


def test_a_final_in_code_of_the_name_of_a_variable_is_asked_about():
    steps = code("```repl\nanswer = 1\nFINAL('answer')\n```")
    assert ran(steps) == []
    assert "FINAL(str('answer'))" in corrected(steps)
    assert ran(code("```repl\nanswer = 1\nFINAL(str('answer'))\n```")) != []
    assert ran(code("```repl\nanswer = 1\nFINAL('Oslo')\n```")) != []


@pytest.mark.parametrize("final", ["FINAL(7)", "FINAL('Oslo')", "FINAL([1, {'a': 2}])"])
def test_a_constant_answer_after_a_cell_that_was_not_seen_is_held_back(final):
    steps = code(f"```repl\nprint(f())\n```\nIt says 7.\n```repl\n{final}\n```")
    assert ran(steps) == ["print(f())"]
    assert "before the output" in corrected(steps)
    steps = tools("", execute("print(f())", "a"), execute(final, "b"))
    assert [(type(step), step.call_id) for step in steps] == [(Cell, "a"), (Correction, "b")]


def test_a_computed_answer_may_follow_its_cell():
    assert len(ran(code("```repl\nn = f()\n```\n```repl\nFINAL(n)\n```"))) == 2


def test_the_same_cell_over_and_over_runs_once():
    steps = code("```repl\nx()\n```\n" * 30)
    assert [type(step) for step in steps] == [Cell, Correction]
    steps = tools("", *[execute("x()", str(n)) for n in range(5)])
    assert [type(step) for step in steps] == [Cell, *[Correction] * 4]


def test_a_reply_has_so_many_cells_at_most():
    steps = code("".join(f"```repl\nx({n})\n```\n" for n in range(500)))
    assert [type(step) for step in steps] == [*[Cell] * 20, Correction]


@pytest.mark.parametrize(
    "text",
    [
        "Let me look at the data.",
        "Sure. First, I'll count them",
        "Now I will compute:",
        "I\u2019m going to search…",
        "**Next, let's see.**",
    ],
)
def test_what_only_announces_is_no_answer(text):
    assert "FINAL(your answer)" in corrected(tools(text))


@pytest.mark.parametrize(
    "text", ["Four. Let me know if that helps!", "I will be there is what it says.", "It let me in.", "好的，四。"]
)
def test_what_says_something_is_an_answer(text):
    assert tools(text) == (Answer(text=text),)


def test_an_empty_fence_is_an_empty_reply():
    assert "was empty" in corrected(tools("```repl\n\n```"))
    assert "was empty" in corrected(code("```\n```"))


def turn(model, words, result):
    """The messages that follow a reply, and its result."""
    (step, *_) = model.parse(reply(words))
    return model.render([StepResult(step=step, text=result)])


def test_who_goes_in_circles_is_told_and_in_the_end_stuck():
    model, words = dialect("code"), "```repl\nx()\n```"
    sent = [len(turn(model, words, "same")) for _ in range(7)]
    assert sent == [1, 1, 2, 2, 2, 2, 2]
    assert model.stuck is None
    turn(model, words, "same")
    assert "the same reply 8 times" in model.stuck


def test_who_polls_and_gets_news_goes_in_no_circle():
    model = dialect("tools")
    sent = [len(turn(model, "```repl\npoll()\n```", f"{n} %")) for n in range(20)]
    assert sent == [1] * 20
    assert model.stuck is None


def test_who_never_says_anything_to_follow_is_stuck():
    model = dialect("code")
    for number in range(8):
        assert model.stuck is None
        model.parse(reply(f"Thinking, {number}"))
    assert "last 8 replies" in model.stuck
    model.parse(reply("FINAL(1)"))
    assert model.stuck is None


def test_no_mistake_of_a_model_warns_the_user():
    assert ran(code("```\nre.findall('\\d', context)\n```")) == ["re.findall('\\d', context)"]
    assert code('FINAL("C:\\dir")') == (Answer(text="C:\\dir"),)


PIECES = [
    *(
        "```repl\n",
        "```\n",
        "~~~",
        "x = 1\n",
        "FINAL(",
        "FINAL_VAR(x",
        ")",
        "Final answer:",
        "let me ",
        "\n",
        "\\",
        '"',
        "'",
    ),
    *(
        "<think>\n",
        "</think>",
        "<tool_call>",
        "</tool_call>",
        "<function=f>",
        "<parameter=a>",
        "{",
        "}",
        ",",
        "[",
        '"code": ',
    ),
    *('"name": "execute_code"', '"arguments": ', "\x00", "\ud800", "（", "**"),
]


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.sampled_from(["code", "tools"]), st.booleans(), st.booleans())
def test_every_reply_has_steps_and_none_raises(text, name, called, cut):
    calls = [tool("execute_code", text), tool("file_read", text, "c2")] if called else []
    model, finish = dialect(name), "length" if cut else "stop"
    for _ in range(2):
        steps = model.parse(reply(text, *calls, finish=finish))
        assert steps
        assert model.render([StepResult(step=step, text="") for step in steps])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", "42"),
        ("<think>hm</think>\n42", "42"),
        ("[THINK]hm[/THINK]42", "42"),
        ("<think>\na\n</think>\n<think>\nb\n</think>\n\n42", "42"),
        ("<think>a<think>b</think>c</think>42", "42"),
        ("The template opened it.\n</think>\n\n42", "42"),
        ("42\n</think>", "42"),
        ("42\n</think>\n</think>", "42"),
        ("<think>never closed", ""),
        ("42<|im_end|>", "42"),
        ("42<|eot_id|><|start_header_id|>user<|end_header_id|>\nmore", "42"),
        ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>42<|return|>", "42"),
        ("The tags are `<think>` and `</think>`.", "The tags are `<think>` and `</think>`."),
        ("The log:\n<think>a</think>\nb", "The log:\n<think>a</think>\nb"),
        ("```python\nprint(1)\n```", "```python\nprint(1)\n```"),
        ("<answer>42</answer>", "<answer>42</answer>"),
        ('<think>{"n": 1}</think>{"n": 4}', '{"n": 4}'),
    ],
)
def test_a_plain_reply_comes_without_thoughts(text, value):
    assert plain_reply(text).strip() == value


LANDINGS = [  # the reply, the code that runs, the answer where it gives none
    ("About five.", [], "About five."),
    ("```\nFive apples.\n```", [], "Five apples."),
    ("```text\nFINAL(5)\n```", [], "5"),
    ("```python\ndef add(a, b):\n    return a + b\n```", [], "def add(a, b):\n    return a + b"),
    (
        "```python\nimport re\n\ndef f(context):\n    return len(context)\n```",
        [],
        "import re\n\ndef f(context):\n    return len(context)",
    ),
    ("Like so:\n```sql\nSELECT 1\n```\nDone.", [], "Like so:\n```sql\nSELECT 1\n```\nDone."),
    ("```repl\nFINAL(total)\n```", ["FINAL(total)"], ""),
    ("```python\nprint(total)\n```", ["print(total)"], ""),
    ("Let me print it:\n```python\nprint(len(context))\n```", ["print(len(context))"], ""),
    ("It is 5.\n```python\nprint(len(context))\n```", ["print(len(context))"], "It is 5."),
    ("```repl\nx = 1\n```\nFINAL_VAR(x)", ["x = 1", "FINAL_VAR('x')"], ""),
    ("```repl\nx = 1\n```\nFINAL(5)", ["x = 1"], "5"),
    ('<tool_call>{"name": "execute_code", "arguments": {"code": "FINAL(1)"}}</tool_call>', ["FINAL(1)"], ""),
]


@pytest.mark.parametrize("name", ["code", "tools"])
@pytest.mark.parametrize(("text", "codes", "answer"), LANDINGS)
def test_a_landing_runs_code_of_the_repl_and_its_text_is_never_a_fence(name, text, codes, answer):
    dialect = choose(name, native_tools=True)
    dialect.parse(reply("```repl\ntotal = 5\n```"))
    landing = dialect.land(reply(text))
    assert ([cell.code.strip() for cell in landing.cells], landing.text) == (codes, answer)


def test_a_landing_that_calls_natively_is_code_too_and_one_that_was_cut_off_runs_nothing():
    dialect = choose("tools", native_tools=True)
    assert dialect.land(reply("", tool("execute_code", '{"code": "FINAL(1)"}'))).cells[0].code == "FINAL(1)"
    assert dialect.land(reply("```repl\nFINAL(1", finish="length")).cells == ()
