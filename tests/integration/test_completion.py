"""The whole loop over the real local sandbox with a scripted model: answers, recursion, limits, failures."""

import asyncio
import dataclasses
import json
import threading

import msgspec
import pytest

from rlm import RLM, Budget, Config, tool
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core import events
from rlm.core.exceptions import (
    BackendConnectionError,
    ConfigError,
    ContextOverflowError,
    TimeLimitReached,
    TokenBudgetExhausted,
    ToolBudgetExhausted,
    TurnLimitReached,
)
from rlm.core.types import ModelReply, ModelTraits, TokenUsage
from rlm.sinks.memory import MemorySink

NO_TOOLS = ModelTraits(native_tools=False)


def cell(code):
    return tool_call("execute_code", code=code)


def fenced(code):
    return f"```repl\n{code}\n```"


@pytest.fixture
def make(tmp_path):
    """Makes an RLM over a script; all are closed at the end."""
    made = []

    def build(script, *, traits=None, tools=(), **settings):
        backend = script if isinstance(script, ScriptedBackend) else ScriptedBackend(script, traits=traits)
        sink = MemorySink()
        config = Config(log_dir=str(tmp_path / "logs"), **settings)
        rlm = RLM(backend, config=config, tools=tools, sinks=[sink])
        made.append(rlm)
        rlm.sink, rlm.backend = sink, backend
        return rlm

    yield build
    for rlm in made:
        rlm.close()


def shown(rlm, request=-1):
    """The last message of a request."""
    return rlm.backend.requests[request].messages[-1].content


def test_final_in_code_is_the_answer(make):
    rlm = make([cell("n = len(context.split())"), cell("FINAL(n)")])
    result = rlm.completion("How many words?", "one two three")
    assert (result.status, result.response, result.value) == ("completed", "3", 3)
    assert result.success
    assert (result.usage.turns, result.usage.model_calls) == (2, 2)


def test_final_var_is_the_answer(make):
    rlm = make([cell("answer = {'a': [1, 2]}\nFINAL_VAR('answer')")])
    assert rlm.completion("x").value == {"a": [1, 2]}


def test_a_plain_reply_is_the_answer_with_native_tools(make):
    assert make(["Paris."]).completion("Capital of France?").response == "Paris."


def test_the_code_dialect_runs_fences_and_corrects_prose(make):
    rlm = make(["Let me think.", fenced("x = 6") + "\nand\n" + fenced("print(x * 7)"), "FINAL(42)"], traits=NO_TOOLS)
    result = rlm.completion("x")
    assert result.response == "42"
    assert "no code and no FINAL" in shown(rlm, 1)
    assert "42" in shown(rlm, 2)
    assert rlm.backend.requests[0].tools == ()


def test_state_lives_across_cells_and_errors(make):
    rlm = make([cell("a = 1\nprint('kept')\nb = 1 / 0"), cell("FINAL(a)")])
    assert rlm.completion("x").value == 1
    assert "kept" in shown(rlm)
    assert "ZeroDivisionError" in shown(rlm)


def test_the_same_code_twice_runs_twice(make):
    rlm = make([cell("n = 0"), *[cell("n = n + 1; print(n)")] * 3, cell("FINAL(n)")])
    assert rlm.completion("x").value == 3


def test_the_model_never_sees_the_context_itself(make):
    text = "secret needle " * 10_000
    rlm = make([cell("FINAL(len(context))")])
    assert rlm.completion("How long?", text).value == len(text)
    sent = sum(len(message.content) for message in rlm.backend.requests[0].messages)
    assert sent < 10_000


def test_long_output_is_cut_in_the_middle_and_kept_in_the_record(make):
    rlm = make([cell("print('x' * 50_000)"), "done"], cell_output_chars=1000)
    rlm.completion("x")
    assert "49,001 of 50,001 characters cut" in shown(rlm).replace("49,000 of 50,000", "49,001 of 50,001")
    kept = rlm.sink.bodies("exec.output")
    assert rlm.sink.bodies("exec.end")[0].output_chars == 50_001
    assert kept


