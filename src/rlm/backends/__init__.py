"""The table of backends and the rules for model names. It imports no backend until one is asked for, and knows
nothing of how any of them works. Other packages add backends by the entry points `rlm.backends`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple, cast

from rlm.backends.retry import OnRetry, ignore_retry
from rlm.core import plugins
from rlm.core.exceptions import ConfigError
from rlm.core.extras import install_command

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rlm.core.config import Config
    from rlm.core.interfaces import Backend

BACKENDS: Mapping[str, str] = {
    "anthropic": "rlm.backends.anthropic.backend:AnthropicBackend",
    "claude-cli": "rlm.backends.claude_cli.backend:ClaudeCliBackend",
    "cli": "rlm.backends.cli_command:CommandBackend",
    "demo": "rlm.backends.demo:DemoBackend",
    "litellm": "rlm.backends.litellm.backend:LiteLLMBackend",
    "openai": "rlm.backends.openai.backend:OpenAIBackend",
    "replay": "rlm.backends.replay:ReplayBackend",
    "scripted": "rlm.backends.scripted:ScriptedFiles",
}
"""Provider to `module:Class`; each class has `from_setup`, as those of plug-ins have."""

DEFAULT_OPENAI_MODEL = "gpt-5-mini"
DEFAULT_ANTHROPIC_MODEL = "claude-sonnet-5-5"

_BARE_NAMES = ((re.compile(r"gpt-|o\d"), "openai"), (re.compile(r"claude-"), "anthropic"), (re.compile(r""), "litellm"))


class ModelName(NamedTuple):
    """A model and the backend that reaches it."""

    provider: str
    model: str

    def __str__(self) -> str:
        return self.model if self.provider == self.model else f"{self.provider}/{self.model}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSetup:
    """What a backend is made from."""

    config: Config
    environ: Mapping[str, str]
    """Keys are read from here and from nowhere else."""
    on_retry: OnRetry = ignore_retry


def resolve(name: str) -> ModelName:
    """Tell provider and model from `provider/name`, or from a bare name by its family.

    A provider that is neither in the table nor a plug-in is litellm's, with its name. Raises:
        ConfigError: a part of the name is missing.
    """
    if name in ("demo", "scripted"):
        return ModelName(name, name)
    provider, slash, model = name.partition("/")
    if not slash:
        provider, model = next(p for pattern, p in _BARE_NAMES if pattern.match(name)), name
    if not provider or not model:
        raise ConfigError(f"model {name!r} names no model: write {provider or 'openai'}/<model>. {ways()}")
    is_ours = provider in BACKENDS or provider in plugins.names("rlm.backends")
    return ModelName(provider, model) if is_ours else ModelName("litellm", name)


def refuse_slips(name: str) -> None:
    """Refuse the name of a model of litellm's that is a slip in that of another provider, where litellm isn't there to
    tell which others there are.

    Raises:
        ConfigError: it is; says which was meant.
    """
    from difflib import get_close_matches  # only where a name is none of ours

    provider = name.partition("/")[0]
    close = get_close_matches(provider, [each for each in BACKENDS if each != provider], n=1, cutoff=0.7)
    if close and find_spec("litellm") is None:
        raise ConfigError(f"model {name!r}: no provider has the name {provider!r}\ndid you mean {close[0]}/...?")


def create(provider: str, setup: BackendSetup) -> Backend:
    """Make the backend of `provider`, which `resolve` has named; it connects to nothing yet.

    Raises:
        ConfigError: its settings can't work, or it is a plug-in that can't be loaded.
        AuthenticationError: it needs a key that isn't there.
    """
    if provider in BACKENDS:
        module, _, class_name = BACKENDS[provider].partition(":")
        kind = getattr(import_module(module), class_name)
    else:
        kind = plugins.load("rlm.backends", provider)
        if not hasattr(kind, "from_setup"):
            raise ConfigError(f"the plug-in {provider!r} is not a backend: its entry point must have from_setup")
    return cast("Callable[[BackendSetup], Backend]", kind.from_setup)(setup)


def default_model(environ: Mapping[str, str]) -> str | None:
    """The model to use where none is set: the first real provider that is there, never `demo`; None: there is none."""
    if environ.get("OPENAI_API_KEY") or environ.get("OPENAI_BASE_URL"):
        return f"openai/{DEFAULT_OPENAI_MODEL}"
    if environ.get("ANTHROPIC_API_KEY") or environ.get("ANTHROPIC_BASE_URL"):
        return f"anthropic/{DEFAULT_ANTHROPIC_MODEL}"
    return None


def ways() -> str:
    """The ways to get a model, as text for people."""
    return (
        "Ways to get a model:\n"
        "  set OPENAI_API_KEY and use --model openai/<model>\n"
        "  set ANTHROPIC_API_KEY and use --model anthropic/<model>\n"
        "  set OPENAI_BASE_URL to a server that speaks the OpenAI wire (vLLM, Ollama, llama.cpp, OpenRouter)"
        " and use --model openai/<model>\n"
        f"  {install_command('litellm')}, set the provider's key and use --model <provider>/<model>: gemini,"
        " mistral, bedrock and many more\n"
        "  install Claude Code, log in, and use --model claude-cli/sonnet: on your own plan, with no key\n"
        "  --model demo: a scripted stand-in, no language model, for a look without key or network"
    )
