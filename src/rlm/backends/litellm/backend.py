"""Every provider without a backend of its own, over the package litellm: an extra, large and slow to import. Retries,
budgets and prices stay ours. litellm reads the providers' keys from the process environment itself."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rlm.backends.counts import count_in
from rlm.backends.estimate import believed_usage
from rlm.backends.finishes import ending_of, said_reason
from rlm.backends.json_text import without_surrogates
from rlm.backends.litellm.names import check_name
from rlm.backends.litellm.prices import package_folder, traits_of
from rlm.backends.openai.request import give_back, to_message
from rlm.backends.provider import key_variable
from rlm.backends.reasoning import ReasoningMemory
from rlm.backends.redact import redact
from rlm.backends.refusals import Addressee, Refusal, to_error
from rlm.backends.retry import OnRetry, RateGate, RetryPolicy, call_with_retries, ignore_retry, parse_retry_after
from rlm.backends.tool_calls import with_ids, with_known_ids
from rlm.backends.turns import in_turns
from rlm.core.exceptions import (
    LOST_BY_GATEWAY,
    BackendConnectionError,
    BackendError,
    BadReplyError,
    ConfigError,
    ToolsRefusedError,
)
from rlm.core.extras import install_command
from rlm.core.types import Json, ModelReply, ModelRequest, ModelTraits, TokenUsage, ToolCall, ToolSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    from rlm.backends import BackendSetup
    from rlm.core.config import LiteLLMConfig

_BEFORE_IMPORT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it fetches its price map over the network
    "LITELLM_MODE": "PRODUCTION",  # else it loads .env from the working directory, which may be a stranger's
}

_OPAQUE = ("reasoning_content", "thinking_blocks", "provider_specific_fields", "extra_content")
"""The fields of messages and calls that providers want back."""


_CERTAIN = frozenset(
    {"HTTPStatusError", "ConnectError", "ConnectTimeout", "ClientConnectorError", "ClientConnectorDNSError"}
)
"""The errors behind one of litellm's that show a server's refusal, or that there was no connection: litellm gives the
status 500 or 408 to errors without any, too."""
_MOST_CAUSES = 12


class LiteLLMBackend:
    """Calls `litellm.acompletion`, not streamed; the model's name holds the provider, as in `gemini/gemini-3-pro`.

    The import begins in a thread when a model is first asked about, and the first call waits for it. A reply's time is
    bounded and its size is not, for litellm reads it whole.
    """

    on_loop = True

    def __init__(self, config: LiteLLMConfig, *, retry: RetryPolicy, on_retry: OnRetry = ignore_retry) -> None:
        self._config = config
        self._retry = retry
        self._on_retry = on_retry
        self._gate = RateGate()
        self._memory = ReasoningMemory()
        self._without_tools: set[str] = set()
        """The models that have refused tools."""

    @classmethod
    def from_setup(cls, setup: BackendSetup) -> LiteLLMBackend:
        """Make the backend from configuration.

        Raises:
            ConfigError: litellm isn't installed.
        """
        if package_folder() is None:
            raise ConfigError(
                "no provider of rlm itself has that name, and those of the package litellm aren't there without it\n"
                f"write openai/NAME or anthropic/NAME, or install it: {install_command('litellm')}"
            )
        config = setup.config.litellm
        return cls(config, retry=RetryPolicy(max_retries=config.max_retries), on_retry=setup.on_retry)

    def traits(self, model: str) -> ModelTraits:
        """From litellm's price map; a server at an address of the user's own may serve anything under any name.

        Raises:
            ConfigError: there is no such provider or model, as far as can be told without importing litellm.
            AuthenticationError: the provider's key isn't set, as far as that can be told.
        """
        if self._config.base_url is None:
            check_name(model, os.environ)
        _importing()
        traits = ModelTraits() if self._config.base_url is not None else traits_of(model)
        return replace(traits, native_tools=False) if model in self._without_tools else traits

    async def call(self, request: ModelRequest) -> ModelReply:
        complete = (await self._imported()).acompletion
        arguments = self._arguments(request)
        try:
            return await call_with_retries(
                lambda: self._attempt(complete, arguments, request),
                self._retry,
                self._on_retry,
                gate=self._gate,
                model=request.model,
            )
        except ToolsRefusedError:
            self._without_tools.add(request.model)
            raise

    async def aclose(self) -> None:
        """Connections are litellm's own, shared by all who use it in this process, and end with it."""

    async def _imported(self) -> ModuleType:
        try:
            return await asyncio.shield(asyncio.wrap_future(_importing()))
        except ImportError as error:
            raise BackendError(
                f"litellm is installed but can't be imported: {error}\ninstall it again: {install_command('litellm')}"
            ) from error

    def _arguments(self, request: ModelRequest) -> dict[str, Any]:
        optional = {
            "api_base": self._config.base_url,
            "temperature": request.temperature,
            "reasoning_effort": request.effort,
            "tools": [_to_tool(tool) for tool in request.tools] or None,
            "response_format": _to_format(request.response_schema),
        }
        return {
            "model": request.model,
            "messages": without_surrogates(self._messages(request)),
            "max_tokens": request.max_output_tokens,
            "timeout": self._config.request_timeout_s,
            "num_retries": 0,
            "max_retries": 0,
            "drop_params": True,  # what a provider has no word for, such as a temperature
            "_skip_mcp_handler": True,  # else a request with tools needs the package mcp
            **{name: value for name, value in optional.items() if value is not None},
        }

    def _messages(self, request: ModelRequest) -> list[dict[str, Json]]:
        written = []
        for message in in_turns(with_known_ids(request.messages)):
            written.append(to_message(message))
            if message.tool_calls:
                give_back(written[-1], self._memory.of(request, message))
        return written

    async def _attempt(self, complete: Any, arguments: dict[str, Any], request: ModelRequest) -> ModelReply:
        try:
            async with asyncio.timeout(self._config.request_timeout_s):
                return _to_reply(await complete(**arguments), request, self._memory)
        except BackendError:
            raise
        except TimeoutError as error:
            raise BackendConnectionError(
                f"{_who(request.model)}: no reply within {self._config.request_timeout_s:g} s (request_timeout_s)"
            ) from error
        except Exception as error:  # noqa: BLE001 - the boundary to litellm, which raises anything
            # Not chained: litellm's errors hold the request with its key.
            raise _translated(error, request.model) from None


