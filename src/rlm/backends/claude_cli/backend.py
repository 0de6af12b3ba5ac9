"""Models through the installed `claude`, with its own login: no key is needed, and none of the user's other keys is
passed on. Each call is a conversation of its own, in fenced code; what it cost is what the program says."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from rlm.backends.catalog import traits_of
from rlm.backends.claude_cli.pool import ClaudePool
from rlm.backends.claude_cli.process import Launch, ProgramKind, missing
from rlm.backends.claude_cli.wire import system_prompt, user_line
from rlm.backends.retry import OnRetry, RetryPolicy, call_with_retries, ignore_retry
from rlm.core.exceptions import BackendConnectionError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.backends import BackendSetup
    from rlm.core.config import ClaudeCliConfig
    from rlm.core.types import ModelReply, ModelRequest, ModelTraits

PASSED_ON = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "SHELL"}
    | {"XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}
    | {"NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "SSL_CERT_DIR"}
    | {"CLAUDE_CONFIG_DIR", "CLAUDE_CODE_OAUTH_TOKEN"}
)
"""The variables that the program gets besides `[claude_cli] environment`; an ANTHROPIC_API_KEY meant for other uses
would be billed in place of the plan."""


class ClaudeCliBackend:
    """Calls models by a pool of warm `claude -p` processes.

    The output cap holds for each call: the program would continue a reply that reaches it, and is ended instead.
    """

    on_loop = True

    def __init__(
        self, config: ClaudeCliConfig, environ: Mapping[str, str], *, on_retry: OnRetry = ignore_retry
    ) -> None:
        names = PASSED_ON.union(config.environment)
        env = {name: value for name, value in environ.items() if name in names}
        launch = Launch(program=config.command, env=env, idle_s=config.idle_timeout_s)
        self._config = config
        self._pool = ClaudePool(launch, config.processes)
        self._retry = RetryPolicy(max_retries=config.max_retries)
        self._on_retry = on_retry

    @classmethod
    def from_setup(cls, setup: BackendSetup) -> ClaudeCliBackend:
        """Make the backend from configuration; it starts nothing yet.

        Raises:
            ConfigError: the program isn't installed.
        """
        config = setup.config.claude_cli
        if shutil.which(config.command, path=setup.environ.get("PATH")) is None:
            raise ConfigError(missing(config.command))
        return cls(config, setup.environ, on_retry=setup.on_retry)

    def traits(self, model: str) -> ModelTraits:
        """Anthropic's traits, for a full name; what a short one such as `sonnet` stands for, the program decides."""
        return replace(traits_of("anthropic", model), native_tools=False)

    async def call(self, request: ModelRequest) -> ModelReply:
        kind = ProgramKind(
            model=request.model,
            system=system_prompt(request.messages),
            max_output_tokens=stepped(request.max_output_tokens),
        )
        line = user_line(request.messages)
        return await call_with_retries(lambda: self._attempt(kind, line), self._retry, self._on_retry)

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def _attempt(self, kind: ProgramKind, line: bytes) -> ModelReply:
        async with self._pool.process(kind) as process:
            try:
                async with asyncio.timeout(self._config.request_timeout_s):
                    return await process.ask(line)
            except TimeoutError as error:
                raise BackendConnectionError(
                    f"claude: no reply within {self._config.request_timeout_s:g} s (request_timeout_s)"
                ) from error


def stepped(max_output_tokens: int) -> int:
    """The largest of 512, 768, 1024, 1536, 2048, ... that the cap has room for; a smaller cap as it is.

    The cap is set when a process starts, and shrinks by odd amounts as a budget runs out: with few values, processes
    serve more than one call.
    """
    if max_output_tokens < 512:
        return max_output_tokens
    power = 1 << (max_output_tokens.bit_length() - 1)
    return power * 3 // 2 if max_output_tokens >= power * 3 // 2 else power
