"""What the model is told while it works, over the local sandbox: each note once, on record, where it helps."""

import pytest

from rlm import RLM, Budget, Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.types import ModelTraits
from rlm.sinks.memory import MemorySink

HAY = "\n".join(
    ["the river and a stone"] * 400 + ["The secret number of the lighthouse is 4821937."] + ["window"] * 400
)
TASK = "What is the secret number of the lighthouse?"
SORRY = "I'm sorry, but I don't have access to that information."


def cell(code):
    return tool_call("execute_code", code=code)


@pytest.fixture
def ask(tmp_path):
    """Asks TASK, or another, of a script; the sub-model has its own. Gives the result, the backend and the events."""
    made = []

    def asked(script, *, sub=(), prompt=TASK, context=HAY, native_tools=True, resume=False, **settings):
        backend = ScriptedBackend({"m": script, "s": sub}, traits=ModelTraits(native_tools=native_tools))
        sink = MemorySink()
        config = Config(log_dir=str(tmp_path), model="m", sub_model="s", environment="local", **settings)
        made.append(RLM(backend, config=config, sinks=[sink]))
        result = made[-1].resume("last", context=context) if resume else made[-1].completion(prompt, context)
        asked.rlm = made[-1]
        asked.turns = [request for request in backend.requests if request.model == "m"]
        asked.advice = [(body.name, body.way) for body in sink.bodies("advice")]
        return result

    yield asked
    for rlm in made:
        rlm.close()


def told(ask, turn):
    """The last message before a turn."""
    return ask.turns[turn - 1].messages[-1].content


BLIND = [f"print(llm_query({TASK!r}))", "print(await llm_map('Which number is secret?', ['']))"]


@pytest.mark.parametrize("code", BLIND)
def test_a_sub_call_without_data_is_noted_once(ask, code):
    result = ask([cell(code), cell(f"{code}\n1"), cell("FINAL(context.split()[0])")], sub=["Seven."] * 4)
    assert result.response == "the"
    assert "holds nothing of `context`" in told(ask, 2)
    assert "holds nothing of `context`" not in told(ask, 3)
    assert ask.advice == [("blind_query", "note")]


def test_a_sub_call_with_data_is_not(ask):
    code = "print(llm_query('What number is in it? ' + context[-8000:]))\nprint(llm_query(context.split()[-9]))"
    ask([cell(code), cell("FINAL(len(context))")], sub=["Seven."] * 2)
    assert ask.advice == []


def test_without_data_nothing_has_to_be_in_a_prompt(ask):
    ask([cell("FINAL(llm_query('What is 6 times 7?'))")], sub=["42"], prompt="x", context=None)
    assert ask.advice == []


APOLOGIES = [
    cell("FINAL(x)"),
    cell("FINAL({'answer': x})"),
    SORRY,
]


@pytest.mark.parametrize("answer", APOLOGIES)
def test_an_apology_is_held_back_once(ask, answer):
    look = cell("x = llm_query('Where? ' + context[:5000])\nprint(x)")
    result = ask([look, answer, cell("FINAL(context.count('window'))")], sub=[SORRY])
    assert result.value == 400
    assert "only says that it can't be answered" in told(ask, 3)
    assert ask.advice == [("apology", "held")]


def test_what_was_held_back_is_taken_when_it_comes_again(ask):
    result = ask([cell("print(len(context))"), SORRY, SORRY])
    assert (result.status, result.response) == ("completed", SORRY)


def test_what_was_held_back_is_the_answer_where_no_other_comes(ask):
    def gone(request):
        raise ConnectionError("gone")

    result = ask([cell("print(len(context))"), cell("FINAL('4711')"), gone])
    assert (result.status, result.response) == ("failed", "4711")


UNSEEN = ["FINAL(4711)", "answer = '4711'\nFINAL_VAR('answer')"]


@pytest.mark.parametrize("code", UNSEEN)
def test_an_answer_that_nobody_has_seen_is_held_back(ask, code):
    look = cell("print(len(context))")
    find = cell("import re\nFINAL(re.search('is ([0-9]+)', context)[1])")
    assert ask([look, cell(code), find]).response == "4821937"
    assert "neither printed nor computed" in told(ask, 3)
    assert ask.advice == [("unseen_answer", "held")]


def test_prose_is_held_back_too_in_fenced_code(ask):
    assert ask(["FINAL(It is 4,711.)"] * 2, native_tools=False).response == "It is 4,711."
    assert ask.advice == [("unseen_answer", "held")]


def test_an_answer_that_was_seen_is_taken(ask):
    look = cell("print([line for line in context.split('\\n') if 'secret' in line])")
    assert ask([look, cell("FINAL('It is 4821937.')")]).status == "completed"
    assert ask.advice == []


