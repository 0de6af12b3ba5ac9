"""What a run leaves when it is cut short at an awkward moment: spend charged, answers kept, the record whole."""

import asyncio
import contextlib
import itertools
import json

import pytest

from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.budget import Budget
from rlm.core.config import Config
from rlm.core.exceptions import BadRequestError, RunFailed
from rlm.core.types import ModelReply, ModelTraits, Price, TokenUsage, ToolSpec
from rlm.runtime.models import BackendPool
from rlm.runtime.request import Request
from rlm.runtime.runs import complete
from rlm.runtime.wiring import Parts
from rlm.sinks.memory import MemorySink
from rlm.trajectory.writer import TrajectoryWriter
from tests.support.programs import ProgramSandbox
from tests.support.virtual_time import run_virtually


def cell(*steps):
    return tool_call("execute_code", code=json.dumps(steps))


def is_turn(request):
    return request.messages[0].role == "system"


def is_landing(request):
    return request.messages[-1].content.startswith("The run ends here")


def run(model, log_dir, *, sandbox=None, context=None, price=None, cancel_after_s=None, tools=(), **config):
    async def completed():
        backend = ScriptedBackend(model, traits=ModelTraits(price=price))
        sandboxes = {"auto": sandbox or ProgramSandbox()}
        parts = Parts(backends=BackendPool(backend), tools=tools, sinks=(sink,), sandboxes=sandboxes)
        if cancel_after_s is not None:
            asyncio.get_running_loop().call_later(cancel_after_s, parts.cancel)
        settings = Config(model="main", sub_model="sub", log_dir=str(log_dir), memoise=False, **config)
        result = await complete(parts, Request(prompt="x", context=context, config=settings))
        sink.took_s = asyncio.get_running_loop().time()
        return result

    sink = MemorySink()
    return run_virtually(completed()), sink


def test_an_answer_outlives_a_cancellation_that_comes_while_the_repl_closes(tmp_path):
    sandbox = ProgramSandbox(close_s=1.0)
    result, sink = run(lambda r: cell(["final", "kept"]), tmp_path, sandbox=sandbox, cancel_after_s=0.5)
    assert (result.status, result.response, sandbox.alive) == ("completed", "kept", 0)
    assert len(sink.bodies("completion.end")) == 1


def test_a_child_that_is_cut_off_while_its_repl_closes_is_ended_in_the_record(tmp_path):
    def model(request):
        is_main = request.model == "main" and not is_landing(request)
        return cell(["call", "rlm_query", ["y"], {}], ["final", 1]) if is_main else "done"

    _, sink = run(model, tmp_path, sandbox=ProgramSandbox(close_s=20.0), budget=Budget(timeout_s=10))
    assert len(sink.bodies("completion.end")) == len(sink.bodies("completion.start")) == 2


def test_a_cancelled_run_raises_for_its_status(tmp_path):
    result, _ = run(lambda r: cell(["sleep", 9]), tmp_path, cancel_after_s=1)
    assert result.status == "cancelled"
    with pytest.raises(RunFailed, match="cancelled"):
        result.raise_for_status()


def test_a_landing_without_a_repl_still_knows_the_task(tmp_path):
    seen = []
    result, _ = run(
        lambda r: seen.append(r.messages) or "FINAL_VAR(x)",
        tmp_path,
        sandbox=ProgramSandbox(open_s=5.0),
        budget=Budget(timeout_s=1),
    )
    assert (result.status, result.limit) == ("limit", "timeout_s")
    assert "Task: x" in seen[0][1].content


def test_a_landing_that_breaks_is_an_outcome(tmp_path):
    def model(request):
        if is_landing(request):
            raise ValueError("a foreign backend")
        return ModelReply(text="so far", tool_calls=(cell(),), usage=TokenUsage())

    result, sink = run(model, tmp_path, budget=Budget(max_turns=1))
    assert (result.status, result.response) == ("failed", "so far")
    assert sink.bodies("completion.end")[0].status == "failed"


@pytest.mark.parametrize(("said", "best"), [("", ""), ("Half of it is 3.\n", "Half of it is 3.")])
@pytest.mark.parametrize("landing", ["", BadRequestError("no")])
def test_where_no_last_answer_is_had_the_last_words_are_but_code_is_no_answer(tmp_path, said, best, landing):
    def model(request):
        return landing if is_landing(request) else f"{said}```repl\n[]\n```"

    result, _ = run(model, tmp_path, dialect="code", budget=Budget(max_turns=1))
    assert result.response == best