def test_output_type_feeds_a_misfit_back(make):
    @dataclasses.dataclass
    class City:
        name: str
        people: int

    rlm = make([cell("FINAL({'name': 'Oslo'})"), cell("FINAL({'name': 'Oslo', 'people': 700000})")])
    result = rlm.completion("x", output_type=City)
    assert result.value == City("Oslo", 700000)
    assert "people" in shown(rlm)


def test_a_json_schema_is_an_output_type(make):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    rlm = make([cell("FINAL({'n': 'many'})"), cell("FINAL({'n': 2})")])
    assert rlm.completion("x", output_type=schema).value == {"n": 2}


def test_a_pydantic_model_is_an_output_type(make):
    from pydantic import BaseModel

    class Pair(BaseModel):
        a: int
        b: str

    rlm = make(["not json", '{"a": 1, "b": "x"}'])
    assert rlm.completion("x", output_type=Pair).value == Pair(a=1, b="x")


def test_llm_query_answers_in_code(make):
    rlm = make({"main": [cell("FINAL(llm_query('say hi').upper())")], "sub": ["hi"]}, model="main", sub_model="sub")
    result = rlm.completion("x")
    assert result.value == "HI"
    assert (result.usage.subcalls, result.usage.model_calls) == (1, 2)


def test_a_batch_keeps_its_order_and_one_failure_is_a_value(make):
    def sub(request):
        text = request.messages[-1].content
        return BackendConnectionError("down") if text == "2" else f"<{text}>"

    code = (
        "out = llm_query_batched([str(i) for i in range(5)])\n"
        "FINAL([x if isinstance(x, str) else isinstance(x, SubcallError) for x in out])"
    )
    rlm = make({"main": [cell(code)], "sub": sub}, model="main", sub_model="sub")
    assert rlm.completion("x").value == ["<0>", "<1>", True, "<3>", "<4>"]


def test_a_failed_llm_query_raises_in_the_cell(make):
    code = "try:\n    llm_query('x')\nexcept SubcallError as e:\n    FINAL(str(e))"
    rlm = make({"main": [cell(code)], "sub": [BackendConnectionError("down")]}, model="main", sub_model="sub")
    assert "down" in rlm.completion("x").value


def test_an_llm_query_can_be_typed(make):
    code = "FINAL(llm_query('x', output_type={'type': 'array', 'items': {'type': 'integer'}}))"
    rlm = make({"main": [cell(code)], "sub": ["no idea", "[1, 2]"]}, model="main", sub_model="sub")
    assert rlm.completion("x").value == [1, 2]


def test_a_schema_that_guest_code_makes_up_is_bounded(make):
    code = "llm_query('x', output_type={'enum': [{'a': n} for n in range(6000)]})"
    rlm = make({"main": [cell(code), "end"], "sub": []}, model="main", sub_model="sub")
    rlm.completion("x")
    assert "more than 1000 values" in shown(rlm)


def test_only_allowed_models_may_be_asked_for(make):
    code = "print(llm_query('a', model='sub'))\nllm_query('b', model='other')"
    rlm = make({"main": [cell(code), "end"], "sub": ["fine"]}, model="main", sub_model="sub")
    rlm.completion("x")
    assert "fine" in shown(rlm)
    assert "not allowed in this run; allowed: main, sub" in shown(rlm)


def test_rlm_query_is_a_child_with_its_own_repl_and_the_same_context(make):
    script = {
        "main": [cell("mine = 1\nFINAL(rlm_query('count') + 1)")],
        "sub": [cell("FINAL(len(context) if 'mine' not in SHOW_VARS() else -1)")],
    }
    rlm = make(script, model="main", sub_model="sub")
    result = rlm.completion("x", "four")
    assert result.value == 5
    assert (result.usage.depth_reached, result.usage.turns, result.usage.subcalls) == (1, 2, 1)


def test_a_child_with_a_context_of_its_own_sees_only_that(make):
    script = {"main": [cell("FINAL(rlm_query('look', {'k': [1, 2]}))")], "sub": [cell("FINAL(context['k'])")]}
    assert make(script, model="main", sub_model="sub").completion("x", "other").value == [1, 2]


