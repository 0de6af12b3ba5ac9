"""Makes the request of a run that resumes, forks or replays another: the settings, the context and the images it had.

What a record says is taken for settings that shape a run, and for nothing that reaches further: where a record names
what only a trusted file may set, the present configuration counts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.config import SCHEMA, Config
from rlm.core.config.layers import Layers
from rlm.core.config.trust import guarded_keys
from rlm.core.contexts.context import Context
from rlm.core.contexts.spool import text_context, value_context
from rlm.core.events import MessageAdded
from rlm.core.exceptions import ConfigError
from rlm.core.plain import one_line
from rlm.core.replay.serving import ReplayRules
from rlm.repl.guest.wire import decode_value, encode_value
from rlm.runtime.inputs import prepare
from rlm.runtime.wiring import Request
from rlm.trajectory.exact import context_path, kept_context
from rlm.trajectory.reader import place_of
from rlm.trajectory.resume import Resumption, ended, is_raised, read_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rlm.core.events import RunStart
    from rlm.core.notes import ContextNote, ImageNote
    from rlm.core.replay.serving import OnDivergence
    from rlm.trajectory.resume import Line


SHOWN_CHARS = 200
"""Of the answer of a run that can't be resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Which run to take up again, and how."""

    run: str | Path
    """Its id, the beginning of one, `last`, or the path of its record."""
    context: Any = None
    """Where it was no file and wasn't kept."""
    output_type: Any = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Settings by name that take the place of those of the run."""
    on_divergence: OnDivergence = "stop"
    redo_unfinished: bool = False
    turn: int | None = None
    """The last turn to take from the record, for a fork."""
    addition: str = ""
    """What the user says where the run goes on live."""


def request_of(again: Again, present: Config) -> Request:
    """The request that takes a run up again; blocks while its record and its context are read.

    Raises:
        ConfigError: there is no such run, it is complete or still alive, or something that it needs is not there.
    """
    line = _line(again, present)
    config = recorded_config(line.latest.start, present, again.overrides)
    config = msgspec.structs.replace(config, log_dir=str(line.latest.run.path.parent))
    is_replay = again.on_divergence == "report"
    if again.turn is None and not is_replay:
        _check_unfinished(line, config)
    caps = line.latest.start.budget if is_replay else msgspec.structs.asdict(config.budget)
    record = line.record(caps, until=again.turn)
    _check_fork(again, line)
    salt = line.salt
    if salt is None and not is_replay:
        raise ConfigError(
            f"{line.latest.run.path} has masked texts, and the exact ones ({line.latest.run.run_id}.exact) are gone: "
            "it can't be resumed\nrlm replay runs it as it is"
        )
    task = line.task
    rules = ReplayRules(
        on_divergence=again.on_divergence, redo_unfinished=again.redo_unfinished, addition=again.addition
    )
    trajectories = () if again.turn is not None or is_replay else tuple(each.run.path for each in line.records)
    return Request(
        prompt=task.prompt,
        context=_context(again.context, task.context, line),
        output_type=task.output_schema if again.output_type is None else again.output_type,
        config=config,
        images=_images(line),
        resumption=Resumption(
            record=record, salt=salt or b"", rules=rules, forked_at=again.turn, trajectories=trajectories
        ),
    )


def recorded_config(start: RunStart, present: Config, overrides: Mapping[str, Any]) -> Config:
    """The settings that a run had, with `overrides` on top; those that need trust are the present ones.

    Raises:
        ConfigError: an override is wrong, or the record has settings that this version can't take.
    """
    now = msgspec.to_builtins(present)
    then = {**now, **{name: value for name, value in start.config.items() if name in now}}
    then |= {"budget": dict(start.budget), "environment": start.environment, "model": then["model"] or start.model}
    for guarded in [*guarded_keys(then), *guarded_keys(now)]:
        _put(then, guarded.name, now)
    layers = Layers(SCHEMA)
    layers.add_overrides(overrides)
    asked = {setting.key.name: setting.value for setting in layers.settings.values()}
    other = asked.get("environment", start.environment)
    if other != start.environment and other in now:  # the run had no settings of its own for another sandbox
        then[other] = now[other]
    for setting in layers.settings.values():
        key = setting.key
        value = msgspec.to_builtins(setting.value)
        if key.table or key.home != key.name:
            then[key.home] = {**then[key.home], key.name: value}
        else:
            then[key.name] = value
    try:
        return msgspec.convert(then, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the run had settings that this version can't take: {error}") from error


def _put(then: dict[str, Any], name: str, now: Mapping[str, Any]) -> None:
    """Take one setting from the present configuration."""
    section, _, rest = name.partition(".")
    if section in now:
        then[section] = now[section] if not rest else {**then[section], rest: now[section].get(rest)}
    else:
        then.pop(section, None)


def _line(again: Again, present: Config) -> Line:
    if isinstance(again.run, Path):
        return read_line(again.run.parent, again.run.stem, decode_value)
    return read_line(*place_of(again.run, Path(present.log_dir)), decode_value)


def _check_unfinished(line: Line, config: Config) -> None:
    end, run_id = ended(line.latest), line.latest.run.run_id
    if end is None or end.status in ("failed", "cancelled"):
        return
    if end.status == "completed":
        raise ConfigError(
            f"run {run_id} is complete, there is nothing to resume; its answer: {one_line(end.response, SHOWN_CHARS)}\n"
            f"rlm fork {run_id} --turn N goes another way from a turn of it"
        )
    had, now = line.latest.start.budget, msgspec.structs.asdict(config.budget)
    name = end.limit or ""
    if name == "timeout_s" or is_raised(name, had, now):
        return
    if name not in now:
        raise ConfigError(
            f"run {run_id} ended as its model made no progress, and would again\n"
            f"rlm fork {run_id} --turn N --prompt-addition TEXT gives it a hint"
        )
    raise ConfigError(f"run {run_id} reached its {name} of {had.get(name)}: it needs a higher one to go on")


def _check_fork(again: Again, line: Line) -> None:
    if again.turn is None:
        return
    turns = [turn for record in line.records for turn in record.root.of("turn") if turn.start is not None]
    last = max((turn.start.body.turn for turn in turns if turn.start is not None), default=0)
    end = ended(line.latest)
    if end is not None and end.status == "completed":
        last -= 1
    if not 0 <= again.turn <= last:
        raise ConfigError(f"a fork of run {line.latest.run.run_id} may begin after turn 0 to {last}, not {again.turn}")


def _context(given: Any, note: ContextNote, line: Line) -> Context:
    context = prepare(given) if given is not None else _found(note, line)
    if note.digest is not None and context.digest != note.digest:
        context.close()
        raise ConfigError(
            f"the context is not the one that run {line.latest.run.run_id} had (it differs in content)\n"
            "give that one with -f, or make a new run"
        )
    return context


def _found(note: ContextNote, line: Line) -> Context:
    """The context from where it was kept or read."""
    if note.kind == "none":
        return Context.empty()
    for record in line.records:
        content = kept_context(context_path(record.run.path))
        if content is not None:
            if note.kind == "value":
                return value_context(decode_value(msgspec.json.decode(content)), encode_value)
            return text_context(content.decode("utf-8", "surrogatepass"))
    paths = [Path(source) for source in note.sources]
    if paths and all(path.exists() or any(char in path.name for char in "*?[") for path in paths):
        return prepare(paths if len(paths) > 1 else paths[0])
    where = f" (it was read from {', '.join(note.sources[:3])})" if note.sources else ""
    raise ConfigError(f"the context of run {line.latest.run.run_id} is not here{where}\ngive it again with -f FILE")


def _images(line: Line) -> tuple[bytes, ...]:
    """The images that the user gave with the prompt."""
    messages = [event.body for record in line.records for event in record.root.bodies(MessageAdded)]
    notes: list[ImageNote] = next((message.images for message in messages if message.images), [])
    source = line.source
    found = [source.image(note.digest) for note in notes]
    if None in found:
        raise ConfigError(f"an image of run {line.latest.run.run_id} is gone from its folder of blobs")
    return tuple(content for content in found if content is not None)
