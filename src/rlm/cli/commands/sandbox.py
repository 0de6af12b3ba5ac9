"""`rlm sandbox`: commands that work alone in machines of their own, watched, with their files brought home."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from typer import Argument, Option

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rlm.core.config import Config
    from rlm.workspaces.downloads import Downloaded
    from rlm.workspaces.egress import Upstream
    from rlm.workspaces.provider import Provider
    from rlm.workspaces.running import SandboxRun
    from rlm.workspaces.values import CommandResult, MachinePlan, Mount, SandboxCommand, WorkspaceNote
    from rlm.workspaces.workspace import Keeping, SandboxWorkspace

Id: TypeAlias = Annotated[
    str, Argument(metavar="[ID]", help="The sandbox: its id, the beginning of one, or last.", show_default=False)
]
Json: TypeAlias = Annotated[bool, Option("--json", help="As JSON.")]
Provided: TypeAlias = Literal["docker", "e2b"]
_SHOWN = 10
_COMMAND_CHARS = 60
_LOOK_S = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOptions:
    """The machine, and what goes there."""

    provider: Annotated[Provided, Option("--provider", help="Who has the machine: Docker's engine, or E2B.")] = "docker"
    upload: Annotated[
        str | None,
        Option("--upload", "-u", metavar="FOLDER", help="The folder that goes up, but for what git ignores."),
    ] = None
    image: Annotated[
        str | None, Option("--image", metavar="NAME", help="The image of the machine. [default: docker.image]")
    ] = None
    cpus: Annotated[float, Option("--cpus", metavar="N", help="Processors.")] = 2.0
    memory: Annotated[str, Option("--memory", metavar="SIZE", help="Memory for processes.")] = "4g"
    disk: Annotated[
        str, Option("--disk", metavar="SIZE", help="Room in the folder; with docker, memory beside the other.")
    ] = "2g"
    timeout: Annotated[
        str, Option("--timeout-s", metavar="TIME", help="How long it may take, or live: 90, 10m, 1h.")
    ] = "1h"
    network: Annotated[
        Literal["none", "open"], Option("--network", help="none: no network at all; open: all of it.")
    ] = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOptions:
    """What runs, and what it may reach."""

    agent: Annotated[
        Literal["claude"] | None,
        Option("--agent", help="Give the words to this agent as its prompt; its key stays here."),
    ] = None
    hosts: Annotated[
        list[str] | None,
        Option(
            "--allow-host",
            metavar="NAME",
            help="A host that may be reached on port 443, such as example.org or *.example.com; repeatable.",
        ),
    ] = None
    stdin: Annotated[
        str | None, Option("--stdin", metavar="FILE", help="What the command reads; - is this command's stdin.")
    ] = None
    inside: Annotated[
        str | None, Option("--in", metavar="ID", help="Run in a sandbox that was created, which stays.")
    ] = None


def run(
    words: Annotated[
        list[str], Argument(metavar="-- COMMAND...", help="The command and its arguments; no shell. Or the prompt.")
    ],
    machine: MachineOptions,
    command: CommandOptions,
    as_json: Json = False,
) -> int:
    """Run a command in a sandbox of its own: the folder goes up, what the command changed comes home, all else is gone.

    What it prints goes to stdout. Exit code 1 where it did not end with 0; `--json` has its own.
    """
    from rlm.cli.signals import Signals

    signals = Signals()
    with signals:
        return signals.exit_code_of(lambda: signals.run(_run(tuple(words), machine, command, as_json=as_json)))


def create(machine: MachineOptions, as_json: Json = False) -> int:
    """Make a sandbox that stays until its time is over, and print its id."""
    from rlm.cli.console import answer

    async def work(provider: Provider, kept: Keeping, config: Config) -> int:
        from rlm.workspaces.workspace import SandboxWorkspace

        made = await SandboxWorkspace.create(provider, _plan(machine, config, stays=True), kept, _folder(machine))
        answer(_json(made.note) if as_json else made.note.id)
        return 0

    return _with_provider(machine.provider, work)


def list_sandboxes(
    everything: Annotated[bool, Option("--all", "-a", help="Those that are gone too.")] = False, as_json: Json = False
) -> int:
    """List the sandboxes that there are, the latest first."""
    from rlm.cli.console import answer, say

    config = _loaded()
    notes = [note for note in _looked_at(_keeping(config), config) if everything or not note.is_ended]
    if as_json:
        answer(_json(notes))
        return 0
    if not notes:
        say("there is no sandbox now" + ("" if everything else ": --all lists those that were"))
    for note in notes:
        answer(_line(note))
    return 0


def status(name: Id = "last", as_json: Json = False) -> int:
    """Tell what a sandbox does, and how its last command ended."""
    from rlm.cli.console import answer

    config = _loaded()
    kept = _keeping(config)
    wanted = kept.store.find(name)
    note = next(each for each in _looked_at(kept, config) if each.id == wanted.id)
    answer(_json(note) if as_json else "\n".join(_described(note, kept)))
    return 0


def logs(
    name: Id = "last",
    follow: Annotated[bool, Option("--follow", "-f", help="Go on until the command has ended.")] = False,
    offset: Annotated[int, Option("--offset", metavar="N", help="Begin at this byte.")] = 0,
) -> int:
    """Print what the commands of a sandbox printed, masked."""
    import codecs
    import time

    from rlm.cli.console import write_out
    from rlm.core.plain import plain
    from rlm.workspaces.output import read_log
    from rlm.workspaces.workspace import log_path

    kept = _keeping(_loaded())
    note = kept.store.find(name)
    path, decoder = log_path(kept.store, note.id), codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        is_over = kept.store.find(note.id).exit_code is not None or kept.store.find(note.id).is_ended
        while piece := read_log(path, offset):
            offset += len(piece)
            write_out(plain(decoder.decode(piece)))
        if is_over or not follow:
            return 0
        time.sleep(_LOOK_S)


def cost(
    name: Annotated[str | None, Argument(metavar="[ID]", help="One sandbox; none: all.")] = None, as_json: Json = False
) -> int:
    """Tell how long commands have run in sandboxes, and what that cost: nothing, on machines of your own."""
    from rlm.cli.console import answer
    from rlm.workspaces.prices import PRICES, cost_usd

    kept = _keeping(_loaded())
    notes = kept.store.all() if name is None else [kept.store.find(name)]
    rows = [
        {
            "id": note.id,
            "provider": note.provider,
            "minutes": round(note.execution_ms / 60_000, 2),
            "cost_usd": cost_usd(note.provider, note.cpus, note.memory_bytes, note.execution_ms / 1000),
            "source": PRICES[note.provider].source,
        }
        for note in notes
    ]
    if as_json:
        answer(_json(rows))
        return 0
    for row in rows:
        answer(f"{row['id']}  {row['minutes']:g} min  ${row['cost_usd']:.4f}  ({row['provider']}: {row['source']})")
    return 0


def download(
    name: Id = "last",
    to: Annotated[
        str | None, Option("--to", metavar="FOLDER", help="Where to. [default: the folder that went up]")
    ] = None,
    delete: Annotated[
        bool, Option("--delete", help="Remove here what was removed there, unless it has changed here.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Bring home what is otherwise in a sandbox than what went up; what changed here too is left alone, and named.

    Exit code 1 where something was left.
    """

    async def work(workspace: SandboxWorkspace) -> int:
        home = await workspace.download(None if to is None else Path(to), delete=delete)
        _tell_home(home, as_json=as_json, delete=delete)
        return 1 if home.conflicts or home.refused else 0

    return _with_workspace(name, work)