def _importing() -> Future[ModuleType]:
    """litellm, being imported in a thread; once for all backends of this process, which may be a fork."""
    return _importing_in(os.getpid())


@cache
def _importing_in(_pid: int) -> Future[ModuleType]:
    with_one_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="import litellm")
    future = with_one_thread.submit(_load)
    with_one_thread.shutdown(wait=False)
    return future


def _load() -> ModuleType:
    """Import litellm as it may be imported here."""
    for name, value in _BEFORE_IMPORT.items():
        os.environ.setdefault(name, value)
    module = import_module("litellm")
    module.suppress_debug_info = True  # type: ignore[attr-defined]  # it prints to stdout, which is for the answer
    return module


def _translated(error: Exception, model: str) -> BackendError:
    """The error that an exception of litellm means, by its HTTP status: its class depends on the provider's wording."""
    status = getattr(error, "status_code", None)
    if not isinstance(status, int) or status < 400:
        return BadReplyError(f"{_who(model)}: {type(error).__name__}: {redact(str(error), _key(model))}")
    body = getattr(error, "body", None)
    words = [type(error).__name__, getattr(error, "code", None), body.get("code") if isinstance(body, dict) else None]
    headers = getattr(error, "litellm_response_headers", None) or {}
    refusal = Refusal(
        status=status,
        code=" ".join(str(word) for word in words if word),
        message=str(error),
        retry_after_s=parse_retry_after(headers.get("retry-after")),
    )
    variable = key_variable(_provider(model))
    translated = to_error(refusal, Addressee(host=_who(model), model=model, key_variable=variable, key=_key(model)))
    is_certain = status not in LOST_BY_GATEWAY and _CERTAIN.intersection(_causes(error))
    translated.billed = (status == 408 or status >= 500) and not is_certain
    return translated


def _causes(error: BaseException | None) -> Iterator[str]:
    """The names of the classes of an error and of what led to it, as far back as is worth it."""
    for _ in range(_MOST_CAUSES):
        if error is None:
            return
        yield type(error).__name__
        error = error.__cause__ or error.__context__


def _who(model: str) -> str:
    return f"{_provider(model)} (over litellm)"


def _provider(model: str) -> str:
    return model.partition("/")[0]


def _key(model: str) -> str | None:
    return os.environ.get(key_variable(_provider(model))) or None


def _to_tool(tool: ToolSpec) -> dict[str, Json]:
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def _to_format(schema: Mapping[str, Json] | None) -> dict[str, Json] | None:
    if schema is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema)}}


def _to_reply(response: Any, request: ModelRequest, memory: ReasoningMemory) -> ModelReply:
    choice = response.choices[0]
    text = choice.message.content or ""
    called = choice.message.tool_calls or ()
    calls = with_ids(
        (
            ToolCall(id=call.id or "", name=call.function.name or "", arguments=call.function.arguments or "")
            for call in called
        ),
        request,
        memory,
    )
    said = getattr(response, "usage", None)
    ending = ending_of(
        said_reason(choice.finish_reason),
        output_tokens=count_in(getattr(said, "completion_tokens", None)),
        cap_tokens=request.max_output_tokens,
    )
    if ending == "error":
        raise BadReplyError(f"{_who(request.model)}: the server gave up within its reply")
    usage = _to_usage(said, request, text, calls)
    thoughts = getattr(choice.message, "reasoning_content", None)
    reasoning = thoughts if isinstance(thoughts, str) else ""
    reply = ModelReply(text=text, usage=usage, tool_calls=calls, finish=ending, reasoning=reasoning)
    kept = [_opaque(part) for part in (choice.message, *called)]
    memory.keep(request, reply, tuple(kept) if any(kept) else ())
    return reply


def _opaque(part: Any) -> dict[str, Json]:
    """What has to go back with a message or a call, unread."""
    found = {name: getattr(part, name, None) for name in _OPAQUE}
    return {name: value for name, value in found.items() if value}


def _to_usage(usage: Any, request: ModelRequest, text: str, calls: tuple[ToolCall, ...]) -> TokenUsage:
    """The usage that the provider reported, with an estimate for what is missing or can't be."""
    said = count_in(getattr(usage, "prompt_tokens", None)), count_in(getattr(usage, "completion_tokens", None))
    used = believed_usage(request, text, calls, said)
    details = getattr(usage, "prompt_tokens_details", None)
    cached_tokens = min(count_in(getattr(details, "cached_tokens", None)) or 0, used.input_tokens)
    written_tokens = count_in(getattr(details, "cache_write_tokens", None)) or 0
    return replace(
        used,
        cached_tokens=cached_tokens,
        cache_write_tokens=min(written_tokens, used.input_tokens - cached_tokens),
    )
