"""A real authorisation server for the device flow: RFC 8628, with the metadata of RFC 8414 and RFC 9728."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web


class OAuthServer:
    """Answers the polls of a device code by plan, then with a token; what was asked is kept."""

    def __init__(self, *plan: str) -> None:
        self.plan = deque(plan)
        self.forms: list[dict[str, str]] = []
        self.url = ""
        self.issued = 0
        self.refreshable = True
        self.metadata = 200
        self.interval_s = 0.01
        self.expires_in_s = 3600.0
        self.code_lasts_s = 60.0

    async def resource(self, _request: web.Request) -> web.Response:
        return web.json_response({"authorization_servers": [self.url]})

    async def endpoints(self, _request: web.Request) -> web.Response:
        said = {"token_endpoint": f"{self.url}/token", "device_authorization_endpoint": f"{self.url}/device"}
        return web.json_response({"issuer": self.url, **said}, status=self.metadata)

    async def device(self, request: web.Request) -> web.Response:
        self.forms.append({name: str(value) for name, value in (await request.post()).items()})
        where = {"verification_uri": f"{self.url}/go", "interval": self.interval_s, "expires_in": self.code_lasts_s}
        return web.json_response({"device_code": "dc-1", "user_code": "ABCD-EFGH", **where})

    async def token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        if form["grant_type"] == "refresh_token" and not self.refreshable:
            return web.json_response({"error": "invalid_grant"}, status=400)
        if form["grant_type"] != "refresh_token" and self.plan:
            return self._planned(self.plan.popleft())
        self.issued += 1
        renewal = {"refresh_token": f"refresh-{self.issued}", "expires_in": self.expires_in_s}
        return web.json_response({"access_token": f"access-{self.issued}", "token_type": "Bearer", **renewal})

    def _planned(self, what: str) -> web.Response:
        if what == "nonsense":
            return web.Response(text="<html>access-secret</html>")
        if what == "broken":
            return web.Response(status=503)
        return web.json_response({"error": what}, status=400)


@asynccontextmanager
async def oauth_server(*plan: str) -> AsyncIterator[OAuthServer]:
    """Serve until the block ends."""
    server, app = OAuthServer(*plan), web.Application()
    app.router.add_get("/.well-known/oauth-protected-resource", server.resource)
    app.router.add_get("/.well-known/oauth-authorization-server", server.endpoints)
    app.router.add_post("/device", server.device)
    app.router.add_post("/token", server.token)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        await runner.cleanup()