def checkpoint(name: Id = "last") -> int:
    """Keep the folder of a sandbox as it is now, as a tar archive, and print its path."""
    from rlm.cli.console import answer

    async def work(workspace: SandboxWorkspace) -> int:
        answer(str(await workspace.checkpoint()))
        return 0

    return _with_workspace(name, work)


def terminate(name: Id) -> int:
    """End a sandbox, and what runs in it; its log remains."""
    from rlm.cli.console import say

    async def work(workspace: SandboxWorkspace) -> int:
        await workspace.terminate()
        say(f"sandbox {workspace.note.id} is gone; rlm sandbox logs {workspace.note.id} shows what it printed")
        return 0

    return _with_workspace(name, work)


async def _run(words: tuple[str, ...], machine: MachineOptions, asked: CommandOptions, *, as_json: bool) -> int:
    from rlm.cli.console import warn
    from rlm.workspaces.egress import way_out
    from rlm.workspaces.running import provider_named, run_once

    config = _loaded()
    plan, kept = _plan(machine, config, stays=False), _keeping(config)
    command, upstream, mounts = _command(words, plan.limit_s, asked)
    plan = replace(plan, mounts=mounts)
    async with provider_named(machine.provider, config) as provider:
        if asked.inside is not None:
            done = await _run_inside(asked.inside, command, provider, kept, _heard(as_json=as_json))
        elif upstream is None and not asked.hosts:
            done = await run_once(provider, plan, kept, _folder(machine), command, _heard(as_json=as_json))
        else:
            log = kept.store.files(plan.workspace) / "egress.jsonl"
            async with way_out(upstream, tuple(asked.hosts or ()), log) as out:
                plan = replace(plan, mounts=(*plan.mounts, out.mount), ports=out.ports)
                command = replace(command, environment={**out.environment, **command.environment})
                done = await run_once(provider, plan, kept, _folder(machine), command, _heard(as_json=as_json))
    if done.kept is not None:
        warn(f"what was there when it ended is kept in {done.kept}")
    return _ended(done, as_json=as_json)


