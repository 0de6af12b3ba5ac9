"""`rlm visualize`: the pages in which runs can be understood, served on loopback by this process and to this machine
alone. Nothing is fetched from outside or sent there: connections that lead off this machine are refused here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from rlm.cli.commands.logs import WHICH
from rlm.cli.options import All  # noqa: TC001 (Typer reads it at run time)

if TYPE_CHECKING:
    from pathlib import Path

HOST = "127.0.0.1"
PORTS = range(8501, 8511)
"""The ports that are tried in turn where none is asked for."""
READY_S = 60.0
LATE = ("pandas", "pyarrow", "PIL.Image")
"""What Streamlit would import at its first page; imported earlier, while nobody waits."""
_HERE = (None, HOST, "::1", "localhost")
FLAGS = {
    "global.developmentMode": "false",  # which it takes for true where it lies in no site-packages
    "server.address": HOST,
    "server.headless": "true",
    "server.enableCORS": "true",
    "server.enableXsrfProtection": "true",
    "server.allowedHosts": HOST,
    "server.fileWatcherType": "none",
    "server.runOnSave": "false",
    "server.enableStaticServing": "false",
    "server.maxUploadSize": "1",
    "browser.gatherUsageStats": "false",
    "browser.serverAddress": HOST,
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "logger.hideWelcomeMessage": "true",
    "logger.level": "warning",
}
"""Streamlit's flags for security and quiet. They win over any file and variable of the user or of a project."""


def visualize(
    run: Annotated[str | None, Argument(metavar="[RUN]", help=WHICH)] = None,
    log_dir: Annotated[
        str | None, Option("--log-dir", "--dir", metavar="DIR", help="The folder of the records.")
    ] = None,
    everywhere: All = False,
    port: Annotated[
        int | None, Option("--port", metavar="N", help="0 is any free one. [default: the first free from 8501]")
    ] = None,
    no_browser: Annotated[bool, Option("--no-browser", help="Print the address and open nothing.")] = False,
) -> int:
    """Look at runs in the browser: calls, steps, timeline, budget, search, two runs side by side.

    Serves on 127.0.0.1 until Ctrl-C. Whoever may connect to that port of this machine sees the runs of the folder.
    """
    from threading import Thread
    from urllib.parse import urlencode

    from rlm.cli.commands.logs import folder
    from rlm.trajectory.reader import place_of

    app = find_app()
    where, name = place_of(run or "", folder(log_dir, everywhere=everywhere))
    where = where.absolute()
    found = _look(name, where)
    taken = _free_port(port)
    url = f"http://{HOST}:{taken}/" + ("?" + urlencode({"run": found}) if found else "")
    Thread(target=_announce, args=(taken, url, where), kwargs={"open_it": not no_browser}, daemon=True).start()
    _serve(app, taken, where)
    return 0


def find_app() -> Path:
    """The script of the pages: in the package as it was installed, or beside it in a checkout.

    Raises:
        ConfigError: Streamlit isn't installed, or the pages are missing.
    """
    from importlib.util import find_spec
    from pathlib import Path

    from rlm.core.exceptions import ConfigError
    from rlm.core.extras import install_command

    if find_spec("streamlit") is None:
        raise ConfigError(f"the visualizer needs a package that is not installed\n{install_command('visualize')}")
    package = Path(__file__).resolve().parents[2]
    for place in (package / "_visualizer", package.parents[1] / "visualizer"):
        if (place / "app.py").is_file():
            return place / "app.py"
    raise ConfigError(f"the pages of the visualizer are not in {package}\ninstall the package again")


def _look(run: str, where: Path) -> str:
    """Bring the index of the folder up to date, so that no page has to; returns the whole id of the run named `run`.

    Raises:
        ConfigError: the folder can't be read, or no run has that name.
    """
    from rlm.trajectory.index.folder import Index

    with Index.open(where) as index:
        index.refresh()
        return index.run(run).id if run else ""


def _free_port(wanted: int | None) -> int:
    """A port that nothing listens on: the one that is wanted, or the first free one of `PORTS`.

    Raises:
        ConfigError: no such port is free.
    """
    from rlm.core.exceptions import ConfigError

    for port in PORTS if wanted is None else (wanted,):
        if found := _bindable(port):
            return found
    taken = f"port {wanted}" if wanted is not None else f"every port from {PORTS[0]} to {PORTS[-1]}"
    raise ConfigError(f"{taken} is in use or not allowed\n--port 0 takes any free one")


def _bindable(port: int) -> int | None:
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError):
            return None
        found: int = probe.getsockname()[1]
        return found


def _serve(app: Path, port: int, where: Path) -> None:
    """Serve until a signal. Streamlit reads settings and secrets from the working directory: it gets one of its own.

    Streamlit prints while it stops, and would not stop if nobody read that: stdout goes to /dev/null.
    """
    import os
    import sys

    from rlm.cli.console import drop_stdout

    os.chdir(app.parent)
    drop_stdout()
    sys.addaudithook(stay_inside)
    from streamlit.web.cli import main

    flags = [f"--{name}={value}" for name, value in {**FLAGS, "server.port": str(port)}.items()]
    main(["run", str(app), *flags, "--", str(where)], prog_name="rlm visualize", standalone_mode=False)


def stay_inside(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook that refuses connections off this machine: the pages need none, whatever a library tries.

    Raises:
        PermissionError: a connection to another machine was tried.
    """
    match event, arguments:
        case "socket.getaddrinfo", (host, *_):
            pass
        case "socket.connect" | "socket.sendto", (_, (host, *_)):
            pass
        case _:  # another event, or a Unix socket
            return
    if host not in _HERE:
        raise PermissionError(f"the visualizer connects to this machine alone, not to {host!r}")


def what_is_shown(where: Path) -> str:
    """The folder in words; one that doesn't exist may be a slip, or the folder of a run to come."""
    return f"showing the runs in {where}" + ("" if where.is_dir() else ", which doesn't exist yet")


def _announce(port: int, url: str, where: Path, *, open_it: bool) -> None:
    """Say the address as soon as it answers, and open it."""
    import webbrowser
    from importlib import import_module

    from rlm.cli.console import say

    for package in LATE:
        import_module(package)
    if not _answers(port):
        return
    say(f"{what_is_shown(where)}\n{url}\nCtrl-C ends it")
    if open_it:
        webbrowser.open(url)


def _answers(port: int) -> bool:
    import time
    from http.client import HTTPConnection, HTTPException

    until = time.monotonic() + READY_S
    while time.monotonic() < until:
        connection = HTTPConnection(HOST, port, timeout=5)
        try:
            connection.request("GET", "/_stcore/health")
            if connection.getresponse().status == 200:
                return True
        except (OSError, HTTPException):
            time.sleep(0.1)
        finally:
            connection.close()
    return False
