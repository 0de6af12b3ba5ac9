"""Makes the request of a run that resumes, forks or replays another: the settings, the context and the images it had.

What a record says is taken for settings that shape a run, and for nothing that reaches further: where a record names
what only a trusted file may set, the present configuration counts. A record that may have come with somebody's
project lifts no cap.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import msgspec

from rlm.core.config import SCHEMA, Config
from rlm.core.config.layers import Layers
from rlm.core.config.trust import guarded_keys, is_lifted, names_plugin
from rlm.core.contexts.context import Context
from rlm.core.contexts.spool import text_context, value_context
from rlm.core.events import MessageAdded
from rlm.core.exceptions import ConfigError, SharedBudgetExhausted
from rlm.core.plain import one_line
from rlm.core.replay.serving import ReplayRules
from rlm.core.types import INTERACTIVE
from rlm.repl.guest.wire import decode_value, encode_value
from rlm.runtime.inputs import prepare, reading_of
from rlm.runtime.request import Request
from rlm.trajectory.exact import context_path, kept_context
from rlm.trajectory.places import is_users_own, log_folder
from rlm.trajectory.reader import place_of
from rlm.trajectory.resume import Resumption, ended, is_raised, last_driven, read_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from rlm.core.events import RunStart
    from rlm.core.notes import ContextNote, ImageNote
    from rlm.core.replay.record import Recorded
    from rlm.trajectory.resume import Line


SHOWN_CHARS = 200
"""How much is shown of the answer of a run that can't be resumed."""


class Again(TypedDict, total=False):
    """What a run that is resumed, forked or replayed may be given anew."""

    context: Any
    """The data, where it didn't come from files and wasn't kept."""
    output_type: Any
    """What the answer must fit, in the place of the recorded schema."""
    overrides: Mapping[str, Any]
    """Settings by name, such as `token_budget`, that take the place of those of the run."""