async def _run_inside(
    name: str, command: SandboxCommand, provider: Provider, kept: Keeping, heard: Callable[[str], None]
) -> SandboxRun:
    from rlm.workspaces.running import SandboxRun
    from rlm.workspaces.workspace import SandboxWorkspace

    workspace = await SandboxWorkspace.find(name, provider, kept)
    return SandboxRun(sandbox=workspace.note.id, result=await workspace.run(command, heard))


def _command(
    words: tuple[str, ...], limit_s: float, asked: CommandOptions
) -> tuple[SandboxCommand, Upstream | None, tuple[Mount, ...]]:
    """What is run, the API that it may ask, and what is mounted for it. Raises:
    ConfigError: the options don't go together.
    """
    import os

    from rlm.core.exceptions import ConfigError
    from rlm.workspaces.agents import agent_named
    from rlm.workspaces.egress import is_host
    from rlm.workspaces.values import SandboxCommand

    if wrong := [host for host in asked.hosts or () if not is_host(host)]:
        raise ConfigError(f"--allow-host {wrong[0]!r} names no host: write one such as example.org or *.example.com")
    if asked.inside is not None and (asked.agent or asked.hosts):
        raise ConfigError("--agent and --allow-host need a sandbox that is made for them: leave out --in")
    if asked.agent is None:
        return SandboxCommand(argv=words, stdin=_stdin(asked.stdin), timeout_s=limit_s), None, ()
    agent = agent_named(asked.agent, os.environ)
    prompt = " ".join(words).encode() + (b"\n\n" + _stdin(asked.stdin) if asked.stdin else b"")
    command = SandboxCommand(argv=agent.argv, stdin=prompt, environment=agent.environment, timeout_s=limit_s)
    return command, agent.upstream, agent.mounts


def _ended(done: SandboxRun, *, as_json: bool) -> int:
    """Tell how a command ended, and what came home."""
    from rlm.cli.console import answer, complain

    result, home = done.result, done.downloaded
    if as_json:
        answer(_json({"id": done.sandbox, **_fields(result), "downloaded": home, "kept": done.kept}))
    else:
        _tell_home(home, as_json=False, delete=False)
        if result.error is not None:
            complain(f"{result.error}\nrlm sandbox logs {done.sandbox} shows what it printed")
    return 0 if result.success and not home.conflicts else 1


def _tell_home(home: Downloaded, *, as_json: bool, delete: bool) -> None:
    from rlm.cli.console import answer, say, warn
    from rlm.core.plain import plain

    if as_json:
        answer(_json(home))
        return
    for what, paths in (
        ("came home", home.written),
        ("removed here" if delete else "removed there, kept here", home.removed),
    ):
        for path in paths[:_SHOWN]:
            say(f"{what}: {plain(path)}")
        if len(paths) > _SHOWN:
            say(f"{what}: {len(paths) - _SHOWN} more")
    for path in home.conflicts:
        warn(f"{plain(path)} changed there and here: it is left as it is here")
    if home.refused:
        warn(
            f"{len(home.refused)} entries stay there (links, devices, odd names): {plain(', '.join(home.refused[:5]))}"
        )


def _heard(*, as_json: bool) -> Callable[[str], None]:
    from rlm.cli.console import write_out
    from rlm.core.plain import plain

    return (lambda _text: None) if as_json else (lambda text: write_out(plain(text)))


def _with_provider(name: str, work: Callable[[Provider, Keeping, Config], Awaitable[int]]) -> int:
    import asyncio

    from rlm.workspaces.running import provider_named

    async def whole() -> int:
        config = _loaded()
        async with provider_named(name, config) as provider:
            return await work(provider, _keeping(config), config)

    return asyncio.run(whole())


