"""Names that litellm can't reach are refused before it is imported; what isn't certain is left to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlm.backends.litellm import names as litellm_names
from rlm.backends.litellm.names import check_name
from rlm.backends.litellm.prices import known_models
from rlm.core.exceptions import AuthenticationError, ConfigError


@pytest.mark.parametrize(
    ("model", "said"),
    [("foo/bar", "unknown provider 'foo'"), ("gemin/x", "gemini/..."), ("nonsense", "names no provider")],
)
def test_what_is_certain_is_refused_with_what_to_write(model: str, said: str) -> None:
    with pytest.raises(ConfigError, match="openai/NAME") as refused:
        check_name(model, {})
    assert said in str(refused.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(AuthenticationError, match="set MISTRAL_API_KEY"):
        check_name("mistral/mistral-large", {"PATH": "/bin"})
    check_name("mistral/mistral-large", {"MISTRAL_API_KEY": "k"})
    check_name("gemini/gemini-2.5-pro", {"GOOGLE_API_KEY": "k"})


@pytest.mark.parametrize("model", ["bedrock/x", "hosted_vllm/m", "vertex_ai/x", "ollama/q", "publicai/x", "ft:my-own"])
def test_what_may_work_without_a_key_goes_on(model: str) -> None:
    check_name(model, {})


def test_every_name_of_the_price_map_goes_on() -> None:
    for model in known_models():
        check_name(model, {prefix: "" for prefixes in litellm_names._VARIABLES.values() for prefix in prefixes})


def test_another_layout_of_the_package_refuses_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(litellm_names, "package_folder", lambda: tmp_path)
    litellm_names._providers.cache_clear()
    try:
        check_name("foo/bar", {})
    finally:
        litellm_names._providers.cache_clear()
