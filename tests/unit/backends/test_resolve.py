"""Model names, the table of backends, and what importing it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest

from rlm.backends import BACKENDS, BackendSetup, ModelName, create, default_model, resolve
from rlm.backends.catalog import traits_of
from rlm.core.config import ClaudeCliConfig, CommandConfig, Config
from rlm.core.exceptions import ConfigError
from tests.support.plugins import installed

KEYS = {"OPENAI_API_KEY": "k" * 20, "ANTHROPIC_API_KEY": "k" * 20}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("openai/gpt-5", ModelName("openai", "gpt-5")),
        ("openai/meta-llama/llama-3", ModelName("openai", "meta-llama/llama-3")),
        ("gpt-5-mini", ModelName("openai", "gpt-5-mini")),
        ("o3", ModelName("openai", "o3")),
        ("claude-sonnet-5-5", ModelName("anthropic", "claude-sonnet-5-5")),
        ("anthropic/claude-sonnet-5-5", ModelName("anthropic", "claude-sonnet-5-5")),
        ("litellm/openai/x", ModelName("litellm", "openai/x")),
        ("demo", ModelName("demo", "demo")),
        ("scripted", ModelName("scripted", "scripted")),
        ("scripted/replies.json", ModelName("scripted", "replies.json")),
    ],
)
def test_a_name_resolves_to_provider_and_model(name: str, expected: ModelName) -> None:
    assert resolve(name) == expected
    assert resolve(str(resolve(name))) == expected


@pytest.mark.parametrize(
    "name", ["gemini/gemini-3-pro", "ollama/x", "bedrock/anthropic.claude-opus-5", "mistral-large"]
)
def test_a_provider_without_a_row_is_litellms(name: str) -> None:
    assert resolve(name) == ModelName("litellm", name)
    assert str(resolve(name)) == f"litellm/{name}"


@pytest.mark.parametrize("name", ["openai/", "scripted/", "/x", ""])
def test_a_name_without_a_model_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="Ways to get a model"):
        resolve(name)


@pytest.mark.parametrize("provider", sorted(BACKENDS))
async def test_every_row_of_the_table_makes_a_backend(
    provider: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = tmp_path / "record.jsonl"  # `replay` reads its model's name as a file
    record.touch()
    monkeypatch.setattr("rlm.backends.litellm.backend._importing", Future)  # its import is the contract tests' business
    command = CommandConfig(command=("true",))
    config = Config(cli={str(record): command}, claude_cli=ClaudeCliConfig(command="true"))
    backend = create(provider, BackendSetup(config=config, environ=KEYS | {"PATH": os.defpath}))
    model = "hosted_vllm/m" if provider == "litellm" else str(record)
    assert backend.traits(model).native_tools in (True, False)
    await backend.aclose()


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
@pytest.mark.parametrize("variable", ["API_KEY", "BASE_URL"])
def test_the_default_model_is_a_real_one(provider: str, variable: str) -> None:
    model = default_model({f"{provider.upper()}_{variable}": "set"})
    assert model is not None
    assert resolve(model).provider == provider
    assert traits_of(*resolve(model)).price is not None


def test_openai_is_the_first_choice() -> None:
    model = default_model(KEYS)
    assert model is not None
    assert resolve(model).provider == "openai"


def test_there_is_no_default_model_without_a_provider() -> None:
    assert default_model({"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": ""}) is None


def test_importing_the_table_imports_no_backend() -> None:
    heavy = ("aiohttp", "litellm", "rlm.backends.openai")
    code = f"import sys, rlm.backends; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_plug_in_is_a_provider_and_only_when_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entries = {"rlm.backends": {"toy": "toy_models:Toy", "wild": "wild_models:Wild", "raw": "toy_models:RAW"}}
    source = "class Toy:\n    @classmethod\n    def from_setup(cls, setup):\n        return 'a toy'\nRAW = 1"
    installed(monkeypatch, tmp_path, "toy_models", entries, source)
    setup = BackendSetup(config=Config(), environ={})
    assert resolve("toy/fast") == ModelName("toy", "fast")
    assert create("toy", setup) == "a toy"
    assert resolve("toys/fast").provider == "litellm"
    with pytest.raises(ConfigError, match="'raw' is not a backend"):
        create("raw", setup)
    with pytest.raises(ConfigError, match="'wild' of toy_models can't be loaded"):
        create(resolve("wild/x").provider, setup)


def test_a_plug_in_takes_no_name_of_the_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    installed(monkeypatch, tmp_path, "false_demo", {"rlm.backends": {"demo": "false_demo:Demo"}}, "raise RuntimeError")
    assert type(create("demo", BackendSetup(config=Config(), environ={}))).__name__ == "DemoBackend"