def test_a_large_context_goes_to_children_by_itself_and_to_prompts_as_text(make):
    code = (
        "child = rlm_query('measure', context)\n"
        "both = rlm_query_batched(['measure', 'measure'], [context, context])\n"
        "FINAL([child, both, int(llm_query(context))])"
    )
    script = {
        "main": [cell(code)],
        "sub": lambda r: cell("FINAL(len(context))") if r.tools else str(len(r.messages[-1].content)),
    }
    rlm = make(script, model="main", sub_model="sub", budget=Budget(token_budget=None))
    assert rlm.completion("x", "y" * 2_000_000).value == [2_000_000, [2_000_000] * 2, 2_000_000]


def test_children_run_side_by_side(make):
    code = "FINAL(rlm_query_batched(['a', 'b', 'c'], [1, 2, 3]))"
    together = threading.Barrier(3, timeout=20)

    async def child(_request):
        await asyncio.to_thread(together.wait)
        return cell("FINAL(context * 10)")

    rlm = make({"main": [cell(code)], "sub": child}, model="main", sub_model="sub")
    assert rlm.completion("x").value == [10, 20, 30]


def test_below_max_depth_a_child_is_a_plain_call(make):
    script = {"main": [cell("FINAL(rlm_query('sum it up', 'the data'))")], "sub": ["short"]}
    rlm = make(script, model="main", sub_model="sub", budget=Budget(max_depth=0))
    assert rlm.completion("x").value == "short"
    assert "the data" in shown(rlm)


def test_without_a_free_sandbox_a_child_is_a_plain_call(make):
    script = {"main": [cell("FINAL(rlm_query('look'))")], "sub": ["plain"]}
    rlm = make(script, model="main", sub_model="sub", max_sandboxes=1)
    assert rlm.completion("x", "ctx").value == "plain"


def test_threads_may_call_at_once(make):
    code = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    FINAL(list(pool.map(llm_query, 'abcd')))"
    )
    rlm = make({"main": [cell(code)], "sub": lambda r: r.messages[-1].content * 2}, model="main", sub_model="sub")
    assert rlm.completion("x").value == ["aa", "bb", "cc", "dd"]


def test_a_tool_is_called_by_the_model_and_by_guest_code(make):
    @tool(reads_only=True)
    def price(item: str, count: int = 1) -> dict:
        """Look a price up."""
        return {"item": item, "total": 3 * count}

    rlm = make([tool_call("price", item="tea", count=2), cell("FINAL(price('tea', 4)['total'])")], tools=[price])
    result = rlm.completion("x")
    assert result.value == 12
    assert json.loads(rlm.backend.requests[1].messages[-1].content) == {"item": "tea", "total": 6}
    assert result.usage.tool_calls == 2
    assert [body.caller for body in rlm.sink.bodies("tool.start")] == ["model", "guest"]


def test_a_tool_that_writes_is_not_offered_to_guest_code(make):
    @tool
    def send(text: str) -> str:
        """Send it."""
        return "sent"

    rlm = make([cell("send('x')"), "end"], tools=[send])
    rlm.completion("x")
    assert "NameError" in shown(rlm)


def test_an_unknown_tool_is_answered_not_fatal(make):
    rlm = make([tool_call("execute_cod", code="1"), "end"])
    assert rlm.completion("x").success
    assert "no tool 'execute_cod'" in shown(rlm)


def test_an_artifact_is_saved_beside_the_record(make, tmp_path):
    rlm = make(
        [cell("print(save_artifact('t.csv', 'a,b'), save_artifact('t.csv', b'c'))\nsave_artifact('../x', '')"), "e"]
    )
    result = rlm.completion("x")
    folder = tmp_path / "logs" / f"{result.run_id}.artifacts"
    assert {path.name: path.read_text() for path in folder.iterdir()} == {"t.csv": "a,b", "t-2.csv": "c"}
    assert "plain file name" in shown(rlm)


