"""litellm beyond the contract: how it is imported, what its price map says, and what stands where it isn't."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from rlm.backends import BackendSetup, create
from rlm.backends.litellm.backend import LiteLLMBackend, _to_reply
from rlm.backends.litellm.prices import package_folder, traits_of
from rlm.backends.retry import RetryPolicy
from rlm.core.config import Config, LiteLLMConfig
from rlm.core.exceptions import BackendError, ConfigError
from rlm.core.types import Message, ModelRequest

SETUP = BackendSetup(config=Config(), environ={})

FRESH = """
import asyncio, os, sys
from rlm.backends import BackendSetup, create
from rlm.core.config import Config
backend = create("litellm", BackendSetup(config=Config(), environ={}))
backend.traits("hosted_vllm/m")
from rlm.backends.litellm.backend import _importing
module = _importing().result()
print(os.environ["LITELLM_LOCAL_MODEL_COST_MAP"], module.suppress_debug_info, module.callbacks)
print("SMUGGLED" in os.environ)
"""


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlm.backends.litellm.prices.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"pip install 'litellm"):
        create("litellm", SETUP)


def test_it_is_imported_without_network_chatter_or_a_strangers_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SMUGGLED=1\nOPENAI_BASE_URL=http://127.0.0.1:9/\n")
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split() == ["True", "True", "[]", "False"]


def test_reasoning_and_signatures_go_back_with_the_calls_they_led_to() -> None:
    backend = LiteLLMBackend(LiteLLMConfig(), retry=RetryPolicy())
    signed = {"thought_signature": "c2ln"}
    function = SimpleNamespace(name="f", arguments="")
    call = SimpleNamespace(id="call__thought__" + "x" * 90, function=function, provider_specific_fields=signed)
    message = SimpleNamespace(content=None, reasoning_content="I think.", tool_calls=[call])
    response = SimpleNamespace(choices=[SimpleNamespace(message=message, finish_reason="tool_calls")])
    asked = ModelRequest(model="gemini/m", messages=(Message(role="user", content="hi"),), max_output_tokens=9)
    reply = _to_reply(response, asked, backend._memory)
    said = Message(role="assistant", content="", tool_calls=reply.tool_calls)
    _, sent = backend._arguments(replace(asked, messages=(*asked.messages, said)))["messages"]
    assert sent["reasoning_content"] == "I think."
    assert sent["tool_calls"][0]["provider_specific_fields"] == signed
    assert sent["tool_calls"][0]["function"]["arguments"] == "{}"
    assert len(sent["tool_calls"][0]["id"]) == 9


def test_the_price_map_is_read_without_the_package() -> None:
    code = (
        "import sys; from rlm.backends.litellm.prices import traits_of; print(traits_of('gemini/gemini-2.5-pro').price)"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; print('litellm' in sys.modules)"], capture_output=True, text=True
    )
    assert "input_usd=1.25" in done.stdout
    assert done.stdout.strip().endswith("False")


def test_traits_come_from_the_map_with_the_price_of_long_prompts() -> None:
    traits = traits_of("gemini/gemini-2.5-pro")
    assert traits.price is not None
    assert traits.price.long is not None
    assert traits.price.long.above_tokens == 200_000
    assert traits.context_window_tokens == 1_048_576
    assert traits.native_tools


@pytest.mark.parametrize("model", ["hosted_vllm/anything", "gemini/none-such", "", "sample_spec/"])
def test_what_the_map_does_not_have_is_unknown(model: str) -> None:
    assert traits_of(model).price is None


def test_a_map_that_is_not_there_knows_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from rlm.backends.litellm import prices as litellm_prices

    monkeypatch.setattr(litellm_prices, "package_folder", lambda: tmp_path)
    litellm_prices._rows.cache_clear()
    assert traits_of("gemini/gemini-2.5-pro").price is None
    litellm_prices._rows.cache_clear()


def test_an_address_of_the_users_own_has_no_known_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlm.backends.litellm.backend._importing", Future)
    config = Config(litellm=LiteLLMConfig(base_url="http://127.0.0.1:9/v1"))
    assert create("litellm", BackendSetup(config=config, environ={})).traits("gemini/gemini-2.5-pro").price is None
    assert package_folder() is not None


async def test_a_package_that_cannot_be_imported_is_a_failed_call(monkeypatch: pytest.MonkeyPatch) -> None:
    broken: Future[ModuleType] = Future()
    broken.set_exception(ImportError("no tokenizers"))
    monkeypatch.setattr("rlm.backends.litellm.backend._importing", lambda: broken)
    ask = ModelRequest(model="gemini/x", messages=(Message(role="user", content="hi"),), max_output_tokens=9)
    with pytest.raises(BackendError, match="no tokenizers"):
        await create("litellm", SETUP).call(ask)
