"""The table of models: where it is from, what it knows, and what it doesn't."""

from __future__ import annotations

from datetime import date

import pytest

from rlm.backends.anthropic.backend import AnthropicBackend
from rlm.backends.catalog import load, traits_of
from rlm.backends.openai.backend import OpenAIBackend
from rlm.backends.provider import ProviderSettings
from rlm.core.types import LongPrice, Price, TokenUsage

ROWS = [(provider, model) for provider, models in load().providers.items() for model in models]


@pytest.mark.parametrize(("provider", "model"), ROWS)
def test_every_row_has_a_source_and_sane_numbers(provider: str, model: str) -> None:
    entry = load().providers[provider][model]
    source = load().sources[entry.source]
    assert date.fromisoformat(source.read) >= date(2026, 11, 1)
    assert source.url.startswith("https://")
    assert 0 < entry.price.input_usd < entry.price.output_usd
    assert (entry.price.cached_usd or 0) < entry.price.input_usd <= (entry.price.cache_write_usd or 1e9)
    assert 4_000 < (entry.window_tokens or 0) <= 1_100_000


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("openai", "gpt-5-2025-08-07", "gpt-5"),
        ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("anthropic", "claude-sonnet-4-5-latest", "claude-sonnet-4-5"),
    ],
)
def test_a_snapshot_is_what_its_model_is(provider: str, model: str, name: str) -> None:
    assert traits_of(provider, model) == traits_of(provider, name)
    assert traits_of(provider, name).price is not None


@pytest.mark.parametrize("model", ["gpt-5-turbo", "ft:gpt-4o-2024-08-06:me", "gpt", ""])
def test_what_is_not_in_the_table_is_unknown(model: str) -> None:
    assert traits_of("openai", model).price is None
    assert traits_of("openai", model).context_window_tokens is None
    assert traits_of("nobody", model).price is None


@pytest.mark.parametrize(("model", "native"), [("gpt-5-mini", True), ("gpt-5.6-sol", False), ("gpt-6.7", False)])
def test_models_that_take_no_tools_on_this_wire_are_known(model: str, native: bool) -> None:
    assert traits_of("openai", model).native_tools is native


async def test_another_server_may_serve_anything_under_a_known_name() -> None:
    for backend_class, model in ((OpenAIBackend, "gpt-5.6-sol"), (AnthropicBackend, "claude-sonnet-5-5")):
        elsewhere = backend_class(ProviderSettings(base_url="http://127.0.0.1:9/v1"))
        assert elsewhere.traits(model).price is None
        assert elsewhere.traits(model).native_tools
        assert backend_class(ProviderSettings()).traits(model).price is not None


def test_a_call_costs_what_its_parts_cost() -> None:
    price = Price(input_usd=2.0, output_usd=10.0, cached_usd=0.2, cache_write_usd=2.5)
    usage = TokenUsage(input_tokens=1_000, output_tokens=100, cached_tokens=600, cache_write_tokens=300)
    assert price.cost_usd(usage) == pytest.approx((100 * 2 + 600 * 0.2 + 300 * 2.5 + 100 * 10) / 1e6)
    assert Price(input_usd=2.0, output_usd=10.0).cost_usd(usage) == pytest.approx((1_000 * 2 + 100 * 10) / 1e6)


def test_a_long_prompt_costs_its_own_price_throughout() -> None:
    long = LongPrice(above_tokens=1_000, price=Price(input_usd=4.0, output_usd=15.0))
    price = Price(input_usd=2.0, output_usd=10.0, long=long)
    assert price.cost_usd(TokenUsage(input_tokens=1_000, output_tokens=10)) == pytest.approx(2.1e-3)
    assert price.cost_usd(TokenUsage(input_tokens=1_001, output_tokens=10)) == pytest.approx((4_004 + 150) / 1e6)