def test_an_answer_after_a_cut_output_is_held_back_and_what_was_cut_is_told(ask):
    find = cell("FINAL([line for line in context.split('\\n') if 'secret' in line][0][-8:-1])")
    result = ask([cell("print(context)"), cell("FINAL(400)"), find], cell_output_chars=1000)
    assert result.response == "4821937"
    assert "What was cut out of that output has secret, number, lighthouse" in told(ask, 2)
    assert "only a part" in told(ask, 3)
    assert ask.advice == [("printed_data", "note"), ("cut_output", "note"), ("cut_answer", "held")]


def test_the_same_cell_with_the_same_result_is_noted_once_and_then_asked_for_more_warmly(ask):
    look = cell("print(len(context))")
    ask([look, look, look, look, cell("FINAL(len(context))")], temperature=0.0)
    assert "same cell" in told(ask, 3)
    assert ask.advice[0] == ("same_cell", "note")
    assert {way for _, way in ask.advice[1:]} == {"anew", "temperature"}
    assert [request.temperature for request in ask.turns] == [0, 0, 0, 0.4, 0.8]


def test_a_cell_that_gives_something_new_may_come_again(ask):
    count = cell("n = globals().get('n', 0) + 1 if False else len(SHOW_VARS())\nprint(n)\nm = 'x' * n")
    ask([cell("n = 0"), *[cell("n = n + 1\nprint(n)")] * 3, count, cell("FINAL(n)")])
    assert ask.advice == []


def test_an_error_that_repeats_gets_advice_then_warmth_then_a_landing(ask):
    """The eight cells of a small model that took a list for JSON."""
    parse = cell("import json\ncontext = json.loads(context)")
    parses = [cell(f"import json\n# {n}\ncontext = json.loads(context)") for n in range(7)]
    script = [parse, *parses[:5], "The best I have is 3."]
    result = ask(script, context=[{"id": 1}] * 3, temperature=0.0)
    assert (result.status, result.limit, result.response) == ("limit", "no_progress", "The best I have is 3.")
    assert "It is a list already: use it as it is, without json.loads. `context` is a list of 3 items" in told(ask, 3)
    assert [request.temperature for request in ask.turns] == [0, 0, 0, 0.4, 0.8, 1.0, 0]
    assert ask.advice[0] == ("same_error", "note")
    assert ask.advice[-1] == ("same_error", "landing")


def test_without_a_temperature_none_is_sent(ask):
    ask([*[cell(f"1 / 0  # {n}") for n in range(4)], cell("FINAL(len(context))")])
    assert {request.temperature for request in ask.turns} == {None}


def test_all_of_it_can_be_turned_off(ask):
    script = [cell(BLIND[0]), cell(f"{BLIND[0]} "), *[cell(f"1 / 0  # {n}") for n in range(7)], cell("FINAL(4711)")]
    assert ask(script, sub=[SORRY] * 2, advice=False, temperature=0.0).value == 4711
    assert ask.advice == []
    assert not any("[Note:" in message.content for message in ask.turns[-1].messages)


def test_an_answer_is_not_held_back_where_a_limit_is_near(ask):
    assert ask([cell("print(1)"), cell("FINAL(4711)")], budget=Budget(max_turns=2)).status == "completed"
    assert ask.advice == []


@pytest.mark.parametrize("advice", [True, False])
def test_a_resumed_run_tells_the_model_what_its_record_says(ask, advice):
    code = cell(f"print(llm_query({TASK!r}))")
    script = [code, cell("FINAL(4711)"), code] if advice else [code, code]
    assert ask(script, sub=["Seven."], advice=advice).status == "failed"
    noted, before = ask.advice, ask.turns[-1].messages
    seen = [("blind_query", "note"), ("unseen_answer", "held"), ("same_cell", "note"), ("same_cell", "anew")]
    assert noted == seen[: 9 * advice]
    result = ask([cell("FINAL(context.count('window'))")], resume=True)
    assert (result.status, result.value, ask.advice) == ("completed", 400, noted)
    assert [message.content for message in ask.turns[0].messages[: len(before)]] == [each.content for each in before]
    assert ask.rlm.replay("last", context=HAY).differences == ()


def test_a_model_in_circles_is_asked_anew_without_what_it_said(ask):
    parse = cell("import json\nrows = json.loads(context)")
    ask([parse, parse, cell("FINAL(len(context))")], context=[{"id": 1}] * 3)
    system, task, anew = ask.turns[2].messages
    assert (system.role, task.role, anew.role) == ("system", "user", "user")
    assert "Your last replies are taken out" in anew.content
    assert "It is a list already" in anew.content
    assert "[Values there: context = a list of 3" in anew.content
    assert ask.advice == [("same_error", "note"), ("same_error", "note"), ("same_error", "anew")]


