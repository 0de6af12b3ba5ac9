"""Model names, the table of backends, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rlm.backends import BACKENDS, BackendSetup, ModelName, create, default_model, resolve, ways
from rlm.core.config import Config
from rlm.core.exceptions import ConfigError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai/gpt-5", ModelName("openai", "gpt-5")),
        ("openai/meta-llama/llama-3", ModelName("openai", "meta-llama/llama-3")),
        ("gpt-5-mini", ModelName("openai", "gpt-5-mini")),
        ("o3", ModelName("openai", "o3")),
        ("demo", ModelName("demo", "demo")),
        ("scripted", ModelName("scripted", "scripted")),
        ("scripted/replies.json", ModelName("scripted", "replies.json")),
    ],
)
def test_a_name_resolves_to_provider_and_model(name: str, expected: ModelName) -> None:
    assert resolve(name) == expected
    assert resolve(str(resolve(name))) == expected


@pytest.mark.parametrize(
    "name", ["claude-sonnet-5", "anthropic/claude-sonnet-5", "mistral-large", "openrouter", "ollama/x"]
)
def test_a_backend_that_is_not_there_is_named_with_the_ways_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match="this version has no backend") as caught:
        resolve(name)
    assert ways() in str(caught.value)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize("name", ["openai/", "scripted/", ""])
def test_a_name_without_a_model_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        resolve(name)


@pytest.mark.parametrize("provider", sorted(BACKENDS))
async def test_every_row_of_the_table_makes_a_backend(provider: str) -> None:
    backend = create(provider, BackendSetup(config=Config(), environ={"OPENAI_API_KEY": "k" * 20}))
    assert backend.traits("any").native_tools in (True, False)
    await backend.aclose()


@pytest.mark.parametrize("variable", ["OPENAI_API_KEY", "OPENAI_BASE_URL"])
def test_the_default_model_is_a_real_one(variable: str) -> None:
    model = default_model({variable: "set"})
    assert model is not None
    assert resolve(model).provider == "openai"


def test_there_is_no_default_model_without_a_provider() -> None:
    assert default_model({"OPENAI_API_KEY": ""}) is None


def test_importing_the_table_imports_no_backend() -> None:
    code = "import sys, rlm.backends; print([m for m in ('aiohttp', 'rlm.backends.openai') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