def test_max_turns_lands_with_the_best_answer(make):
    rlm = make([cell("1"), cell("2"), "About two."], budget=Budget(max_turns=2))
    result = rlm.completion("x")
    assert (result.status, result.limit, result.response) == ("limit", "max_turns", "About two.")
    assert not result.success
    with pytest.raises(TurnLimitReached):
        result.raise_for_status()
    assert "The run ends here: max_turns of 2" in shown(rlm)


def test_a_model_that_goes_in_circles_lands_early(make):
    def circling(request):
        return "I saw 3." if "The run ends here" in request.messages[-1].content else cell("print(3)")

    result = make(circling, budget=Budget(max_turns=100)).completion("x")
    assert (result.status, result.limit, result.response) == ("limit", "no_progress", "I saw 3.")
    assert result.usage.turns < 20


def test_an_answer_before_a_look_at_the_data_is_asked_for_again(make):
    rlm = make(["I guess 4.", cell("FINAL(len(context))")])
    assert rlm.completion("How long?", "abc").value == 3
    assert "Nothing was run yet" in shown(rlm)
    assert make(["It is Paris.", "It is Paris."]).completion("Capital of France?", "abc").response == "It is Paris."


def test_the_token_budget_lands_from_what_was_set_aside(make):
    def greedy(request):
        if "The run ends here" in request.messages[-1].content:
            return "Partial."
        usage = TokenUsage(input_tokens=100, output_tokens=request.max_output_tokens)
        return ModelReply(text="", tool_calls=(cell("1"),), usage=usage)

    rlm = make(greedy, budget=Budget(token_budget=20_000))
    result = rlm.completion("x")
    assert (result.status, result.limit, result.response) == ("limit", "token_budget", "Partial.")
    assert result.usage.input_tokens + result.usage.output_tokens <= 20_000
    with pytest.raises(TokenBudgetExhausted):
        result.raise_for_status()


def test_sub_calls_are_billed_to_the_root(make):
    rlm = make(
        {"main": [cell("llm_query_batched([f'part {n}' for n in range(20)])"), "end"], "sub": lambda r: "word " * 100},
        model="main",
        sub_model="sub",
    )
    result = rlm.completion("x")
    spent = [body.usage for body in rlm.sink.bodies("model.end")]
    assert result.usage.output_tokens == sum(usage.output_tokens for usage in spent) > 2000
    assert result.usage.subcalls == 20


def test_identical_sub_calls_are_paid_once(make):
    code = "FINAL([*llm_query_batched(['same'] * 5), llm_query('same'), llm_query('other')])"
    rlm = make({"m": [cell(code)], "s": lambda r: r.messages[-1].content.upper()}, model="m", sub_model="s")
    result = rlm.completion("x")
    assert result.value == ["SAME"] * 6 + ["OTHER"]
    assert (result.usage.model_calls, result.usage.subcalls) == (3, 7)
    recalled = [body for body in rlm.sink.bodies("model.end") if body.cached]
    assert len(recalled) == 5
    assert len({body.same_as for body in recalled}) == 1


def test_without_memoising_each_sub_call_is_made(make):
    answers = iter("abc")
    script = {"m": [cell("FINAL(llm_query_batched(['same'] * 3))")], "s": lambda r: next(answers)}
    assert make(script, model="m", sub_model="s", memoise=False).completion("x").value == ["a", "b", "c"]


def test_a_failed_sub_call_is_not_remembered(make):
    code = "a = llm_query_batched(['q'])[0]\nFINAL([isinstance(a, SubcallError), llm_query('q')])"
    rlm = make({"m": [cell(code)], "s": [BackendConnectionError("down"), "up"]}, model="m", sub_model="s")
    assert rlm.completion("x").value == [True, "up"]


