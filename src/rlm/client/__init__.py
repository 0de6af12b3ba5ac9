"""Clients of `rlm serve`, for Python: `Client`, awaited; `BlockingClient`, which waits; and `WebSocketClient`, which is
called as that of cc_executor is."""

from rlm.client.blocking import BlockingClient
from rlm.client.client import Client, ServiceEvent
from rlm.client.websocket import WebSocketClient

__all__ = ["BlockingClient", "Client", "ServiceEvent", "WebSocketClient"]