@pytest.mark.parametrize("cap_usd", [0.05, 0.2, 1.0])
def test_a_cost_limit_lands(tmp_path, cap_usd):
    turns = itertools.count()

    def model(request):
        usage = TokenUsage(input_tokens=500, output_tokens=request.max_output_tokens)
        said = f"turn {next(turns)}"
        return "Partial." if is_landing(request) else ModelReply(text=said, tool_calls=(cell(),), usage=usage)

    price = Price(input_usd=3, output_usd=15)
    result, _ = run(model, tmp_path, price=price, budget=Budget(cost_budget_usd=cap_usd))
    assert (result.limit, result.response) == ("cost_budget_usd", "Partial.")
    assert result.cost_usd <= cap_usd


@pytest.mark.parametrize("cap", [2_000, 4_000, 8_000, 12_000, 20_000])
def test_a_small_token_limit_lands(tmp_path, cap):
    def model(request):
        usage = TokenUsage(input_tokens=900, output_tokens=request.max_output_tokens)
        return "Partial." if is_landing(request) else ModelReply(text="", tool_calls=(cell(),), usage=usage)

    result, _ = run(model, tmp_path, budget=Budget(token_budget=cap))
    assert (result.limit, result.response) == ("token_budget", "Partial.")


def test_calls_that_nobody_waits_for_are_charged(tmp_path):
    billed = []

    async def model(request):
        if is_turn(request):
            turn = sum(message.role == "assistant" for message in request.messages)
            ask = ["spawn", "rlm_query_batched", [[f"{turn}-{i}" for i in range(5)]], {}]
            return cell(ask, ["sleep", 0.1]) if turn < 8 else "done"
        billed.append(len(request.messages[0].content) // 4)
        await asyncio.sleep(1.0)
        return "late"

    budget = Budget(token_budget=300_000, max_depth=0)
    result, _ = run(model, tmp_path, context="x" * 150_000, budget=budget)
    assert result.usage.input_tokens >= sum(billed) > 0
    assert sum(billed) <= 300_000


def test_a_batch_that_comes_too_late_sends_nothing(tmp_path):
    asked = []

    async def model(request):
        if is_turn(request):
            return cell(["sleep", 9.5], ["call", "llm_query_batched", [["a", "b"]], {}], ["final", "in time"])
        asked.append(request)
        await asyncio.sleep(0.2)
        return "late"

    result, _ = run(model, tmp_path, budget=Budget(timeout_s=10))
    assert (result.response, asked) == ("in time", [])


def test_nothing_is_paid_once_the_record_is_broken(tmp_path, monkeypatch):
    def full(self, event, line):
        raise OSError(28, "No space left on device")

    async def model(request):
        if is_turn(request):
            return cell(["call", "llm_query_batched", [[str(i) for i in range(10)]], {}])
        asked.append(request)
        monkeypatch.setattr(TrajectoryWriter, "write", full)
        await asyncio.sleep(0.2)
        return "y"

    asked = []
    result, _ = run(model, tmp_path, budget=Budget(max_concurrency=1))
    assert (result.status, len(asked)) == ("failed", 1)


@pytest.mark.parametrize("name", ["llm_query_batched", "rlm_query_batched"])
def test_a_foreign_error_costs_a_batch_one_item(tmp_path, name):
    def model(request):
        if request.model == "main":
            return cell(["call", name, [["a", "b", "c"]], {}], ["final", 1])
        if any(message.content == "b" or "Task: b" in message.content for message in request.messages):
            raise ValueError("a foreign backend")
        return "fine"

    sandbox = ProgramSandbox()
    run(model, tmp_path, sandbox=sandbox)
    first, second, third = sandbox.calls[0].answer
    assert (first, third) == ("fine", "fine")
    assert isinstance(second, Exception)


async def never(_request=None):
    await asyncio.Event().wait()


@pytest.mark.parametrize("timeout_s", [0.1, 3.0, 600.0])
def test_a_server_that_never_answers_holds_a_run_no_longer_than_its_time(tmp_path, timeout_s):
    result, sink = run(never, tmp_path, budget=Budget(timeout_s=timeout_s))
    starts = [event.body.purpose for event in sink.events if event.type == "model.start"]
    assert (result.limit, result.response, starts) == ("timeout_s", "", ["turn", "landing"])
    assert sink.took_s == pytest.approx(timeout_s, abs=0.01)


def test_a_slow_model_is_given_the_time_that_it_needs_for_its_landing(tmp_path):
    async def model(request):
        await asyncio.sleep(8.0)
        return "Partial." if is_landing(request) else cell(["say", "nothing yet"])

    result, sink = run(model, tmp_path, budget=Budget(timeout_s=60))
    assert (result.limit, result.response) == ("timeout_s", "Partial.")
    assert 44.0 <= sink.took_s <= 60.0


def test_the_landing_of_a_fast_model_takes_little_of_the_time(tmp_path):
    result, sink = run(
        lambda r: "Partial." if is_landing(r) else cell(["sleep", 99]), tmp_path, budget=Budget(timeout_s=60)
    )
    assert (result.limit, result.response) == ("timeout_s", "Partial.")
    assert 59.0 <= sink.took_s <= 60.0


def test_a_first_cell_gets_the_time_that_the_landing_of_a_fast_model_does_not_need(tmp_path):
    result, _ = run(lambda r: cell(["sleep", 9.5], ["final", "in time"]), tmp_path, budget=Budget(timeout_s=10))
    assert (result.status, result.response) == ("completed", "in time")


@pytest.mark.parametrize("said", ["", "I look at it.\n"])
def test_without_room_for_a_landing_the_last_value_printed_is_the_answer(tmp_path, said):
    script = iter([f"{said}```repl\n{json.dumps(steps)}\n```" for steps in ([["say", "total 42"]], [["sleep", 99]])])

    async def model(request):
        return await never() if is_landing(request) else next(script)

    result, sink = run(model, tmp_path, dialect="code", budget=Budget(timeout_s=10))
    assert (result.limit, result.response) == ("timeout_s", "total 42")
    assert sink.took_s <= 10.01


def test_what_the_cell_in_progress_printed_counts_too(tmp_path):
    script = iter([cell(["say", "total 41"]), cell(["say", "total 42"], ["sleep", 99])])

    async def model(request):
        return await never() if is_landing(request) else next(script)

    result, _ = run(model, tmp_path, budget=Budget(timeout_s=10))
    assert result.response == "total 42"


def test_a_repl_that_does_not_close_holds_up_no_run(tmp_path):
    sandbox = ProgramSandbox(close_s=60.0)
    result, sink = run(lambda r: cell(["sleep", 99]), tmp_path, sandbox=sandbox, budget=Budget(timeout_s=10))
    assert (result.limit, sink.took_s <= 12.0) == ("timeout_s", True)
    assert any("to close" in body.message for body in sink.bodies("warning"))


class Endless:
    """A tool that takes no cancellation."""

    spec = ToolSpec(name="endless", description="Go on.", parameters={"type": "object", "properties": {}})
    reads_only = True

    async def call(self, arguments):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(5.0)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(100.0)
        await asyncio.sleep(100.0)


@pytest.mark.parametrize("ask", [tool_call("endless"), cell(["call", "endless", [], {}], ["final", 1])])
@pytest.mark.parametrize("cancel_after_s", [None, 1.0])
def test_a_tool_that_takes_no_cancellation_holds_up_no_run(tmp_path, ask, cancel_after_s):
    limits = {"budget": Budget(timeout_s=3.0), "cancel_after_s": cancel_after_s}
    result, sink = run(lambda r: "late" if is_landing(r) else ask, tmp_path, tools=(Endless(),), **limits)
    assert (result.status, result.usage.tool_calls) == ("limit" if cancel_after_s is None else "cancelled", 1)
    assert sink.took_s <= (cancel_after_s or 3.0) + 2.0
    assert [body.message for body in sink.bodies("warning") if "endless" in body.message]


@pytest.mark.parametrize("depth", [0, 1])
def test_a_slow_model_has_the_time_for_its_last_answer(tmp_path, depth):
    """Each token takes 0.1 s; the limit of 30 s on a last answer is for models that hang."""

    async def model(request):
        tokens = min(400, request.max_output_tokens)
        await asyncio.sleep(tokens / 10)
        if is_landing(request):
            return ModelReply(text="Forty-two.", usage=TokenUsage(output_tokens=tokens))
        code = ["call", "rlm_query", ["y"], {}] if request.model == "main" and depth else ["say", "x"]
        return ModelReply(text="", tool_calls=(cell(code),), usage=TokenUsage(output_tokens=tokens))

    budget = Budget(max_turns=1, timeout_s=None)
    result, sink = run(model, tmp_path, budget=budget)
    assert [body.response for body in sink.bodies("completion.end") if body.limit] == ["Forty-two."] * (1 + depth)
    assert result.response == "Forty-two."


def test_a_last_answer_is_no_longer_than_there_is_time(tmp_path):
    seen = []

    async def model(request):
        if is_landing(request):
            seen.append(request.max_output_tokens)
            return "Forty-two."
        await asyncio.sleep(10)
        return ModelReply(text="", tool_calls=(cell(["say", "x"]),), usage=TokenUsage(output_tokens=100))

    run(model, tmp_path, budget=Budget(max_turns=2, timeout_s=None))
    assert seen == [240]