def test_replies_are_kept_across_runs_where_asked(make, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = make({"m": [cell("FINAL(llm_query('q'))")], "s": ["paid"]}, model="m", sub_model="s", cache=True)
    assert first.completion("x").value == "paid"
    again = make({"m": [cell("FINAL(llm_query('q'))")], "s": []}, model="m", sub_model="s", cache=True)
    result = again.completion("x")
    assert (result.value, result.usage.model_calls) == ("paid", 1)


def test_the_tool_budget_is_never_passed(make):
    calls = []

    @tool
    def ping() -> str:
        """Ping."""
        calls.append(1)
        return "pong"

    rlm = make([tool_call("ping")] * 2 + [tool_call("ping"), "Two pings."], tools=[ping], budget=Budget(tool_budget=2))
    result = rlm.completion("x")
    assert len(calls) == 2
    assert (result.status, result.limit, result.response) == ("limit", "tool_budget", "Two pings.")
    with pytest.raises(ToolBudgetExhausted):
        result.raise_for_status()


def test_the_subcall_budget_cuts_a_batch_and_keeps_what_it_has(make):
    code = "FINAL([isinstance(x, str) for x in llm_query_batched(['x'] * 5)])"
    rlm = make({"m": [cell(code)], "s": lambda r: "y"}, model="m", sub_model="s", budget=Budget(subcall_budget=3))
    assert rlm.completion("x").value == [True, True, True, False, False]


def test_the_value_of_a_sub_call_comes_without_thoughts_and_end_marks(make):
    asks = """
typed = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
FINAL([llm_query("a"), llm_query("b"), llm_query("c", output_type=typed), llm_query("d", output_type=typed)])
"""
    answers = [
        "<think>hmm</think>\n42",
        "42<|im_end|>",
        '<think>{"n": 1}</think>{"n": 4}',
        'Here it is:\n{"n": 4,}\nDone.',
    ]
    rlm = make([cell(asks), *answers], memoise=False)
    assert rlm.completion("x").value == ["42", "42", {"n": 4}, {"n": 4}]
    assert len(rlm.backend.requests) == 5


TRIES = """
def tried(ask, chars):
    try:
        return ask("x" * chars)
    except Exception as error:
        return f"{type(error).__name__}: {error}"

FINAL([tried(llm_query, LARGE), tried(rlm_query, LARGE), tried(llm_query, 9)])
"""


@pytest.mark.parametrize(
    ("large", "settings", "words"),
    [
        (2_000_000, {}, "about 667,000 tokens, and the window of m is 100,000"),
        (9_000, {"subcall_input_tokens": 2_000}, "about 3,004 tokens, and subcall_input_tokens is 2,000"),
    ],
)
def test_a_sub_call_that_is_too_large_is_refused_in_its_cell_before_any_request(make, large, settings, words):
    backend = ScriptedBackend(
        lambda request: cell(TRIES.replace("LARGE", str(large))) if request.tools else "small",
        traits=ModelTraits(context_window_tokens=100_000),
    )
    rlm = make(backend, model="m", environment="local", **settings)
    result = rlm.completion("x")
    asked, child, small = result.value
    assert f"the prompt has {words}: split it: llm_query_batched asks about many parts at once" in asked
    assert f"the prompt has {words}: give the text as rlm_query(prompt, context)" in child
    assert (small, len(backend.requests)) == ("small", 2)
    assert rlm.replay(result.run_id).differences == ()


def test_a_timeout_lands_and_kills_the_cell(make):
    rlm = make([cell("while True: pass"), "Ran out of time."], budget=Budget(timeout_s=2.0))
    result = rlm.completion("x")
    assert (result.status, result.limit, result.response) == ("limit", "timeout_s", "Ran out of time.")
    with pytest.raises(TimeLimitReached):
        result.raise_for_status()


def test_a_batch_that_time_is_too_short_for_returns_what_it_has(make):
    async def sub(request):
        if request.messages[-1].content == "slow":
            await asyncio.Event().wait()
        return "quick"

    code = "FINAL([x if isinstance(x, str) else 'nearly up' in str(x) for x in llm_query_batched(['a', 'slow', 'b'])])"
    rlm = make({"m": [cell(code)], "s": sub}, model="m", sub_model="s", budget=Budget(timeout_s=2.0))
    result = rlm.completion("x")
    assert (result.status, result.value) == ("completed", ["quick", True, "quick"])


def test_a_cell_that_never_ends_is_stopped_and_the_run_goes_on(make):
    rlm = make([cell("x = 1"), cell("while True: pass"), cell("FINAL(x)")], cell_timeout_s=0.5)
    assert rlm.completion("x").value == 1


def test_the_model_is_told_when_a_limit_is_near(make):
    rlm = make([cell("1")] * 4 + ["end"], budget=Budget(max_turns=5))
    rlm.completion("x")
    near = [body for body in rlm.sink.bodies("limit") if body.state == "near"]
    assert [body.name for body in near] == ["max_turns"]
    assert "turn 4 of 5" in shown(rlm)


def notes_or(answer):
    """A model that writes notes when asked for them."""

    def reply(request):
        if "about to be shortened" in request.messages[-1].content:
            return "<think>What matters?</think>\nn is 5; nothing else."
        return answer(request)

    return reply


def test_a_conversation_near_the_window_is_shortened_and_stays_readable(make):
    turns = iter(
        [
            *[cell(f"n = 5\nprint('x' * {2000 + n})") for n in range(12)],
            cell("FINAL([n, len(history), history[1]['content'][-7:]])"),
        ]
    )
    backend = ScriptedBackend(notes_or(lambda request: next(turns)), traits=ModelTraits(context_window_tokens=8_000))
    rlm = make(backend, max_output_tokens=512)
    n, length, task = rlm.completion("x").value
    sizes = [sum(len(m.content) for m in r.messages) for r in backend.requests]
    assert max(sizes) < 8_000 * 3
    assert (n, task) == (5, "Task: x")
    assert length > 10
    compactions = rlm.sink.bodies("compaction")
    assert compactions
    assert "n is 5" in compactions[0].content
    assert "What matters?" not in compactions[0].content
    assert any("n is 5" in message.content for message in backend.requests[-1].messages)


def test_an_overflow_is_shortened_and_tried_again(make):
    def answer(request):
        if sum(len(message.content) for message in request.messages) > 12_000:
            return ContextOverflowError("too long")
        return next(turns)

    turns = iter([*[cell("print('x' * 2000)")] * 6, "end"])
    rlm = make(notes_or(answer))
    result = rlm.completion("x")
    assert (result.status, result.response) == ("completed", "end")
    assert rlm.sink.bodies("compaction")


def test_an_overflow_that_nothing_can_shorten_fails_the_run(make):
    result = make(lambda request: ContextOverflowError("too long")).completion("x")
    assert (result.status, type(result.error)) == ("failed", ContextOverflowError)


def test_a_failed_model_is_a_failed_run_with_the_record_intact(make):
    rlm = make([cell("x = 1"), BackendConnectionError("gone")])
    result = rlm.completion("x")
    assert (result.status, result.success, result.response) == ("failed", False, "")
    with pytest.raises(BackendConnectionError, match="gone"):
        result.raise_for_status()
    ends = [event.type for event in read(result)][-2:]
    assert ends == ["turn.end", "completion.end"]


def test_a_landing_that_fails_keeps_what_the_model_said_last(make):
    first = ModelReply(text="I think it is 7.", tool_calls=(cell("1"),), usage=TokenUsage())
    rlm = make([first, BackendConnectionError("gone")], budget=Budget(max_turns=1))
    result = rlm.completion("x")
    assert (result.status, result.response) == ("limit", "I think it is 7.")


LANDINGS = [
    ("```python\nprint(sum(numbers))\n```", "6"),
    ("```repl\nFINAL(sum(numbers))\n```", "6"),
    ("It is six.\n```python\n1 / 0 + len(numbers)\n```", "It is six."),
    ("```\nIt is six.\n```", "It is six."),
]


@pytest.mark.parametrize(("text", "answer"), LANDINGS)
def test_code_in_a_landing_is_run_where_the_repl_lives(make, text, answer):
    rlm = make([cell("numbers = [1, 2, 3]\nprint('so far')"), text], budget=Budget(max_turns=1))
    assert rlm.completion("x").response == answer


def read(result):
    return [events.decode(line) for line in result.trajectory.read_bytes().splitlines()]


def test_the_record_is_whole_and_in_order(make):
    rlm = make({"m": [cell("print(llm_query('q'))"), "end"], "s": ["a"]}, model="m", sub_model="s")
    record = read(rlm.completion("p", "c"))
    assert [events.encode(event) for event in record] == [events.encode(event) for event in rlm.sink.events]
    assert [event.seq for event in record] == list(range(len(record)))
    assert [event.type for event in record] == [
        *("run.start", "sandbox", "completion.start", "message", "message"),
        *("turn.start", "model.start", "model.end", "exec.start", "model.start", "model.end"),
        *("exec.output", "exec.end", "message", "turn.end"),
        *("turn.start", "model.start", "model.end", "turn.end", "completion.end"),
    ]
    spans = {event.span for event in record}
    assert all(event.parent is None or event.parent in spans for event in record)


def test_the_record_grows_linearly(make):
    rlm = make([cell(f"print('x' * 500, {n})") for n in range(10, 70)] + ["end"], budget=Budget(max_turns=100))
    record = read(rlm.completion("x"))
    sizes = {}
    turn = 0
    for event in record:
        turn = event.body.turn if event.type == "turn.start" else turn
        sizes[turn] = sizes.get(turn, 0) + len(events.encode(event))
    assert sum(sizes[t] for t in range(51, 61)) <= 1.1 * sum(sizes[t] for t in range(1, 11))


def test_an_empty_text_is_a_str(make):
    assert make([cell("FINAL(repr(context))")]).completion("x", "").value == "''"


def test_a_run_does_not_read_its_own_records(make, tmp_path):
    (tmp_path / "data.txt").write_text("x")
    (tmp_path / "more.txt").write_text("y")
    rlm = make(lambda request: cell("FINAL(sorted(context))"))
    assert [rlm.completion("x", tmp_path).value for _ in range(2)] == [["data.txt", "more.txt"]] * 2


def test_what_was_left_out_of_a_context_is_on_record(make, tmp_path):
    (tmp_path / "data.txt").write_text("x")
    (tmp_path / "picture.bin").write_bytes(bytes(range(256)))
    rlm = make([cell("FINAL(1)")])
    rlm.completion("x", tmp_path)
    assert any("picture.bin" in body.message for body in rlm.sink.bodies("warning"))


@pytest.mark.parametrize("prompt", ["", "  ", None])
def test_an_empty_prompt_is_refused(make, prompt):
    with pytest.raises(ConfigError, match="prompt is empty"):
        make([]).completion(prompt)


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        (Budget(max_concurrency=0), "max_concurrency: expected a whole number of at least 1, got 0"),
        (Budget(timeout_s=-1.0), r"timeout_s: expected a number above 0 or none, got -1\.0"),
        (Budget(token_budget="x"), "token_budget: expected a whole number of at least 1 or none, got 'x'"),
        (Budget(max_turns=0), "max_turns: expected a whole number of at least 1, got 0"),
    ],
)
def test_a_budget_out_of_range_is_refused(make, budget, says):
    with pytest.raises(ConfigError, match=says):
        make([]).completion("x", budget=budget)