def test_what_was_noted_is_said_again_where_a_model_is_asked_anew(ask):
    look = cell("print(context[0])")
    ask([cell("context.items()"), look, look, cell("FINAL(len(context))")], context=[{"id": 1}] * 300)
    assert "`context` is a list of 300 items" in told(ask, 4)


def test_a_reply_of_several_cells_that_comes_again_is_a_circle_too(ask):
    cells = "```repl\nn = 1\nprint(n)\n```\n```repl\nprint(n + 1)\n```"
    ask([cells, cells, "```repl\nFINAL(len(context))\n```"], native_tools=False)
    assert [message.role for message in ask.turns[2].messages] == ["system", "user", "user"]


def test_what_many_cells_have_shown_is_not_taken_out(ask):
    looks = [cell(f"print(context[{n}:9])") for n in range(3)]
    ask([*looks, looks[-1], cell("FINAL(len(context))")])
    assert ask.advice == [("same_cell", "note")]


def test_a_model_asked_anew_goes_on_so_when_it_is_resumed(ask):
    look = cell("print(len(context))")
    assert ask([look, look]).status == "failed"
    before = ask.turns[-1].messages
    assert ask([cell("FINAL(context.count('window'))")], resume=True).value == 400
    assert [message.content for message in ask.turns[0].messages] == [message.content for message in before]
    assert ask.rlm.replay("last", context=HAY).differences == ()


@pytest.mark.parametrize("printed", ["context", "context.splitlines()", "'Data:', context"])
def test_of_the_data_itself_little_is_shown(ask, printed):
    ask([cell(f"print({printed})"), cell("FINAL(len(context))")])
    results = [message.content for message in ask.turns[1].messages if message.role == "tool"]
    assert len(results[0]) < 2_500
    assert "That printed the data itself" in told(ask, 2)
    assert ("printed_data", "note") in ask.advice


@pytest.mark.parametrize("empty", ["context.count('storm')", "[]", "'No lines were found.'", "None"])
def test_an_answer_that_nothing_was_found_is_held_back_once(ask, empty):
    ask([cell("n = 0"), cell(f"FINAL({empty})"), cell("FINAL(context.count('window'))")])
    assert "mostly means that the code doesn't fit the data" in told(ask, 3)
    assert ask.advice[0] == ("empty_answer", "held")


def test_an_error_that_takes_the_data_for_something_else_is_told_at_once(ask):
    ask([cell("context.items()"), cell("FINAL(len(context))")])
    assert "`context` is a str of" in told(ask, 2)
    assert ask.advice == [("same_error", "note")]


def test_a_model_is_not_asked_anew_where_a_limit_is_near(ask):
    look = cell("print(len(context))")
    ask([look, look, cell("FINAL(len(context))")], budget=Budget(max_turns=3))
    assert ("same_cell", "anew") in ask.advice
    ask([look] * 2 + [cell("FINAL(len(context))")], budget=Budget(max_turns=2, timeout_s=None))
    assert ask.advice == [("same_cell", "note")]


@pytest.mark.parametrize(("code", "value"), [("1", 1), ("print(1)", 1), ("'1'", "1")])
def test_a_cell_that_only_says_what_was_printed_is_the_answer(ask, code, value):
    result = ask(["```repl\nprint(context.count('secret'))\n```", f"```repl\n{code}\n```"], native_tools=False)
    assert (result.status, result.value) == ("completed", value)


def test_a_resumed_run_knows_what_its_cells_had_printed(ask):
    script = ["```repl\nprint(context.count('storm'))\n```", "```repl\n0\n```"]
    assert ask(script, native_tools=False).status == "failed"
    assert ask.advice == [("empty_answer", "held")]
    result = ask(["```repl\nFINAL(len(context))\n```"], native_tools=False, resume=True)
    assert (result.status, result.value, ask.advice) == ("completed", len(HAY), [("empty_answer", "held")])


@pytest.mark.parametrize("code", ["2", "print(1 + 0)", "(1, 1)"])
@pytest.mark.parametrize("look", ["print(context.count('secret'))", "2"])
def test_a_cell_that_says_anything_else_is_not(ask, look, code):
    ask([f"```repl\n{look}\n```", f"```repl\n{code}\n```", "```repl\nFINAL(len(context))\n```"], native_tools=False)
    assert len(ask.turns) == 3
