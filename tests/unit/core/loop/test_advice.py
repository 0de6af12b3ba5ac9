"""What is seen of a completion, a kind at a time: texts, answers, outputs and errors."""

from types import SimpleNamespace

import pytest

from rlm.core.config import Config
from rlm.core.loop.advice.adviser import Adviser
from rlm.core.loop.advice.answers import Typed, unseen
from rlm.core.loop.advice.errors import signature, way_on
from rlm.core.loop.advice.looking import look
from rlm.core.loop.advice.queries import is_apology, is_blind, prompts_in
from rlm.core.loop.advice.wording import strings, words
from rlm.core.types import ExecError, ExecResult
from rlm.runtime.inputs import prepare

TASK = "What is the secret number of the lighthouse at Porto?"
PREVIEW = "the river and a stone fell in the garden [...] The code word of the harbour is Heron"


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I don't have access to that information.",
        "I am unable to answer this.",
        "I can't determine that without the text.",
        "As an AI language model, I have no data.",
        "Please provide the reviews you would like me to read.",
        "No context was provided, so there is nothing to count.",
        "It's not possible to determine the city.",
        "Es tut mir leid, das weiß ich nicht.",
        "抱歉，我无法回答。",
    ],
)
def test_an_apology_is_known(text):
    assert is_apology(text)


@pytest.mark.parametrize(
    "text",
    [
        "Paris.",
        "The customer is sorry for the delay.",
        "No data loss is mentioned.",
        "The note says that he can't come.",
        "negative",
        "I'm sorry, it was late. " * 40,
    ],
)
def test_what_only_looks_like_an_apology_is_none(text):
    assert not is_apology(text)


@pytest.mark.parametrize(
    ("code", "prompt", "blind"),
    [
        (f"llm_query({TASK!r})", TASK, True),
        ("q = 'Which number?'\nllm_query(q)", "Which number?", True),
        ("llm_query('Find it in {context}')", "Find it in {context}", True),
        ("llm_query(f'Is {x} a name?')", "Is Ghent a name?", False),
        ("llm_query('Which? ' + context[:10])", "Which? the river", False),
        ("llm_query('The code word of the harbour is Heron: what does it mean?')", None, False),
    ],
)
def test_a_prompt_that_the_model_typed_is_blind_unless_it_copied_data(code, prompt, blind):
    asked = "The code word of the harbour is Heron: what does it mean?" if prompt is None else prompt
    assert is_blind(asked, set(words(code)), TASK, [TASK, PREVIEW]) == blind


def test_prompts_are_found_in_calls_of_any_form():
    assert prompts_in("llm_query", ("a",), {}) == ["a"]
    assert prompts_in("llm_query_batched", (), {"prompts": ["a", 3, "b"]}) == ["a", "b"]
    assert prompts_in("llm_query", ("a",), {"images": [b"x"]}) == []
    assert prompts_in("llm_query_batched", (7,), {}) == prompts_in("rlm_query", ("a",), {}) == []


@pytest.mark.parametrize(
    ("cells", "typed"),
    [
        (["FINAL(42)"], True),
        (["FINAL('It is 42.')"], True),
        (["FINAL(f'It is {42}.')"], True),
        (["x = 42", "FINAL(x)"], True),
        (["x = -42", "FINAL_VAR('x')"], True),
        (["FINAL({'a': [1, -2]})"], True),
        (["x = []", "x.append(len(context))", "FINAL(x)"], False),
        (["x = 42", "FINAL(str(x))"], True),
        (["x = 42\nx = len(context)", "FINAL(x)"], False),
        (["x = 0\nfor each in context:\n    x += 1", "FINAL(x)"], False),
        (["x = 1", "FINAL(x + 1)"], False),
        (["FINAL(sum(context))"], False),
        (["FINAL([n for n in '12'])"], False),
        (["x = 1"], False),
        (["FINAL(1) if context else FINAL(len(context))"], False),
        (["FINAL("], False),
    ],
)
def test_an_answer_is_typed_where_no_code_made_it(cells, typed):
    known = Typed()
    assert [known.gives_final(code) for code in cells][-1] == typed


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        ("4711", "4711"),
        ("It is u077.", "u077"),
        ("3,021.46", None),
        ("43.75 %", None),
        ("5 October 2026", None),
        ("-12", None),
        ("Lisbon", "Lisbon"),
        ("the harbour", None),
        ("yes", None),
        ("Nobody was found.", None),
        ("A long story of a river and of what it did to a town and to its people in it.", None),
        ("17 " + "words " * 60, None),
        ("", None),
    ],
)
def test_what_nobody_has_seen_of_an_answer(answer, part):
    shown = [TASK, PREVIEW, "3021.4567 0.4375 2026-10-05", "12 lines, user=u007"]
    assert unseen(answer, shown) == part