def _with_workspace(name: str, work: Callable[[SandboxWorkspace], Awaitable[int]]) -> int:
    async def found(provider: Provider, kept: Keeping, _config: Config) -> int:
        from rlm.workspaces.workspace import SandboxWorkspace

        return await work(await SandboxWorkspace.find(name, provider, kept))

    return _with_provider(_keeping(_loaded()).store.find(name).provider, found)


def _looked_at(kept: Keeping, config: Config) -> list[WorkspaceNote]:
    """Every workspace, those whose machines are found to be gone put down as such."""
    import asyncio

    from rlm.cli.console import warn
    from rlm.core.exceptions import SandboxUnavailableError
    from rlm.workspaces.running import provider_named
    from rlm.workspaces.workspace import gone

    async def look(provided: str, notes: list[WorkspaceNote]) -> None:
        async with provider_named(provided, config) as provider:
            for note in notes:
                if await provider.find(note.machine) is None:
                    kept.store.save(gone(note))

    left = [note for note in kept.store.all() if not note.is_ended]
    for provided in {note.provider for note in left}:
        try:
            asyncio.run(look(provided, [note for note in left if note.provider == provided]))
        except SandboxUnavailableError as e:
            warn(f"what became of sandboxes of {provided} can't be told: {e}")
    return kept.store.all()


def _plan(machine: MachineOptions, config: Config, *, stays: bool) -> MachinePlan:
    from rlm.core.exceptions import ConfigError
    from rlm.core.fields import memory_bytes, seconds
    from rlm.workspaces.values import MachinePlan
    from rlm.workspaces.workspace import new_id

    try:
        memory, disk, limit_s = memory_bytes(machine.memory), memory_bytes(machine.disk), seconds(machine.timeout)
    except ValueError as e:
        raise ConfigError(str(e)) from e
    if not 1 <= limit_s <= 86_400 or machine.cpus <= 0:
        raise ConfigError("a sandbox lives from 1 s to 24 h, and has some processor")
    return MachinePlan(
        workspace=new_id(),
        image=machine.image or config.docker.image,
        cpus=machine.cpus,
        memory_bytes=memory,
        disk_bytes=disk,
        limit_s=limit_s,
        network=machine.network,
        ends_with_host=not stays,
    )


def _folder(machine: MachineOptions) -> Path | None:
    return None if machine.upload is None else Path(machine.upload)


def _stdin(name: str | None) -> bytes:
    import sys

    from rlm.core.exceptions import ConfigError
    from rlm.workspaces.values import PROMPT_BYTES

    if name is None:
        return b""
    try:
        if name == "-":
            return b"" if sys.stdin is None else sys.stdin.buffer.read(PROMPT_BYTES + 1)
        with Path(name).open("rb") as file:
            return file.read(PROMPT_BYTES + 1)
    except OSError as e:
        raise ConfigError(f"{name} can't be read: {e.strerror}") from e


def _loaded() -> Config:
    from rlm.cli.console import warn
    from rlm.core.config import Config

    loaded = Config.load()
    for warning in loaded.warnings:
        warn(warning)
    return loaded.config


def _keeping(config: Config) -> Keeping:
    from rlm.cli.console import warn
    from rlm.workspaces.running import keeping

    return keeping(config, warn)


def _line(note: WorkspaceNote) -> str:
    from rlm.cli.moments import local_time
    from rlm.core.plain import one_line

    where = "gone" if note.is_ended else f"until {local_time(note.ends_at)}"
    return f"{note.id}  {note.state:<12} {note.provider}  {where}  {one_line(note.command, _COMMAND_CHARS)}".rstrip()


def _described(note: WorkspaceNote, kept: Keeping) -> list[str]:
    from rlm.cli.moments import local_time
    from rlm.core.plain import plain
    from rlm.workspaces.workspace import log_path

    code = "" if note.exit_code is None else f", exit code {note.exit_code}"
    rows = {
        "state": f"{note.state}{code}{', its machine is gone' if note.is_ended else ''}",
        "machine": f"{note.provider} {note.machine[:12]}, {note.image}, network {note.network}",
        "made": f"{local_time(note.created_at)}, ends {local_time(note.ends_at)}",
        "folder": note.folder or "-",
        "command": note.command or "-",
        "ran": f"{note.execution_ms / 1000:.1f} s",
        "log": str(log_path(kept.store, note.id)),
    }
    return [f"{name:<8} {plain(value)}" for name, value in rows.items()]


def _fields(result: CommandResult) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(result)


def _json(value: Any) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
