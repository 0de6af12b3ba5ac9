"""What is found of models from here, and addresses and names that are nearly right."""

from __future__ import annotations

import asyncio
import json

import pytest

from rlm import backends
from rlm.core.config import Config, PriceConfig
from rlm.core.exceptions import ConfigError
from rlm.runtime import reachable
from tests.integration.cli import User, fenced
from tests.servers.openai_server import completion, openai_server, refusal


async def test_an_address_without_its_version_is_found_and_remembered(user: User) -> None:
    async with openai_server(completion(fenced("x = 1")), completion(fenced("FINAL(x)"))) as server:
        environ = {"OPENAI_BASE_URL": server.base_url.removesuffix("/v1")}
        done = await asyncio.to_thread(user.rlm, "run", "?", "-m", "openai/x", "--dialect", "code", **environ)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert [request.path for request in server.requests] == ["/v1/chat/completions"] * 2


async def test_doctor_connects_before_it_says_that_a_run_could_work(user: User) -> None:
    async with openai_server() as server:
        environ = {"OPENAI_BASE_URL": server.base_url, "RLM_MODEL": "openai/qwen", "RLM_ENVIRONMENT": "local"}
        server.models = ["llama", "mistral"]
        there = await asyncio.to_thread(user.rlm, "doctor", "--json", **environ)
    gone = await asyncio.to_thread(user.rlm, "doctor", "--json", **environ)
    [model] = [check for check in json.loads(there.stdout)["checks"] if check["name"] == "model"]
    assert (there.returncode, model["ok"]) == (0, True)
    assert "doesn't list that model: it has llama, mistral" in model["detail"]
    [model] = [check for check in json.loads(gone.stdout)["checks"] if check["name"] == "model"]
    assert (gone.returncode, model["ok"]) == (4, False)
    assert "it can't be reached" in model["detail"]


async def test_models_are_listed_with_prices_and_servers_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    async with openai_server(refusal(401)) as set_up, openai_server() as local:
        set_up.models, local.models = ["b", "a"], ["qwen"]
        monkeypatch.setattr(reachable, "LOCAL_SERVERS", {"Ollama": local.base_url, "gone": "http://127.0.0.1:9/v1"})
        config = Config(prices={"openai/a": PriceConfig(input_usd=0, output_usd=1)})
        found = await reachable.reachable(config, {"OPENAI_BASE_URL": set_up.base_url})
    first, second = found[:2]
    assert [model.label for model in first.models] == ["openai/a", "openai/b"]
    assert first.models[0].price is not None
    assert (second.models[0].label, second.hint) == ("openai/qwen", f"export OPENAI_BASE_URL={local.base_url}")
    assert found[-1].models[0].label == "demo"


def test_a_slip_in_the_name_of_a_provider_is_told_without_litellm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"no provider has the name 'opnai'\ndid you mean openai/"):
        backends.refuse_slips("opnai/gpt-5")
    backends.refuse_slips("gemini/gemini-3-pro")
