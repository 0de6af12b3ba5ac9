"""`rlm session`: look at sessions, run code in one, put values into one, delete one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from typer import Argument, Option

from rlm.cli.options import ModelOptions, Overrides, SandboxOptions

if TYPE_CHECKING:
    from rlm.core.config import Config
    from rlm.sessions.store import Revision, SessionNote, State

Name: TypeAlias = Annotated[str, Argument(metavar="NAME", help="The session.")]
Json: TypeAlias = Annotated[bool, Option("--json", help="As JSON.")]
_VALUE_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOptions:
    """The skills and folders that the code may use."""

    skills: Annotated[
        list[str] | None, Option("--skill", metavar="NAME", help="A saved skill that the code may use; repeatable.")
    ] = None
    allowed_paths: Annotated[
        list[str] | None,
        Option(
            "--allowed-path",
            metavar="PATH",
            help="A file or folder that the code may read and edit by helpers, with undo; repeatable.",
        ),
    ] = None


def list_sessions(as_json: Json = False) -> int:
    """List the sessions, the one saved last first."""
    import msgspec

    from rlm.cli.console import answer, say
    from rlm.cli.moments import local_time
    from rlm.core.plain import one_line
    from rlm.sessions.sandbox import session_store

    notes = session_store(_config()).all()
    if as_json:
        answer(msgspec.json.encode(notes).decode())
        return 0
    if not notes:
        say("there are no sessions yet: rlm session run NAME makes one")
    for note in notes:
        saved = "nothing saved" if note.saved_at is None else f"revision {note.revision}, {local_time(note.saved_at)}"
        about = f"  {one_line(note.description, _VALUE_CHARS)}" if note.description else ""
        answer(f"{note.name}  {saved}, {note.size_bytes:,} bytes{about}")
    return 0


def show(
    name: Name,
    variable: Annotated[
        str | None, Argument(metavar="[VARIABLE]", help="Show this variable alone: its source, or its value as JSON.")
    ] = None,
    revision: Annotated[
        int | None, Option("--revision", "-r", metavar="N", help="An earlier state. [default: the last]")
    ] = None,
    cells: Annotated[bool, Option("--cells", help="Show the cells that it ran instead.")] = False,
    as_json: Json = False,
) -> int:
    """Show what a session holds: variables, definitions, and what could not be kept."""
    from rlm.cli.console import answer
    from rlm.cli.moments import local_time
    from rlm.core.plain import plain
    from rlm.sessions.sandbox import session_store

    store = session_store(_config())
    if cells:
        for cell in store.cells(name):
            answer(f"# {local_time(cell.at)}, {plain(cell.status)}\n{plain(cell.code)}")
        return 0
    note, found = store.note(name), store.load(name, revision)
    if variable is not None:
        answer(_alone(found.state, variable))
        return 0
    answer(_as_json(found) if as_json else "\n".join([*_header(note, found), *_described(found.state)]))
    return 0


def run(
    name: Name,
    models: ModelOptions,
    sandbox: SandboxOptions,
    offered: CellOptions,
    script: Annotated[str | None, Argument(metavar="[SCRIPT]", help="A file of Python; - is stdin.")] = None,
    code: Annotated[
        str | None, Option("--code", "-c", metavar="CODE", help="Python to run, instead of a file.")
    ] = None,
) -> int:
    """Run Python in the session's REPL, made at first use, and keep the variables that it leaves.

    What it prints goes to stdout; the traceback of an error goes to stderr, and the variables are kept all the same.
    """
    from rlm.cli.commands.execute import explain, read_source
    from rlm.cli.console import write_out
    from rlm.runtime.session import Session

    source, _ = read_source(script, code)
    config = _config(models, sandbox, offered)
    with Session(name, config=config) as session:
        result = session.run(source)
        write_out(result.output)
        _say_lost(session.save_state())
    return explain(result, config)


def save(
    name: Name,
    file: Annotated[str, Argument(metavar="[FILE]", help="A JSON object, variable -> value; - is stdin.")] = "-",
    description: Annotated[
        str | None, Option("--description", "-d", metavar="TEXT", help="What the session is for.")
    ] = None,
) -> int:
    """Put values into a session, made at first use; what else it holds stays."""
    from rlm.cli.console import counted, say
    from rlm.runtime.session import Session

    values = _read_values(file)
    with Session(name, description or "", config=_config()) as session:
        saved = session.save_state(values)
    say(f"session {name}: revision {saved.number}, {counted(len(saved.state.names), 'variable')}")
    _say_lost(saved)
    return 0


def delete(name: Name, yes: Annotated[bool, Option("--yes", "-y", help="Don't ask.")] = False) -> int:
    """Delete a session, with everything in it."""
    from rlm.cli.console import say
    from rlm.cli.saved import confirmed
    from rlm.sessions.sandbox import session_store

    store = session_store(_config())
    store.note(name)
    if not confirmed(f"delete session {name} and everything in it?", yes=yes):
        say("nothing was changed")
        return 1
    store.delete(name)
    say(f"session {name} is deleted")
    return 0


def _config(*groups: Any) -> Config:
    from rlm.cli.console import warn

    loaded = Overrides.of(*groups).load()
    for warning in loaded.warnings:
        warn(warning)
    return loaded.config


def _say_lost(revision: Revision) -> None:
    from rlm.cli.console import warn
    from rlm.core.plain import one_line

    for name, why in revision.state.lost.items():
        warn(f"{name} is not kept: {one_line(why, _VALUE_CHARS)}")
    for name in revision.state.masked:
        warn(f"a secret in {name} was masked before it was saved")
    if revision.overtaken:
        warn(f"another process saved this session meanwhile: revision {revision.number - 1} is what it saved")


def _header(note: SessionNote, revision: Revision) -> list[str]:
    import msgspec

    from rlm.cli.console import counted
    from rlm.cli.moments import local_time
    from rlm.core.plain import one_line

    saved = "nothing saved yet"
    if revision.number:
        by = f" by run {one_line(revision.run, _VALUE_CHARS)}" if revision.run else ""
        older = "" if revision.number == note.revision else f" of {note.revision}"
        saved = f"revision {revision.number}{older}, saved {local_time(revision.saved_at)}{by}"
    size_bytes = len(msgspec.json.encode(revision.state))
    counts = f"{counted(len(revision.state.names), 'variable')}, {size_bytes:,} bytes"
    about = [f"# {one_line(note.description, 2 * _VALUE_CHARS)}"] if note.description else []
    return [f"# session {note.name}: {saved}; {counts}", *about]


def _described(state: State) -> list[str]:
    from rlm.core.plain import one_line, plain

    values = [f"{name} = {_value(name, text)}" for name, text in state.values.items()]
    definitions = [plain(each.source) for each in state.definitions]
    lost = [f"# not kept: {name}: {one_line(why, _VALUE_CHARS)}" for name, why in state.lost.items()]
    masked = [f"# masked: {', '.join(state.masked)}"] if state.masked else []
    return [*values, *definitions, *lost, *masked]


def _alone(state: State, variable: str) -> str:
    from rlm.core.exceptions import ConfigError
    from rlm.core.plain import one_line, plain

    if variable in state.values:
        return state.values[variable]
    sources = [each.source for each in state.definitions if variable in each.names]
    if not sources:
        why = f": {one_line(state.lost[variable], _VALUE_CHARS)}" if variable in state.lost else ""
        raise ConfigError(f"the session has no variable {one_line(variable, _VALUE_CHARS)!r}{why}")
    return plain("\n".join(sources))


def _value(name: str, text: str) -> str:
    from rlm.core.exceptions import StoreError
    from rlm.core.plain import one_line
    from rlm.repl.guest.shorten import short_repr
    from rlm.sessions.values import value_of

    try:
        shown = one_line(short_repr(value_of(name, text)), _VALUE_CHARS)
    except StoreError as error:
        return f"?  # {one_line(str(error), _VALUE_CHARS)}"
    return f"{shown}  # {len(text):,} characters" if len(text) > _VALUE_CHARS else shown


def _as_json(revision: Revision) -> str:
    import msgspec

    return msgspec.json.encode(revision).decode()


def _read_values(file: str) -> dict[str, Any]:
    import json
    from pathlib import Path

    from rlm.core.exceptions import ConfigError

    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
        values = json.loads(text)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: expected a JSON object whose keys are variables")
    return values