def test_a_closed_rlm_says_so(make):
    rlm = make(["x"])
    rlm.close()
    with pytest.raises(ConfigError, match="closed"):
        rlm.completion("x")


def test_a_plain_function_is_no_tool():
    with pytest.raises(ConfigError, match="@tool"):
        RLM(ScriptedBackend([]), config=Config(), tools=[len])


def test_a_tool_that_nobody_can_call_is_named(make):
    @tool
    def order(item: str) -> str:
        """Order it."""
        return item

    rlm = make(["FINAL(1)"], traits=NO_TOOLS, tools=[order])
    rlm.completion("x")
    assert any("can't call order" in body.message for body in rlm.sink.bodies("warning"))


async def test_an_rlm_is_an_async_context_manager(tmp_path):
    async with RLM(ScriptedBackend(["yes"]), config=Config(log_dir=str(tmp_path))) as rlm:
        assert (await rlm.acompletion("x")).response == "yes"


def test_cancel_ends_a_run_with_a_result(make):
    rlm = make([cell("print('started')\nwhile True: pass")])
    rlm.sink.write = lambda event: rlm.cancel() if event.type == "exec.output" else None
    result = rlm.completion("x")
    assert result.status == "cancelled"
    assert read(result)[-1].body.status == "cancelled"


async def test_acompletion_is_the_same_awaited(make):
    rlm = make([cell("FINAL(context)")])
    assert (await rlm.acompletion("x", [1, 2])).value == [1, 2]


