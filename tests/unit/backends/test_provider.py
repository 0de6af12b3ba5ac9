"""What the backends over HTTP have in common beyond the contract: what they learn, and what settings change."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from rlm.backends import BackendSetup
from rlm.backends.anthropic.backend import AnthropicBackend
from rlm.backends.openai.backend import OpenAIBackend
from rlm.backends.provider import ProviderSettings
from rlm.core.config import Config, ProviderConfig
from rlm.core.exceptions import AuthenticationError, BadRequestError, ConfigError
from rlm.core.types import Message, ModelRequest
from tests.servers.anthropic_server import anthropic_server
from tests.servers.anthropic_server import refusal as anthropic_refusal
from tests.servers.faults import together
from tests.servers.openai_server import completion, openai_server, refusal

ASK = ModelRequest(model="m", messages=(Message(role="user", content="hi"),), max_output_tokens=64)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("said", "asked", "field"),
    [
        ("Unsupported value: 'temperature' does not support 0.2", replace(ASK, temperature=0.2), "temperature"),
        ("response_format is not available", replace(ASK, response_schema=SCHEMA), "response_format"),
        ("Your organization must be verified to stream this model", ASK, "stream"),
        ("Unrecognized request argument supplied: stream_options", ASK, "stream_options"),
    ],
)
async def test_what_a_server_refuses_by_name_is_left_out_from_then_on(
    said: str, asked: ModelRequest, field: str
) -> None:
    async with openai_server(refusal(400, said)) as server:
        backend = OpenAIBackend(ProviderSettings(base_url=server.base_url))
        await backend.call(asked)
        await backend.call(asked)
        await backend.call(replace(asked, model="another"))
        await backend.aclose()
        assert [field in each.body for each in server.requests] == [True, False, False, True]


async def test_what_calls_side_by_side_are_refused_is_left_out_of_each() -> None:
    asked = replace(ASK, temperature=0.2)
    async with openai_server() as server:
        no = together(5, refusal(400, "no temperature, please"))
        backend = OpenAIBackend(ProviderSettings(base_url=server.base_url))
        server.default = lambda received: (no if "temperature" in received.body else completion("ok"))(received)
        replies = await asyncio.gather(*(backend.call(asked) for _ in range(5)))
        await backend.aclose()
    assert [reply.text for reply in replies] == ["ok"] * 5
    assert len(server.requests) == 10


async def test_a_request_without_it_is_refused_for_good() -> None:
    async with openai_server(refusal(400, "no temperature, please")) as server:
        backend = OpenAIBackend(ProviderSettings(base_url=server.base_url))
        with pytest.raises(BadRequestError, match="temperature"):
            await backend.call(ASK)
        await backend.aclose()
        assert len(server.requests) == 1


async def test_anthropics_schema_can_be_refused_too() -> None:
    asked = replace(ASK, response_schema=SCHEMA)
    async with anthropic_server(anthropic_refusal(400, "output_config: Schema is too complex")) as server:
        backend = AnthropicBackend(ProviderSettings(base_url=server.base_url))
        await backend.call(asked)
        await backend.aclose()
        assert ["output_config" in each.body for each in server.requests] == [True, False]


async def test_anthropic_gets_its_version_and_its_key_with_any_form_of_the_address() -> None:
    async with anthropic_server() as server:
        for base_url in (server.base_url, f"{server.base_url}/", f"{server.base_url}/v1"):
            backend = AnthropicBackend(ProviderSettings(base_url=base_url, key="sk-ant-1"))
            await backend.call(ASK)
            await backend.aclose()
        headers = [each.headers for each in server.requests]
    assert {each["x-api-key"] for each in headers} == {"sk-ant-1"}
    assert {each["anthropic-version"] for each in headers} == {"2023-06-01"}
    assert not any("Authorization" in each for each in headers)


def setup(environ: dict[str, str], **section: Any) -> BackendSetup:
    return BackendSetup(config=Config(anthropic=ProviderConfig(**section)), environ=environ)


@pytest.mark.parametrize("environ", [{}, {"ANTHROPIC_API_KEY": " "}, {"OPENAI_API_KEY": "k" * 20}])
def test_anthropic_itself_needs_its_key(environ: dict[str, str]) -> None:
    with pytest.raises(AuthenticationError, match="ANTHROPIC_API_KEY"):
        AnthropicBackend.from_setup(setup(environ))


def test_an_address_that_is_none_names_its_section() -> None:
    with pytest.raises(ConfigError, match=r"anthropic\.base_url"):
        AnthropicBackend.from_setup(setup({}, base_url="localhost:1"))


async def test_the_configuration_decides_address_and_streaming() -> None:
    async with anthropic_server() as server:
        backend = AnthropicBackend.from_setup(setup({}, base_url=server.base_url, stream=False, prompt_cache=False))
        await backend.call(replace(ASK, messages=(Message(role="system", content="s"), *ASK.messages)))
        await backend.aclose()
        assert "stream" not in server.requests[0].body
        assert "cache_control" not in str(server.requests[0].body)
