"""What litellm's own price map, a file in its package, says of models; read without importing the package, which takes
seconds. What the map doesn't have, or has in an unexpected form, is unknown."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.types import LongPrice, ModelTraits, Price

if TYPE_CHECKING:
    from collections.abc import Collection

_FILE = "model_prices_and_context_window_backup.json"
_LONG = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


def traits_of(model: str) -> ModelTraits:
    """What is known of `model`, by its name with the provider or without."""
    rows = _rows()
    raw = rows.get(model) or rows.get(model.partition("/")[2])
    return ModelTraits() if raw is None else _to_traits(msgspec.json.decode(raw))


def known_models() -> Collection[str]:
    """The names in the map, with the provider or without; empty where there is no map."""
    return _rows().keys()


def package_folder() -> Path | None:
    """The folder in which litellm is installed; None if it isn't."""
    spec = find_spec("litellm")
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


@cache
def _rows() -> dict[str, msgspec.Raw]:
    folder = package_folder()
    try:
        content = b"{}" if folder is None else (folder / _FILE).read_bytes()
        return msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except (OSError, msgspec.DecodeError):
        return {}


def _to_traits(row: Any) -> ModelTraits:
    if not isinstance(row, dict):
        return ModelTraits()
    window = row.get("max_input_tokens")
    return ModelTraits(
        native_tools=row.get("supports_function_calling") is True,
        price=_to_price(row),
        context_window_tokens=window if isinstance(window, int) else None,
    )


def _to_price(row: dict[str, Any]) -> Price | None:
    price = _part(row, "")
    if price is None:
        return None
    steps = [int(match[1]) for name in row if (match := _LONG.fullmatch(name))]
    above_k = min(steps, default=None)
    long = None if above_k is None else _part(row, f"_above_{above_k}k_tokens")
    if above_k is None or long is None:
        return price
    return replace(price, long=LongPrice(above_tokens=above_k * 1000, price=long))


def _part(row: dict[str, Any], suffix: str) -> Price | None:
    input_usd = _usd(row, "input_cost_per_token" + suffix)
    output_usd = _usd(row, "output_cost_per_token" + suffix)
    if input_usd is None or output_usd is None:
        return None
    return Price(
        input_usd=input_usd,
        output_usd=output_usd,
        cached_usd=_usd(row, "cache_read_input_token_cost" + suffix),
        cache_write_usd=_usd(row, "cache_creation_input_token_cost" + suffix),
    )


def _usd(row: dict[str, Any], name: str) -> float | None:
    """US dollars per million tokens, out of dollars per token."""
    cost = row.get(name)
    return float(f"{cost * 1_000_000:.9g}") if isinstance(cost, int | float) else None