class How(Again, total=False):
    """How a run is resumed or forked."""

    on_divergence: Literal["stop", "continue"]
    """What is done where a cell does something other than recorded; stop by default."""
    redo_unfinished: bool
    """Call tools again that may change things and were called but never answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """Where to leave the record of a run, and what is said there."""

    turn: int | None = None
    """The last turn to take from the record; 0 takes none. None: all, for another question after the answer, but for
    one that was cut off in its reply or in a cell; where nothing is added, all but the turn that gave the answer."""
    addition: str = ""
    """What the model is told before it goes on: a hint, or another question."""


def resume_request(run: str | Path, present: Config, fork: Fork | None = None, **how: Unpack[How]) -> Request:
    """The request that goes on with a run or, given `fork`, another way from a turn of it; blocks while it reads.

    `run` is an id, the beginning of one, `last`, or the path of a record. Raises:
        ConfigError: there is no such run, it is complete or still alive, or something that it needs is not there.
    """
    on_divergence = how.get("on_divergence", "stop")
    if on_divergence not in ("stop", "continue"):
        raise ConfigError(f"on_divergence: expected stop or continue, got {on_divergence!r}")
    line = _line(run, present)
    config = _config(line, present, how)
    if fork is None:
        _check_unfinished(line, config)
        turn, addition = None, ""
    else:
        turn, addition = _place(fork, line), fork.addition
    caps = msgspec.structs.asdict(config.budget)
    is_anew = fork is not None and fork.turn is None and bool(fork.addition)
    record = line.record(dict.fromkeys(caps) if is_anew else caps, until=turn)
    if fork is None and (addition := line.unsaid(record)):  # it was cut off before the question was asked
        is_anew, record = True, line.record(dict.fromkeys(caps))
    if line.salt is None:
        raise ConfigError(
            f"{line.latest.run.path} has masked texts, and the exact ones ({line.latest.run.run_id}.exact) are gone: "
            "it can't be resumed\nrlm replay runs it as it is"
        )
    resumption = Resumption(
        record=record,
        salt=line.salt,
        rules=ReplayRules(
            on_divergence=on_divergence,
            redo_unfinished=how.get("redo_unfinished", False),
            addition=addition,
            unheard=line.unheard if fork is None else (),
            anew=is_anew,
        ),
        forked_at=turn,
        trajectories=line.completed if fork is None else (),
    )
    return _request(line, config, how, resumption)


def replay_request(run: str | Path, present: Config, **again: Unpack[Again]) -> Request:
    """The request that runs the cells of a run again, whatever became of it; blocks while it reads.

    Raises:
        ConfigError: there is no such run, it is still alive, or something that it needs is not there.
    """
    line = _any_line(run, present)
    record = line.record(line.latest.start.budget)
    rules = ReplayRules(on_divergence="report")
    resumption = Resumption(record=record, salt=line.salt or b"", rules=rules)
    return _request(line, _config(line, present, again), again, resumption)


def _request(line: Line, config: Config, again: Again, resumption: Resumption) -> Request:
    task, output_type = line.task, again.get("output_type")
    return Request(
        prompt=task.prompt,
        context=_context(again.get("context"), task.context, line),
        output_type=task.output_schema if output_type is None else output_type,
        config=config,
        images=_images(line),
        resumption=resumption,
        is_interactive=task.dialect == INTERACTIVE,
    )


def _config(line: Line, present: Config, again: Again) -> Config:
    """The settings that the run had, beside whose record the new one goes."""
    overrides = again.get("overrides") or {}
    config = recorded_config(line.latest.start, present, overrides)
    if not is_users_own(line.latest.run.path, present.log_dir):
        _refuse_lifted(line.latest.run.path, config, present, overrides)
    return msgspec.structs.replace(config, log_dir=str(line.latest.run.path.parent))


def recorded_config(start: RunStart, present: Config, overrides: Mapping[str, Any]) -> Config:
    """The settings that a run had, with `overrides` on top; those that need trust are the present ones.

    Raises:
        ConfigError: an override is wrong, the record has settings that this version can't take, or names a plug-in that
            the user does not name.
    """
    now = msgspec.to_builtins(present)
    then = {**now, **{name: value for name, value in start.config.items() if name in now}}
    then |= {"budget": dict(start.budget), "environment": start.environment, "model": then["model"] or start.model}
    layers = Layers(SCHEMA)
    layers.add_overrides(overrides)
    asked = {setting.key.name: setting.value for setting in layers.settings.values()}
    _refuse_plugins(then, now, asked)
    for guarded in [*guarded_keys(then), *guarded_keys(now)]:
        _put(then, guarded.name, now)
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


def _refuse_plugins(then: Mapping[str, Any], now: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """A record is no place from which code is loaded: the user names a plug-in, or another sandbox or model."""
    for key in ("environment", "model", "sub_model"):
        if key not in asked and then[key] != now[key] and names_plugin(key, then[key]):
            raise ConfigError(
                f"the run had {key} {then[key]!r}, which a plug-in adds and a record alone can't name\n"
                f"name it again: --{key.replace('_', '-')} {then[key]}"
            )


def _refuse_lifted(path: Path, config: Config, present: Config, overrides: Mapping[str, Any]) -> None:
    """Check that a record which may be anybody's lifts no cap, nor weakens a wall, that the user has not named.

    Raises:
        ConfigError: it does; names the setting and the ways to allow it.
    """
    layers = Layers(SCHEMA)
    layers.add_overrides(overrides)
    for key in SCHEMA:
        if key.table or key.label in layers.settings:
            continue
        value, most = ("none" if each is None else each for each in (key.value_in(config), key.value_in(present)))
        if is_lifted(key.type, value, key.value_in(present)):
            raise ConfigError(
                f"{path} may have come from somebody else, and its run had {key.name} = {value} where your own "
                f"configuration, or else the default, allows {most}\n"
                f"name it again if you agree with it: as an option, or by {key.variable}={value}"
            )


def _put(then: dict[str, Any], name: str, now: Mapping[str, Any]) -> None:
    """Take one setting from the present configuration."""
    section, _, rest = name.partition(".")
    if section in now:
        then[section] = now[section] if not rest else {**then[section], rest: now[section].get(rest)}
    else:
        then.pop(section, None)


def _line(run: str | Path, present: Config) -> Line:
    """The record of a run that a model drove, with those before it."""
    line = _any_line(run, present)
    if line.task.dialect == INTERACTIVE:
        run_id = line.latest.run.run_id
        raise ConfigError(
            f"the cells of run {run_id} came from outside, not from a model: it has no turns to go on with\n"
            f"rlm replay {run_id} runs its cells again; what is to outlive a REPL is kept in a session: rlm session"
        )
    return line


def _any_line(run: str | Path, present: Config) -> Line:
    place = (run.parent, run.stem) if isinstance(run, Path) else place_of(run, log_folder(present.log_dir))
    if place[1] == "last":
        place = (place[0], last_driven(place[0], INTERACTIVE))
    return read_line(*place, decode_value)


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
    if name in ("timeout_s", SharedBudgetExhausted.limit) or is_raised(name, had, now):
        return
    if name not in now:
        raise ConfigError(
            f"run {run_id} ended as its model made no progress, and would again\n"
            f"rlm fork {run_id} --turn N --prompt-addition TEXT gives it a hint"
        )
    raise ConfigError(f"run {run_id} reached its {name} of {had.get(name)}: it needs a higher one to go on")


def _place(fork: Fork, line: Line) -> int:
    """The turn after which a fork begins: after that of the answer only with something to say.

    Raises:
        ConfigError: there is no such turn.
    """
    earliest_first = reversed(line.records)
    turns = {turn.start.body.turn: turn for record in earliest_first for turn in record.root.of("turn") if turn.start}
    last = max(turns, default=0)
    end = ended(line.latest)
    if end is not None and end.status == "completed" and not fork.addition:
        last -= 1
    if fork.turn is None and fork.addition and last and _is_cut_off(turns[last]):
        return last - 1
    turn = last if fork.turn is None else fork.turn
    if not 0 <= turn <= last:
        raise ConfigError(
            f"a fork of run {line.latest.run.run_id} may begin after turn 0 to {last}, not {turn}"
            + ("" if fork.addition else "\nwith -p TEXT, another question, it may begin after the answer too")
        )
    return turn


def _is_cut_off(turn: Recorded) -> bool:
    """Whether its reply or one of its cells never came to an end: a follow-up doesn't wait for that again."""
    return turn.end is None or not all(each.has_ended for each in turn.children if each.kind in ("model", "exec"))


