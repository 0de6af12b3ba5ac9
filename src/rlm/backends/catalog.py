"""What is known of models by name: price, window, and how they can be talked to, from `catalog.json` beside this file.
What is not in the table is unknown, and stays None: nothing is guessed from a name that looks alike."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from rlm.core.types import ModelTraits, Price

_SNAPSHOT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{8}|latest)$")
"""The date that names one release of a model."""


class PriceSource(Struct, frozen=True, forbid_unknown_fields=True):
    """Where rows of the table come from."""

    url: str
    read: str
    """The day on which the source was read, as YYYY-MM-DD."""
    through: str


class CatalogEntry(Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of one model."""

    price: Price
    source: str
    """The name of one of the table's sources."""
    window_tokens: int | None = None


class Catalog(Struct, frozen=True, forbid_unknown_fields=True):
    """The whole table."""

    sources: dict[str, PriceSource]
    providers: dict[str, dict[str, CatalogEntry]]
    without_native_tools: dict[str, list[str]]
    """Beginnings of the names of models that take no tools on the wire that is used here."""


def traits_of(provider: str, model: str) -> ModelTraits:
    """What is known of `model` at `provider`'s own API; a dated snapshot is what its undated name is."""
    catalog = load()
    native_tools = not model.startswith(tuple(catalog.without_native_tools.get(provider, ())))
    models = catalog.providers.get(provider, {})
    entry = models.get(model) or models.get(_SNAPSHOT.sub("", model))
    if entry is None:
        return ModelTraits(native_tools=native_tools)
    return ModelTraits(native_tools=native_tools, price=entry.price, context_window_tokens=entry.window_tokens)


@cache
def load() -> Catalog:
    """Read the table, once."""
    return msgspec.json.decode(files(__package__).joinpath("catalog.json").read_bytes(), type=Catalog)