ERRORS = [
    ("TypeError", "the JSON object must be str, bytes or bytearray, not list", "a list already"),
    ("TypeError", "string indices must be integers, not 'str'", "It is a str"),
    ("AttributeError", "'list' object has no attribute 'splitlines'", "a list already"),
    ("json.decoder.JSONDecodeError", "Expecting value: line 1 column 1 (char 0)", "no JSON as a whole"),
    ("KeyError", "'amount'", "There is no such key"),
    ("NameError", "name 'rows' is not defined", "SHOW_VARS()"),
    ("Surprise", "what {is} this", "Do something else"),
]


@pytest.mark.parametrize(("kind", "message", "way"), ERRORS)
def test_an_error_has_a_way_on(kind, message, way):
    error = ExecError(kind=kind, message=message, traceback="  x = f(context)")
    context = prepare([{"id": 1}] * 3)
    assert way in way_on(error, context)
    assert "`context` is a list of 3 items" in way_on(error, context)
    assert "`context`" not in way_on(ExecError(kind=kind, message=message, traceback="  f(x)"), context)
    context.close()


def test_numbers_and_addresses_make_no_other_error():
    first, second = (ExecError(kind="E", message=f"<x at {at}> line 3", traceback="") for at in ("0x7f1", "0x7f2"))
    assert signature(first) == signature(second)


def test_strings_are_found_in_values_of_any_size():
    assert strings({"a": ["x", {"b": "y"}], "c": 3}) == ["x", "y"]
    assert strings([0] * 1_000_000) == []
    assert len(strings(["x"] * 5_000)) < 1_000


def test_hidden_words_of_a_task_are_named_once():
    text = "x" * 700 + " lighthouse " + "y" * 700
    context = prepare("z" * 2_000)
    task = SimpleNamespace(context=context, prompt=TASK)
    adviser = Adviser(task, Config(cell_output_chars=500), lambda: [TASK])
    result = ExecResult(status="ok", output=text, output_chars=len(text), duration_s=0)
    for notes in (1, 0):
        adviser.begin_turn()
        adviser.begin("print(text)")
        adviser.end("print(text)", result)
        said = [each for each in adviser.notes() if each.name == "cut_output"]
        adviser.said(said)
        assert len(said) == notes
    context.close()


LOOKS = [
    ("text", TASK, "print([line for line in context.splitlines() if 'lighthouse' in line][:5])"),
    (["Porto"], TASK, "print([item for item in context if 'Porto' in str(item)][:5])"),
    ("it fails", "How many lines say FAIL?", "print([line for line in context.splitlines() if 'FAIL' in line][:5])"),
    ({"a": 1}, TASK, "print(type(context), str(context)[:500])"),
    ("text", "7 + 8?", "print(type(context), str(context)[:500])"),
]


@pytest.mark.parametrize(("data", "task", "line"), LOOKS)
def test_a_first_look_is_for_the_word_of_the_task_that_is_likely_in_the_data(data, task, line):
    context = prepare(data)
    assert look(context, task) == line
    context.close()


def test_a_first_look_into_files_is_for_their_paths():
    files = SimpleNamespace(kind="files", shape="", preview="")
    assert "if 'resolve' in text" in look(files, "Who may resolve {it}?")