def _context(given: Any, note: ContextNote, line: Line) -> Context:
    context = prepare(given, reading_of(note.reading)) if given is not None else _found(note, line)
    # A record is believed about no data that it does not know.
    if note.kind != "none" and context.digest != note.digest:
        context.close()
        raise ConfigError(
            f"the context is not the one that run {line.latest.run.run_id} had: "
            f"{_named_sources(note) or 'what was given'} differs from what it was then\n"
            "give that one with -f, or make a new run"
        )
    return context


def _found(note: ContextNote, line: Line) -> Context:
    """The context, from the copy beside a record or from the files that it was read from."""
    if note.kind == "none":
        return Context.empty()
    for record in line.records:
        content = kept_context(context_path(record.run.path))
        if content is not None:
            if note.kind == "value":
                return value_context(decode_value(msgspec.json.decode(content)), encode_value)
            return text_context(content.decode("utf-8", "surrogatepass"))
    for folder in dict.fromkeys((note.folder, "")):  # where the run was, or where its files have moved to
        paths = [source if source.parts[:1] == ("~",) else Path(folder, source) for source in map(Path, note.sources)]
        if paths and all(path.exists() or any(char in path.name for char in "*?[") for path in paths):
            return prepare(paths if len(paths) > 1 else paths[0], reading_of(note.reading))
    where = f" (it was read from {_named_sources(note)})" if note.sources else ""
    raise ConfigError(f"the context of run {line.latest.run.run_id} is not here{where}\ngive it again with -f FILE")


def _named_sources(note: ContextNote) -> str:
    return ", ".join(note.sources[:3])


def _images(line: Line) -> tuple[bytes, ...]:
    """The images that the user gave with the prompt."""
    messages = [event.body for record in line.records for event in record.root.bodies(MessageAdded)]
    notes: list[ImageNote] = next((message.images for message in messages if message.images), [])
    source = line.source
    found = [source.image(note.digest) for note in notes]
    if None in found:
        raise ConfigError(f"an image of run {line.latest.run.run_id} is gone from its folder of blobs")
    return tuple(content for content in found if content is not None)
