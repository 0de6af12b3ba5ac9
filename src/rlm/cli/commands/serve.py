"""`rlm serve`: runs over HTTP, until it is stopped; `rlm serve status` and `rlm serve stop` find the one that runs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from rlm.cli.options import BudgetOptions, ModelOptions, Overrides, PlaceOptions, SandboxOptions

if TYPE_CHECKING:
    from pathlib import Path

    from rlm.core.config import Config
    from rlm.runtime.serving import Serving

START_S = 30.0
"""How long a detached service may take until it answers, in seconds."""
POLL_S = 0.05
HEALTH_S = 5.0
"""How long a service may take to say that it is well, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Where it serves."""

    host: Annotated[
        str | None, Option("--host", metavar="ADDRESS", help="The address to listen on. [default: 127.0.0.1]")
    ] = None
    port: Annotated[
        int | None, Option("--port", metavar="N", help="The port; 0 takes any free one. [default: 8378]")
    ] = None
    detach: Annotated[bool, Option("--detach", "-d", help="Go on in the background.")] = False


def serve(
    context: typer.Context,
    models: ModelOptions,
    budget: BudgetOptions,
    sandbox: SandboxOptions,
    places: PlaceOptions,
    given: ServeOptions,
) -> int:
    """Serve runs over HTTP: rlm's own protocol, and OpenAI's, so that any client uses rlm as a model.

    Clients need a token: the owner's lies in a file that is named when the service starts; rlm token adds others.
    """
    if context.invoked_subcommand is not None:
        return 0
    asked = {"service.host": given.host, "service.port": given.port}
    values = {name: value for name, value in asked.items() if value is not None}
    config = _config(Overrides.of(models, budget, sandbox, places), values)
    raise typer.Exit(_detached() if given.detach else _served(config))


def status(
    as_json: Annotated[bool, Option("--json", help="As JSON.")] = False,
    health: Annotated[
        bool, Option("--health", help="Ask it whether it is well, and show which sandboxes can work here.")
    ] = False,
) -> int:
    """Show whether a service runs, and where."""
    import msgspec

    from rlm.cli.console import say, write_out

    found = _running()
    if found is None:
        say("no service runs: rlm serve starts one")
        return 1
    if health:
        return _healthy(found)
    shown = msgspec.json.encode(found).decode() if as_json else f"{found.url}  process {found.pid}"
    write_out(f"{shown}\n")
    return 0


def _healthy(found: Serving) -> int:
    """Say whether a service answers, and which sandboxes have what they need where it runs."""
    from urllib.request import ProxyHandler, build_opener

    from rlm.cli.checks.sandboxes import looked_at
    from rlm.cli.console import complain, write_out
    from rlm.core.config import Config

    try:
        with build_opener(ProxyHandler({})).open(f"{found.url}/health", timeout=HEALTH_S) as answer:
            answer.read()
    except OSError as error:
        complain(f"{found.url}/health does not answer: {error}")
        return 1
    checks = looked_at(Config.load().config)
    works = ", ".join(each.name for each in checks if each.ok) or "none"
    write_out(f"{found.url} is well; sandboxes: {works}\n")
    write_out("".join(f"not {each.name}: {each.detail}\n" for each in checks if not each.ok))
    return 0


def stop() -> int:
    """Stop the service: it takes nothing more, lets runs end for a while, and leaves the others to be resumed."""
    import os
    import select
    import signal

    from rlm.cli.console import complain, say
    from rlm.core.config import Config

    found = _running()
    if found is None:
        say("no service runs")
        return 1
    process = os.pidfd_open(found.pid)
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        patience_s = Config.load().config.service.drain_s + START_S
        gone, _, _ = select.select([process], [], [], patience_s)
    finally:
        os.close(process)
    if not gone:
        complain(f"process {found.pid} still runs after {patience_s:g} s\nend it with kill -9: its runs can be resumed")
        return 1
    say("the service has stopped")
    return 0


def _served(config: Config) -> int:
    from rlm.cli.signals import Interrupted, Signals

    with Signals() as received:
        try:
            received.run(_until_stopped(config))
        except Interrupted:
            return 0
    return 0


async def _until_stopped(config: Config) -> None:
    import asyncio

    from rlm.cli.console import say, warn
    from rlm.core.exceptions import ConfigError
    from rlm.service.guards import LOCAL
    from rlm.service.server import announced, serving

    folder = _folder()
    if (other := _running()) is not None:
        raise ConfigError(f"a service runs already: {other.url}, process {other.pid}\nrlm serve stop ends it")
    async with serving(config, folder) as found, announced(found, folder):
        say(f"serving {found.url}\n{_token_note(folder)}")
        if config.service.host not in LOCAL:
            warn(
                f"{config.service.host} is reached from other machines, and the token goes over the line as it is:"
                " put a proxy with TLS before it (docs/service.md)"
            )
        await asyncio.Event().wait()


def _token_note(folder: Path) -> str:
    """Where the token lies; on a terminal, the token itself too."""
    from rlm.service.tokens import owner_token, token_path

    note = f"the token is in {token_path(folder)}"
    return f"{note}\n  Authorization: Bearer {owner_token(folder)}" if sys.stderr.isatty() else note


def _detached() -> int:
    """Start the same command as a process of its own, and wait until it serves."""
    import subprocess
    import time

    from rlm.cli.console import complain, write_out

    arguments = [each for each in sys.argv[1:] if each not in ("--detach", "-d")]
    folder = _folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = folder / "service.log"
    with log.open("wb") as file:
        process = subprocess.Popen(  # noqa: S603 - this program itself
            [sys.executable, "-m", "rlm", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        found = _running()
        if found is not None and found.pid == process.pid:
            write_out(f"{found.url}  process {found.pid}, its log is {log}\n")
            return 0
        time.sleep(POLL_S)
    complain(f"the service did not start\n{log.read_text(errors='replace')[-2000:]}")
    return process.poll() or 1


def _running() -> Serving | None:
    from rlm.runtime.serving import read_serving

    return read_serving(_folder())


def _folder() -> Path:
    import os

    from rlm.runtime.serving import service_folder

    return service_folder(os.environ)


def _config(given: Overrides, values: dict[str, Any]) -> Config:
    import os

    import msgspec

    from rlm.backends import default_model
    from rlm.cli.console import say, warn
    from rlm.core.config import Config

    loaded = Config.load(overrides={**given.values, **values})
    for warning in loaded.warnings:
        warn(warning)
    if loaded.config.model is not None or (found := default_model(os.environ)) is None:
        return loaded.config
    say(f"no model is set: using {found} (--model names another)")
    return msgspec.structs.replace(loaded.config, model=found)
