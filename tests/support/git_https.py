"""A git server over https on this machine: serves one bare repository to one user, through git's own http-backend."""

from __future__ import annotations

import base64
import os
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.git_trees import ENVIRON, run_git

PASSWORD = "opensesame-4711"
_ALLOWED = "Basic " + base64.b64encode(f"someone:{PASSWORD}".encode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that is up."""

    host: str
    """With its port."""
    certificate: Path
    repository: Path
    """On the server's disk."""


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve `remote.git` in the folder until the block ends."""
    run_git(folder, "init", "--quiet", "--bare", "remote.git")
    certificate = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(folder)) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            host = f"127.0.0.1:{server.server_address[1]}"
            yield Server(host=host, certificate=certificate, repository=folder / "remote.git")
        finally:
            server.shutdown()
            thread.join()


def _certificate(folder: Path) -> Path:
    """A certificate for this machine, and its key in the same file."""
    path = folder / "server.pem"
    asked = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    named = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run(
        ["openssl", *asked, *named, "-keyout", path, "-out", folder / "only.pem"], check=True, capture_output=True
    )
    path.write_bytes(path.read_bytes() + (folder / "only.pem").read_bytes())
    return path


def _handler(folder: Path) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Speaks CGI to git; knows one password."""

        def do_GET(self) -> None:
            if self.headers.get("Authorization") != _ALLOWED:
                self._answer(401, b'WWW-Authenticate: Basic realm="git"', b"")
                return
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            done = subprocess.run(
                ["git", "http-backend"], env=self._environ(), input=body, capture_output=True, check=True
            )
            head, _, answer = done.stdout.partition(b"\r\n\r\n")
            self._answer(404 if b"Status: 404" in head else 200, head, answer)

        do_POST = do_GET  # noqa: N815 - the name is given

        def _answer(self, status: int, head: bytes, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.flush_headers()
            self.wfile.write(head + b"\r\n\r\n" + body)

        def _environ(self) -> dict[str, str]:
            path, _, query = self.path.partition("?")
            return ENVIRON | {
                "GIT_PROJECT_ROOT": os.fspath(folder), "GIT_HTTP_EXPORT_ALL": "1", "REMOTE_USER": "someone",
                "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            }  # fmt: skip

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
