"""Budgets over a real HTTP server that bills: what is reported is what was billed, and no cap is passed."""

import asyncio
from dataclasses import dataclass, field

import pytest

from rlm import RLM, Budget, Config
from rlm.core.config import PriceConfig, ProviderConfig
from rlm.core.exceptions import BackendConnectionError, ConfigError
from rlm.core.types import TokenUsage
from rlm.sinks.memory import MemorySink
from tests.servers.faults import reset, silent, stream
from tests.servers.openai_server import chunk, completion, openai_server, refusal, wire_call

AGAIN = {"Retry-After": "0"}
PRICE = PriceConfig(input_usd=1_000.0, output_usd=2_000.0)
ASK_20 = """
answers = llm_query_batched([f"question {i}" for i in range(20)])
FINAL([answer if isinstance(answer, str) else None for answer in answers])
"""


@dataclass
class Billing:
    """A provider that runs one cell for the first request of a conversation, answers all others, and writes bills."""

    code: str
    prompt_tokens: int = 5
    """Fewer than any estimate, so that no slack is needed."""
    bills: list[tuple[int, int]] = field(default_factory=list)

    async def __call__(self, received):
        said = received.body["messages"]
        if "The run ends here" in said[-1]["content"]:
            return await self._answer(received, "Partial.")
        if "tools" not in received.body:
            return await self._answer(received, f"about {said[-1]['content']}")
        calls = [wire_call("execute_code", {"code": self.code})]
        return await self._answer(received, "", calls=calls, finish="tool_calls")

    async def _answer(self, received, text, **more):
        """Every answer uses its whole output cap."""
        written = received.body.get("max_tokens") or received.body["max_completion_tokens"]
        self.bills.append((self.prompt_tokens, written))
        usage = {"prompt_tokens": self.prompt_tokens, "completion_tokens": written}
        return await completion(text, usage=usage, **more)(received)

    @property
    def total(self):
        return tuple(map(sum, zip(*self.bills, strict=True)))


@pytest.fixture
def make(tmp_path):
    """Makes an RLM over a server; all are closed at the end."""
    made = []

    def build(server, *, retries=4, stream=False, **settings):
        provider = ProviderConfig(base_url=server.base_url, stream=stream, max_retries=retries)
        config = Config(model="openai/m", log_dir=str(tmp_path / "logs"), openai=provider, **settings)
        rlm = RLM(config=config, sinks=[sink := MemorySink()])
        rlm.sink = sink
        made.append(rlm)
        return rlm

    yield build
    for rlm in made:
        rlm.close()


def spent(result):
    return (result.usage.input_tokens, result.usage.output_tokens)


async def test_a_batch_that_meets_the_token_budget_midway_returns_what_it_has(make):
    async with openai_server() as server:
        server.default = billing = Billing(ASK_20)
        result = await make(server, budget=Budget(token_budget=30_000), max_output_tokens=2_000).acompletion("x")
    answered = [answer for answer in result.value if answer is not None]
    assert 0 < len(answered) < 20
    assert answered == [f"about question {i}" for i in range(20) if result.value[i] is not None]
    assert (result.status, spent(result)) == ("completed", billing.total)
    assert sum(billing.total) <= 30_000


async def test_the_landing_is_paid_from_what_was_set_aside(make):
    async with openai_server() as server:
        server.default = billing = Billing("print('again')")
        result = await make(server, budget=Budget(token_budget=30_000), max_output_tokens=4_000).acompletion("x")
    assert (result.status, result.limit, result.response) == ("limit", "token_budget", "Partial.")
    assert spent(result) == billing.total
    assert sum(billing.total) <= 30_000


async def test_attempts_that_were_not_billed_charge_nothing(make):
    answered = completion("fine", usage={"prompt_tokens": 9, "completion_tokens": 3})
    async with openai_server(refusal(429, headers=AGAIN), refusal(500, headers=AGAIN), answered) as server:
        rlm = make(server, budget=Budget(token_budget=20_000))
        result = await rlm.acompletion("x")
    assert (result.response, spent(result), result.usage.model_calls) == ("fine", (9, 3), 1)
    assert [body.attempt for body in rlm.sink.bodies("model.retry")] == [1, 2]


CUT = stream(chunk({"content": "par"}), end="abort")


async def test_a_batch_whose_streams_are_cut_off_is_charged_and_ends_at_the_cap(make):
    asked = []

    async def cut(received):
        asked.append(received.body["max_tokens"])
        return await CUT(received)

    code = "FINAL(sum(isinstance(a, str) for a in llm_query_batched([f'question {i}' for i in range(200)])))"
    async with openai_server(
        completion("", calls=[wire_call("execute_code", {"code": code})], finish="tool_calls")
    ) as server:
        server.default = cut
        rlm = make(server, retries=0, stream=True, budget=Budget(token_budget=50_000), max_output_tokens=2_000)
        result = await rlm.acompletion("x")
    assert (result.status, result.value) == ("completed", 0)
    assert 10 < len(asked) < 200
    assert sum(asked) <= result.usage.output_tokens <= sum(spent(result)) <= 50_000
    ends = rlm.sink.bodies("model.end")
    assert sum(end.usage.total_tokens for end in ends) == sum(spent(result))


