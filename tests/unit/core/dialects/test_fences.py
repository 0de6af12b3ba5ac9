"""A text is taken apart by simple rules, whatever it holds, in linear time."""

import time

import pytest

from rlm.core.dialects.fences import read, split
from rlm.core.dialects.passages import Fence


def codes(text):
    return [fence.code for fence in read(text).fences]


def test_fences_and_the_prose_around_them():
    fences, prose = split("a\n```Python title=x\n1\n```\nb\n~~~\n2\n~~~\n")
    assert fences == [Fence(language="python", code="1\n"), Fence(language="", code="2\n")]
    assert prose == "a\nb\n"


def test_a_fence_closes_with_as_many_marks_or_more():
    assert codes("````\n```\nx\n```\n`````\n") == ["```\nx\n```\n"]


def test_a_fence_that_never_closes_ends_with_the_text():
    assert codes("```repl\nx") == ["x"]


def test_an_indented_fence_is_outdented():
    assert codes("1. do\n   ```repl\n   if x:\n       y\n   ```\n") == ["if x:\n    y\n"]


def test_a_deeper_mark_in_a_fence_is_no_end():
    assert codes("```repl\ndef f():\n    '''\n        ```\n    '''\n```\n") == [
        "def f():\n    '''\n        ```\n    '''\n"
    ]


def test_code_marks_in_a_line_open_nothing():
    assert read("```print(1)``` is how\n").fences == []


def test_what_was_cut_off_is_left_out_and_said():
    found = read("```repl\n1\n```\n```repl\nprint(", cut=True)
    assert (codes("```repl\n1\n```\n")[0], found.incomplete) == (found.fences[0].code, True)
    assert len(found.fences) == 1
    assert read("<function=f><parameter=code>x", cut=True).calls == []
    assert not read("```repl\n1\n```\n", cut=True).incomplete


@pytest.mark.parametrize(
    "thought",
    [
        "<think>\n```repl\n0\n```\nFINAL(0)\n</think>",
        "<Thinking>FINAL(0)</thinking>",
        "```repl\n0\n```\n</think>",
        "begun before the text\n```repl\nnever closed\n</think>\n",
        "<think>a</think>\n```repl\n0\n```\nb</think>",
    ],
)
def test_thoughts_are_neither_prose_nor_code(thought):
    found = read(f"{thought}\n```repl\n1\n```\n")
    assert [fence.code for fence in found.fences] == ["1\n"]
    assert found.prose.strip() == ""
    assert found.spoken.strip() == "```repl\n1\n```"


def test_a_thought_that_never_ends_leaves_nothing():
    found = read("<think>\n```repl\n0\n```\nFINAL(0)")
    assert found.blank
    assert found.spoken == ""


@pytest.mark.parametrize("line", ["print('<think>')", "x = '</think>'", "    <think>"])
def test_tags_of_thought_in_code_are_code(line):
    assert codes(f"```repl\n{line}\n```\n") == [f"{line}\n"]


def test_marked_calls():
    found = read('Now\n<tool_call>\n```{"name": 1}\n</tool_call>\n<function=f>\na\n</function>\n<invoke name="g">b')
    assert [(call.name, call.arguments) for call in found.calls] == [("", ""), ("f", "a"), ("g", "b")]
    assert found.prose == "Now\n\n\n"


def test_a_marked_call_in_a_fence_or_within_a_line_is_none():
    assert read("```\n<tool_call>x</tool_call>\n```\nsay <tool_call>y</tool_call>\n").calls == []


@pytest.mark.parametrize(
    "piece",
    [
        "```a\n",
        "<think>",
        "</think>",
        "<think>\n",
        "</think>\n",
        "<tool_call>",
        "<function=f>\n",
        "\n",
        " ",
        "```\n~~~\n",
    ],
)
def test_hostile_texts_take_linear_time(piece):
    begin = time.process_time()
    read(piece * 30_000 + "```")
    assert time.process_time() - begin < 10  # a quadratic reader takes minutes


@pytest.mark.parametrize(
    "piece",
    [
        "<|channel|>final<|message|>",
        "<|im_end|>",
        "<|tool_call_begin|>",
        "[TOOL_CALLS]f[ARGS]{",
        "> ```repl\n> 1\n",
        "```repl\n'''\n```\n",
        '```repl\n"""\n</think>\n```a\n',
        "`</think> ",
        "<answer>",
    ],
)
def test_hostile_marks_of_families_take_linear_time(piece):
    begin = time.process_time()
    read(piece * 20_000 + "```")
    assert time.process_time() - begin < 10  # a quadratic reader takes minutes
