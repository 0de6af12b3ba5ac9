"""`rlm models`: which models can be used from here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from typer import Option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.types import Price
    from rlm.runtime.reachable import ModelPlace


def models(as_json: Annotated[bool, Option("--json", help="One JSON array.")] = False) -> int:
    """List the models that can be used from here, with their prices and windows.

    Asks the providers whose keys are set, the server that OPENAI_BASE_URL names, and servers on the usual ports of this
    machine (Ollama, LM Studio, vLLM, llama.cpp), which costs nothing. rlm config set model NAME makes one your default.
    """
    import asyncio
    import os
    from dataclasses import asdict

    from rlm.cli.console import write_out
    from rlm.core.config import Config
    from rlm.runtime.reachable import reachable

    places = asyncio.run(reachable(Config.load().config, os.environ))
    shown = json.dumps([asdict(place) for place in places], indent=2) + "\n" if as_json else "".join(_lines(places))
    write_out(shown)
    return 0


def _lines(places: list[ModelPlace]) -> Iterator[str]:
    from rlm.core.plain import one_line

    for place in places:
        said = f": {one_line(place.problem, 200)}" if place.problem else ""
        yield f"# {one_line(place.name, 200)}{said}\n"
        if place.hint:
            yield f"#   to use it: {one_line(place.hint, 200)}\n"
        for model in place.models:
            window = f"window {model.window_tokens:,}" if model.window_tokens else ""
            facts = "  ".join(fact for fact in (_price(model.price), window) if fact)
            yield f"{one_line(model.label, 200):<40}  {facts}".rstrip() + "\n"


def _price(price: Price | None) -> str:
    if price is None:
        return ""
    return f"${price.input_usd:g} in, ${price.output_usd:g} out per million tokens"