def test_one_rlm_serves_many_threads(make):
    rlm = make(lambda r: cell("FINAL(context * 2)"))
    results = {}
    threads = [threading.Thread(target=lambda n=n: results.update({n: rlm.completion("x", n).value})) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: 2 * n for n in range(6)}


def test_runs_share_no_state(make):
    rlm = make(lambda r: cell("seen = 'leftover' in SHOW_VARS()\nleftover = 1\nFINAL(seen)"))
    assert [rlm.completion("x").value for _ in range(2)] == [False, False]


def test_an_answer_whose_record_was_lost_is_not_a_success(make, monkeypatch):
    from rlm.trajectory.writer import TrajectoryWriter

    def full(self, event, line):
        raise OSError(28, "No space left on device")

    rlm = make([cell("FINAL('kept')")])
    rlm.sink.write = lambda event: monkeypatch.setattr(TrajectoryWriter, "write", full)
    result = rlm.completion("x")
    assert result.status == "failed"
    assert "No space left" in str(result.error)


def test_the_config_in_the_record_holds_every_cap(make):
    record = read(make(["x"]).completion("x"))
    assert record[0].body.budget == msgspec.structs.asdict(Budget())


ENDLESS = """
schema = {"properties": {"a": True}}
for _ in range(22):
    schema = {"allOf": [schema], "unevaluatedProperties": False}
try:
    llm_query("x", output_type={"type": "object", **schema})
except SubcallError as error:
    FINAL(str(error))
"""