async def test_attempts_that_were_cut_off_are_charged_beside_the_reply_that_came(make):
    async with openai_server(CUT, reset, completion("fine")) as server:
        rlm = make(server, retries=2, stream=True, max_output_tokens=1_000, prices={"openai/m": PRICE})
        result = await rlm.acompletion("x")
    retries, (end,) = rlm.sink.bodies("model.retry"), rlm.sink.bodies("model.end")
    assert [body.usage.output_tokens for body in retries] == [1_000, 1_000]
    assert end.usage == TokenUsage(input_tokens=11, output_tokens=7) + retries[0].usage + retries[1].usage
    assert (spent(result), result.usage.model_calls) == ((end.usage.input_tokens, 2_007), 1)
    assert result.cost_usd == pytest.approx(end.usage.input_tokens / 1_000 + 2_007 / 500)


async def test_an_attempt_is_not_repeated_where_the_budget_has_no_room_for_another(make):
    async with openai_server() as server:
        server.default = CUT
        rlm = make(server, stream=True, budget=Budget(token_budget=12_000), max_output_tokens=4_000)
        result = await rlm.acompletion("x")
    assert result.status == "failed"
    assert len(server.requests) == 1
    assert 4_000 < sum(spent(result)) <= 12_000
    assert any("not repeated" in body.message for body in rlm.sink.bodies("warning"))


async def test_a_resumed_run_keeps_what_failed_attempts_were_charged(make):
    async with openai_server(CUT, CUT) as server:
        rlm = make(server, retries=1, stream=True, max_output_tokens=1_000)
        failed = await rlm.acompletion("x")
        again = await rlm.aresume(failed.run_id)
        once_more = await rlm.aresume(failed.run_id)
    assert (failed.status, spent(failed)[1]) == ("failed", 2_000)
    assert (again.response, spent(again)) == ("ok", (spent(failed)[0] + 11, 2_007))
    assert spent(once_more) == spent(again)


async def test_a_call_that_never_succeeds_charges_nothing_and_holds_nothing(make):
    code = "try:\n    llm_query('a')\nexcept SubcallError:\n    FINAL(llm_query('b'))"
    down = refusal(500, headers=AGAIN)
    billing = Billing(code)
    async with openai_server(billing, down, down, billing) as server:
        rlm = make(server, retries=1, budget=Budget(token_budget=4_100), max_output_tokens=1_000)
        result = await rlm.acompletion("x")
    assert (result.value, spent(result), result.usage.model_calls) == ("about b", billing.total, 2)


async def test_a_run_whose_every_attempt_fails_reports_no_spend(make):
    async with openai_server() as server:
        server.default = refusal(500, headers=AGAIN)
        result = await make(server, retries=1).acompletion("x")
    assert (result.status, spent(result), len(server.requests)) == ("failed", (0, 0), 2)
    with pytest.raises(BackendConnectionError):
        result.raise_for_status()


async def test_cancelling_a_run_closes_its_connections(make):
    all_there, all_gone = asyncio.Barrier(9), asyncio.Barrier(9)

    async def hang(received):
        await all_there.wait()
        try:
            await asyncio.Event().wait()
        finally:
            gone.append(asyncio.create_task(all_gone.wait()))

    gone = []
    async with openai_server(Billing("llm_query_batched([str(i) for i in range(8)])")) as server:
        server.default = hang
        rlm = make(server)
        running = asyncio.create_task(rlm.acompletion("x"))
        await all_there.wait()
        rlm.cancel()
        await all_gone.wait()
        result = await running
    assert result.status == "cancelled"


async def test_a_sub_call_without_an_answer_does_not_cost_the_run_its_end(make):
    code = "out = llm_query_batched(['a', 'b', 'c'])\nFINAL([isinstance(x, str) for x in out])"
    async with openai_server(Billing(code), silent, completion("ok"), completion("ok")) as server:
        result = await make(server, budget=Budget(timeout_s=3)).acompletion("x")
        await server.hung_up.wait()
    assert result.status == "completed"
    assert sorted(result.value) == [False, True, True]


async def test_a_cost_budget_holds_with_the_prices_that_are_configured(make):
    async with openai_server() as server:
        server.default = billing = Billing(ASK_20)
        rlm = make(server, budget=Budget(cost_budget_usd=20.0), max_output_tokens=1_000, prices={"openai/m": PRICE})
        result = await rlm.acompletion("x")
    input_tokens, output_tokens = billing.total
    assert result.cost_usd == pytest.approx(input_tokens / 1_000 + output_tokens / 500)
    assert result.cost_usd <= 20.0
    assert 0 < sum(answer is not None for answer in result.value) < 20


async def test_a_cost_budget_with_an_unknown_price_asks_nothing(make):
    async with openai_server() as server:
        with pytest.raises(ConfigError, match=r"rlm config set prices\.openai/m 'input_usd=0, output_usd=0'"):
            await make(server, budget=Budget(cost_budget_usd=1.0)).acompletion("x")
    assert not server.requests
