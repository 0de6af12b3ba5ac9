"""Looks for models that can be used from here: of providers whose keys are set, of servers on this machine, of
programs.

It asks servers what they have, which costs nothing; a key goes to its own provider, or where the settings say, alone.
"""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import msgspec

from rlm import backends
from rlm.core.exceptions import BackendConnectionError, RLMError
from rlm.core.types import Price

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping

    from rlm.core.config import Config

LOCAL_SERVERS = {
    "Ollama": "http://127.0.0.1:11434/v1",
    "LM Studio": "http://127.0.0.1:1234/v1",
    "vLLM": "http://127.0.0.1:8000/v1",
    "llama.cpp": "http://127.0.0.1:8080/v1",
}
"""Where servers of models are when nobody has told them otherwise."""
ANSWER_S = 5.0
"""How long a server may take to list its models."""
_CLAUDE = ("sonnet", "opus", "haiku")


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model that can be named, and what is known of it."""

    label: str
    price: Price | None = None
    window_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlace:
    """Where models are, and which."""

    name: str
    models: tuple[KnownModel, ...] = ()
    problem: str = ""
    """Why none can be listed; empty where they are."""
    hint: str = ""
    """What has to be set so that they can be used."""


async def reachable(config: Config, environ: Mapping[str, str]) -> list[ModelPlace]:
    """Every place with models that can be reached, and those that are set up but don't answer."""
    setup = backends.BackendSetup(config=config, environ=environ)
    asked: list[Coroutine[Any, Any, ModelPlace | None]]
    asked = [_provider(provider, setup) for provider in ("openai", "anthropic") if _is_set_up(provider, setup)]
    set_up = {_base_url("openai", setup).rstrip("/"), _base_url("openai", setup).rstrip("/") + "/v1"}
    asked += [_server(name, url, config) for name, url in LOCAL_SERVERS.items() if url not in set_up]
    found = [place for place in await asyncio.gather(*asked) if place is not None]
    return [*found, *_programs(config)]


async def listed(provider: str, setup: backends.BackendSetup) -> tuple[str, ...] | None:
    """The names that the server of a provider lists; None where it lists none, though it answers.

    Raises:
        RLMError: it can't be reached in time, or refuses the key.
    """
    backend: Any = backends.create(provider, setup)
    try:
        async with asyncio.timeout(ANSWER_S):
            names: tuple[str, ...] | None = await backend.models()
    except TimeoutError as error:
        raise BackendConnectionError(f"no answer within {ANSWER_S:g} s") from error
    finally:
        await backend.aclose()
    return names


def _base_url(provider: str, setup: backends.BackendSetup) -> str:
    return getattr(setup.config, provider).base_url or setup.environ.get(f"{provider.upper()}_BASE_URL", "")


def _is_set_up(provider: str, setup: backends.BackendSetup) -> bool:
    return bool(setup.environ.get(f"{provider.upper()}_API_KEY") or _base_url(provider, setup))


async def _provider(provider: str, setup: backends.BackendSetup) -> ModelPlace:
    url = _base_url(provider, setup)
    name = f"{provider} at {url}" if url else f"{provider} (its key is set)"
    try:
        names = await listed(provider, setup)
    except RLMError as error:
        return ModelPlace(name=name, problem=str(error).partition("\n")[0])
    if names is None:
        return ModelPlace(name=name, problem="it answers, and lists no models")
    backend = backends.create(provider, setup)
    models = tuple(_known(f"{provider}/{each}", backend.traits(each), setup.config) for each in sorted(names))
    await backend.aclose()
    return ModelPlace(name=name, models=models)


async def _server(name: str, url: str, config: Config) -> ModelPlace | None:
    """A server of this machine that nobody has named; no key goes there."""
    given = msgspec.structs.replace(config.openai, base_url=url)
    setup = backends.BackendSetup(config=msgspec.structs.replace(config, openai=given), environ={})
    try:
        names = await listed("openai", setup)
    except RLMError:
        return None
    if not names:
        return None
    models = tuple(_known(f"openai/{each}", None, config) for each in sorted(names))
    return ModelPlace(name=f"{name}, or what else is at {url}", models=models, hint=f"export OPENAI_BASE_URL={url}")


def _known(label: str, traits: Any, config: Config) -> KnownModel:
    priced = config.prices.get(label)
    price = getattr(traits, "price", None) if priced is None else Price(**msgspec.structs.asdict(priced))
    return KnownModel(label=label, price=price, window_tokens=getattr(traits, "context_window_tokens", None))


def _programs(config: Config) -> list[ModelPlace]:
    found = []
    if shutil.which(config.claude_cli.command):
        models = tuple(KnownModel(label=f"claude-cli/{name}") for name in _CLAUDE)
        found.append(ModelPlace(name="the installed claude, with its own login", models=models))
    if config.cli:
        found.append(
            ModelPlace(name="commands of yours", models=tuple(KnownModel(label=f"cli/{name}") for name in config.cli))
        )
    if find_spec("litellm") is not None:
        found.append(
            ModelPlace(name="litellm", problem="provider/model of any provider whose key is set, as gemini/...")
        )
    return [*found, ModelPlace(name="a scripted stand-in, no language model", models=(KnownModel(label="demo"),))]