def test_a_schema_that_would_take_for_ever_ends_with_its_check(make, monkeypatch):
    """`close`, when the test ends, comes back too."""
    monkeypatch.setattr("rlm.runtime.schemas.TIMEOUT_S", 1.0)
    monkeypatch.setattr("rlm.core.calls.queries.OUTPUT_ATTEMPTS", 1)
    rlm = make({"main": [cell(ENDLESS)], "sub": ['{"a": 1}']}, model="main", sub_model="sub")
    assert "took longer than 1 s" in rlm.completion("x").value


def test_a_batch_of_far_too_many_is_refused_whole(make):
    code = "try:\n    llm_query_batched(['x'] * 20_000)\nexcept ValueError as error:\n    FINAL(str(error))"
    rlm = make({"main": [cell(code)], "sub": []}, model="main", sub_model="sub")
    result = rlm.completion("x")
    assert "a batch has at most 10,000 prompts, not 20,000" in result.value
    assert (result.usage.subcalls, len(rlm.sink.bodies("limit"))) == (0, 0)


def test_an_answer_of_very_many_values_is_an_answer(make):
    rlm = make([cell("FINAL({f'name {n}': f'value {n}' for n in range(20_000)})")])
    result = rlm.completion("x")
    assert (result.status, len(result.value)) == ("completed", 20_000)


def test_a_map_over_parts_is_a_batch_under_its_budget(make):
    code = "parts = chunks(context, 4)\nanswers = llm_map('Which?', parts)\nFINAL([str(answer) for answer in answers])"
    script = {"m": [cell(code)], "s": lambda request: request.messages[-1].content.split()[-1]}
    rlm = make(script, model="m", sub_model="s", budget=Budget(subcall_budget=2))
    value = rlm.completion("x", "a1\nb2\nc3\n").value
    assert value[:2] == ["a1", "b2"]
    assert "subcall_budget" in value[2]
