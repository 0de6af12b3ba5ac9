"""Recognises model names that litellm can't reach, from files of its package and the environment, since importing it
takes seconds. What is not certain is left for litellm to decide."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING

import msgspec

from rlm.backends.litellm.prices import known_models, package_folder
from rlm.backends.provider import key_variable
from rlm.core.exceptions import AuthenticationError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_CLASS = re.compile(r"^class LlmProviders\b.*?\n(?=\S)", re.MULTILINE | re.DOTALL)
_MEMBER = re.compile(r'^\s+\w+ = "([^"]+)"', re.MULTILINE)
_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "cohere": ("COHERE_", "CO_"),
    "deepseek": ("DEEPSEEK_",),
    "gemini": ("GEMINI_", "GOOGLE_"),
    "groq": ("GROQ_",),
    "mistral": ("MISTRAL_",),
    "openrouter": ("OPENROUTER_", "OR_"),
    "perplexity": ("PERPLEXITY",),
    "together_ai": ("TOGETHER",),
    "xai": ("XAI_",),
}
"""The beginnings of the variables of which litellm requires one with a key, by provider."""
_WAYS = (
    "write provider/model: openai/NAME, also for servers that speak its wire (OPENAI_BASE_URL), anthropic/NAME, "
    "or one of litellm's, such as gemini/NAME"
)


def check_name(model: str, environ: Mapping[str, str]) -> None:
    """Refuse a name that litellm can't reach, where that is certain.

    Raises:
        ConfigError: there is no such provider, or the name has no provider and isn't that of a known model.
        AuthenticationError: no key of the provider is set.
    """
    provider, slash, _ = model.partition("/")
    known = _providers()
    if known and not slash and ":" not in model and model not in known_models():
        raise ConfigError(f"unknown model {model!r}, which names no provider\n{_WAYS}")
    if known and slash and provider not in known:
        close = get_close_matches(provider, known, n=1)
        meant = f"did you mean {close[0]}/...?\n" if close else ""
        raise ConfigError(f"model {model!r}: unknown provider {provider!r}\n{meant}{_WAYS}")
    wanted = _VARIABLES.get(provider) if slash else None
    if wanted is not None and not any(name.startswith(wanted) for name in environ):
        raise AuthenticationError(f"model {model!r} needs a key, and none is set\nset {key_variable(provider)}")


@cache
def _providers() -> frozenset[str]:
    """Every provider of litellm; empty where its package has changed, so that nothing is certain."""
    folder = package_folder()
    try:
        source = "" if folder is None else (folder / "types/utils.py").read_text(encoding="utf-8")
        content = b"{}" if folder is None else (folder / "llms/openai_like/providers.json").read_bytes()
        more = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except (OSError, UnicodeDecodeError, msgspec.DecodeError):
        return frozenset()
    members = _CLASS.search(source)
    if members is None:
        return frozenset()
    priced = {name.partition("/")[0] for name in known_models() if "/" in name}
    return frozenset(_MEMBER.findall(members[0])) | frozenset(more) | priced
