"""Finds the models that a run may use, with the backend and the price of each. Backends are made once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from rlm import backends
from rlm.core.calls.model import note_retry
from rlm.core.exceptions import AuthenticationError, ConfigError
from rlm.core.run import Model
from rlm.core.types import ModelTraits, Price

if TYPE_CHECKING:
    from rlm.core.budget import Budget
    from rlm.core.config import Config
    from rlm.core.interfaces import Backend
    from rlm.core.types import ModelReply, ModelRequest


class BackendPool:
    """One backend for each provider, made at first use; or the one that the user gave, for every name."""

    def __init__(self, given: Backend | None = None) -> None:
        self._given = given
        self._made: dict[str, Backend] = {}

    def model(self, label: str, config: Config) -> Model:
        """The model of that name and the way to it.

        Raises:
            ConfigError: there is no such backend, or its settings can't work.
            AuthenticationError: its key is missing.
        """
        provider, name = ("", label) if self._given else backends.resolve(label)
        backend = self._given or self._backend(provider, name, config)
        traits = backend.traits(name)
        configured = config.prices.get(label)
        price = traits.price if configured is None else Price(**msgspec.structs.asdict(configured))
        origin = _origin(provider, name, config)
        return Model(label=label, name=name, backend=backend, traits=traits, price=price, origin=origin)

    async def aclose(self) -> None:
        """Close every backend that was made here; the user's own stays open."""
        made, self._made = self._made, {}
        for backend in made.values():
            await backend.aclose()

    def _backend(self, provider: str, name: str, config: Config) -> Backend:
        if provider not in self._made:
            if provider == "litellm":
                backends.refuse_slips(name)
            setup = backends.BackendSetup(config=config, environ=os.environ, on_retry=note_retry)
            self._made[provider] = backends.create(provider, setup)
        return self._made[provider]


def _origin(provider: str, name: str, config: Config) -> str:
    """What answers under the name: replies of another server, or of another command, are not the same."""
    if provider in config.plugins:
        return repr(config.plugins[provider])
    section = getattr(config, provider, None)
    if isinstance(section, dict):
        return repr(section.get(name))
    return getattr(section, "base_url", None) or os.environ.get(f"{provider.upper()}_BASE_URL", "")


class Nobody:
    """A `Backend` where there is no model: code runs, and is told so when it asks one."""

    def traits(self, model: str) -> ModelTraits:  # noqa: ARG002 - the same for every name
        return ModelTraits()

    async def call(self, request: ModelRequest) -> ModelReply:  # noqa: ARG002
        """Raises:
        AuthenticationError: always.
        """
        raise AuthenticationError(f"no model is set and no key of a provider is there. {backends.ways()}")

    async def aclose(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunModels:
    """The models that one run may use."""

    main: Model
    sub: Model
    allowed: tuple[Model, ...]

    @classmethod
    def choose(cls, config: Config, pool: BackendPool) -> RunModels:
        """Resolve what the configuration names; without a model, take the first provider that is set up here.

        Raises:
            ConfigError: a name is wrong, or there is a cost budget and a model of unknown price.
            AuthenticationError: no model is set, and no provider is set up here.
        """
        label = config.model or backends.default_model(os.environ)
        if label is None:
            raise AuthenticationError(f"no model is set and no key of a provider is there. {backends.ways()}")
        main = pool.model(label, config)
        sub = main if config.sub_model is None else pool.model(config.sub_model, config)
        models = cls(main=main, sub=sub, allowed=tuple(pool.model(name, config) for name in config.allowed_models))
        models.check_prices(config.budget)
        return models

    @classmethod
    def choose_or_nobody(cls, config: Config, pool: BackendPool) -> RunModels:
        """`choose`, or a model whose every call says that no model is set and no provider is set up here.

        Raises:
            ConfigError: a name is wrong, or there is a cost budget and a model of unknown price.
            AuthenticationError: a model is set, and its key is missing.
        """
        if config.model is not None or backends.default_model(os.environ) is not None:
            return cls.choose(config, pool)
        free = Price(input_usd=0.0, output_usd=0.0)
        nobody = Model(label="none", name="none", backend=Nobody(), traits=ModelTraits(), price=free)
        return cls(main=nobody, sub=nobody, allowed=())

    def find(self, name: str | None) -> Model:
        """The model that guest code asked for; None is the sub-model.

        Raises:
            ConfigError: this run may not use it.
        """
        if name is None:
            return self.sub
        for model in self._all():
            if name in (model.label, model.name):
                return model
        labels = ", ".join(dict.fromkeys(model.label for model in self._all()))
        raise ConfigError(f"model {name!r} is not allowed in this run; allowed: {labels}")

    def _all(self) -> tuple[Model, ...]:
        return (self.main, self.sub, *self.allowed)

    def check_prices(self, budget: Budget) -> None:
        """Check that what the models cost is known, where that is to be capped.

        Raises:
            ConfigError: it isn't.
        """
        unknown = [model.label for model in self._all() if model.price is None]
        if budget.cost_budget_usd is not None and unknown:
            raise ConfigError(
                f"cost_budget_usd is set but the price of {unknown[0]} is unknown\n"
                "say what a million tokens cost, 0 for a model of your own: "
                f"rlm config set prices.{unknown[0]} 'input_usd=0, output_usd=0'"
            )
