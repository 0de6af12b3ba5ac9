"""The client over a WebSocket, called as that of cc_executor is: a prompt in place of a command, a dict in return."""

from __future__ import annotations

import json
import os
from typing import Any

import aiohttp

from rlm.core.exceptions import RunFailed
from rlm.runtime.serving import service_folder
from rlm.service.tokens import owner_token

PORT = 8378
ENDS = frozenset({"process.completed", "process.canceled", "process.error"})
"""The notifications that are the last of their run."""


class WebSocketClient:
    """A client of the service at a host and a port; each prompt has a connection of its own."""

    def __init__(self, host: str = "127.0.0.1", port: int = PORT, token: str | None = None) -> None:
        """`token` is by default that of this user's own service."""
        self.url = f"ws://{host}:{port}/ws/mcp"
        self._token = token

    async def execute_command(self, command: str, timeout: float | None = None, **given: Any) -> dict[str, Any]:
        """Run a prompt to its end, in at most `timeout` seconds; `given` are other fields of a request for a run.

        Returns `success`, `output_data` (the answer), `error` (None with a success), `exit_code`, and `result`. Raises:
            RunFailed: the service can't be reached, or breaks off.
        """
        token = self._token or owner_token(service_folder(os.environ))
        params = {"command": command, "timeout": timeout, "given": given}
        asked = {"jsonrpc": "2.0", "id": 1, "method": "execute", "params": params}
        try:
            async with (
                aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
                session.ws_connect(self.url, max_msg_size=0) as socket,
            ):
                await socket.send_str(json.dumps(asked))
                async for message in socket:
                    told = json.loads(message.data)
                    if "error" in told:
                        return _failed(told["error"]["message"])
                    if told.get("method") in ENDS:
                        return _ended(told["params"])
        except (aiohttp.ClientError, ValueError) as error:
            raise RunFailed(f"the service at {self.url} can't be reached: {error}") from error
        raise RunFailed(f"the service at {self.url} broke off: the run goes on there")


def _ended(params: dict[str, Any]) -> dict[str, Any]:
    result = (params.get("results") or [None])[-1] or {}
    success = bool(params.get("success"))
    return {
        "success": success,
        "output_data": result.get("response", ""),
        "error": None if success else result.get("error") or params.get("message") or params.get("status"),
        "exit_code": params.get("exit_code", 1),
        "result": result,
    }


def _failed(message: str) -> dict[str, Any]:
    return {"success": False, "output_data": "", "error": message, "exit_code": 2, "result": {}}
