"""Reads the record of a run, so that a resumed run can be served from it.

The record of a run that resumed another one goes on where that other record ends; since spans keep their ids,
`_merged` lays one over the other. Records are hostile like every file: nothing in them chooses a command, an address or
a folder, and the tree is built only from events that fit together.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from rlm.core.events import (
    VERSION,
    Advised,
    Compaction,
    CompletionEnd,
    CompletionStart,
    Controlled,
    Limit,
    MessageAdded,
    RecordLeft,
    RunStart,
    TurnStart,
    Warned,
)
from rlm.core.exceptions import ConfigError
from rlm.core.replay.record import Record, Recorded, RecordSource
from rlm.core.replay.serving import ReplayRules
from rlm.core.types import IMAGE_BYTES
from rlm.trajectory.exact import ExactTexts, exact_path
from rlm.trajectory.reader import Trajectory, ends_run, find_run, is_run_id, list_runs, open_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from rlm.core.events import Event
    from rlm.core.types import Json

_DIGEST = re.compile(r"[0-9a-f]{64}")
_KINDS = frozenset({"completion", "turn", "model", "exec", "tool"})
_OF_TURNS = (MessageAdded, Advised, Limit, Compaction, Warned)
MAX_CHAIN = 1_000
"""A longer chain of runs that resume each other isn't followed."""
MAX_LEVELS = 200
"""Spans aren't nested deeper: each child completion adds three levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """What a run needs that resumes another one."""

    record: Record
    salt: bytes
    rules: ReplayRules = field(default_factory=ReplayRules)
    forked_at: int | None = None
    """The last turn taken from the record; None if the record is followed to its end."""
    trajectories: tuple[Path, ...] = ()
    """The files of the runs that this one completes; when it succeeds, what was kept for resuming them is removed."""


@dataclass(slots=True, kw_only=True)
class RunRecord:
    """The record of one run, read from its file."""

    run: Trajectory
    begun: Event
    """The event of its beginning."""
    start: RunStart
    root: Recorded
    exact: ExactTexts

    @property
    def earlier(self) -> str | None:
        """The id of the run from whose record this one was served; None if it began by itself."""
        return self.start.resumed_from or self.start.forked_from

    @property
    def is_past_earlier(self) -> bool:
        """Whether the run went on beyond the earlier record, so that this record alone is needed."""
        left = [event.body.turn for event in self.root.bodies(RecordLeft)]
        turns = [turn.start.body.turn for turn in self.root.of("turn") if turn.start is not None]
        return bool(left) and max(turns, default=0) > max(left)


@dataclass(slots=True, kw_only=True)
class Line:
    """A run and the runs that it resumed, the latest first."""

    records: list[RunRecord]

    @property
    def latest(self) -> RunRecord:
        return self.records[0]

    @property
    def salt(self) -> bytes | None:
        """The salt of the keys; None if it was kept beside the record, where texts are masked, and is gone."""
        salt = self.latest.start.salt
        return self.latest.exact.salt if salt is None else bytes.fromhex(salt)

    @property
    def task(self) -> CompletionStart:
        """What the run was asked: its first completion.start. The earliest file always has it.

        Raises:
            ConfigError: no file has it.
        """
        for record in self.records:
            if record.root.start is not None:
                body: CompletionStart = _Files(self.records).read(record.root.start)
                return body
        raise ConfigError(f"{self.latest.run.path} ends before the run had begun: start a new run")

    def unsaid(self, record: Record) -> str:
        """What the user of the latest fork says after its turn, if `record` breaks off before that was said."""
        fork = self.records[self._fork]
        turns = {turn.start.body.turn: turn for turn in record.root.of("turn") if turn.start is not None}
        if fork.start.forked_from is None or max(turns, default=0) > fork.start.forked_at:
            return ""
        start: RunStart = record.source.read(fork.begun)
        said = turns.get(fork.start.forked_at, record.root)
        texts = [record.source.read(event).content for event in said.bodies(MessageAdded)]
        return "" if start.addition in texts else start.addition

    @property
    def completed(self) -> tuple[Path, ...]:
        """The files of the run and of all that it resumed, needed or not. A run that it forked may still be resumed."""
        paths = {record.run.path: None for record in self.records[: self._fork + 1]}
        earlier = self.records[-1].start.resumed_from if len(paths) == len(self.records) else None
        while earlier is not None and is_run_id(earlier) and len(paths) <= MAX_CHAIN:
            run = Trajectory(self.latest.run.path.with_name(f"{earlier}.jsonl"))
            if run.path in paths or not run.path.exists():
                break
            paths[run.path] = None
            earlier = next((event.body.resumed_from for event in run if isinstance(event.body, RunStart)), None)
        return tuple(paths)

    @property
    def _fork(self) -> int:
        """The place of the first record whose run forked another one; of the last record where none did."""
        forks = (place for place, record in enumerate(self.records) if record.start.forked_from is not None)
        return next(forks, len(self.records) - 1)

    @property
    def source(self) -> RecordSource:
        return _Files(self.records)

    @property
    def unheard(self) -> tuple[str, ...]:
        """What was said to the run while it went on, and no turn has begun with yet."""
        said: list[str] = []
        spoken = sorted(_spoken(self.records), key=lambda event: event.at)
        for body in map(self.source.read, spoken):
            if isinstance(body, Controlled):
                said.append(body.text)
            elif body.content in said:
                said.remove(body.content)
        return tuple(said)

    def record(self, budget: Mapping[str, Json], *, until: int | None = None) -> Record:
        """The record to serve from under these caps; `until` is the last turn to take, for a fork."""
        root = self.records[-1].root
        _drop_limits(self.records[-1], budget)
        for later in reversed(self.records[:-1]):
            _drop_limits(later, budget)
            if later.start.forked_from is not None:
                root = _until(root, later.start.forked_at)
            root = _merged(root, later.root)
        if until is not None:
            root = _until(root, until)
        return Record(run_id=self.latest.run.run_id, root=root, source=_Files(self.records), masked=self.salt is None)


def _spoken(records: Iterable[RunRecord]) -> Iterator[Event]:
    """What users said to runs in progress, and the messages that came of it."""
    for record in records:
        for span in (record.root, *record.root.of("turn")):
            for event in span.events:
                match event.body:
                    case Controlled(action="say") | MessageAdded(role="user"):
                        yield event


def _with_caps_as_set(start: RunStart, root: Recorded) -> RunStart:
    """The beginning of a run with the caps that were set while it went on."""
    acts = [event.body for event in root.bodies(Controlled) if event.body.action == "set"]
    known = {act.cap: act.value for act in acts if act.cap in start.budget}
    return msgspec.structs.replace(start, budget=dict(start.budget) | known)


class _Files:
    """Reads the bodies of events, and images, from the files of several runs."""

    def __init__(self, records: Iterable[RunRecord]) -> None:
        self._records = {record.run.run_id: record for record in records}

    def read(self, event: Event) -> Any:
        record = self._records[event.run]
        exact = record.exact.body(event.seq, type(event.body))
        return record.run.whole(event).body if exact is None else exact

    def image(self, digest: str) -> bytes | None:
        if not _DIGEST.fullmatch(digest):
            return None
        paths = (record.run.path.with_suffix(".blobs") / digest for record in self._records.values())
        return next((content for path in paths if (content := _content(path, digest)) is not None), None)


def read_line(log_dir: Path, name: str, decode: Callable[[Json], Any]) -> Line:
    """The run that `name` means, and the runs that it resumed; `decode` undoes the encoding of the exact texts.

    Raises:
        ConfigError: the run doesn't exist, is still being written, or has a record that can't be served from.
    """
    records: list[RunRecord] = []
    seen: set[str] = set()
    wanted: str | None = name
    while wanted is not None:
        run = find_run(log_dir, wanted) if not records else _earlier(log_dir, wanted, records[-1])
        if run.run_id in seen or len(seen) > MAX_CHAIN:
            raise ConfigError(f"{run.path}: its runs resume each other in a circle, which rlm never writes")
        seen.add(run.run_id)
        if run.is_running():
            raise ConfigError(
                f"{run.path} is still being written: its run is alive\nrlm logs tail {run.run_id} -f follows it"
            )
        records.append(_read(run, decode))
        wanted = None if records[-1].is_past_earlier else records[-1].earlier
    return Line(records=records)


def last_driven(log_dir: Path, dialect: str) -> str:
    """The id of the run written last whose cells came from a model, not in that dialect; `last` if there is none."""
    for run in list_runs(log_dir):
        begun = next((event.body for event in run if isinstance(event.body, CompletionStart)), None)
        if begun is None or begun.dialect != dialect:
            return run.run_id
    return "last"


def _earlier(log_dir: Path, run_id: str, later: RunRecord) -> Trajectory:
    run = Trajectory(log_dir / f"{run_id}.jsonl")
    if not set(run_id) <= set("0123456789abcdef") or not run.path.exists():
        raise ConfigError(
            f"run {later.run.run_id} resumed run {run_id[:32]} and ended before it had all of its record, which is "
            f"gone from {log_dir}\nput that record back"
        )
    return run


def _read(run: Trajectory, decode: Callable[[Json], Any]) -> RunRecord:
    events = [event for event in run if event.run == run.run_id]
    start = events[0].body if events else None
    if not isinstance(start, RunStart):
        raise ConfigError(f"{run.path} doesn't begin with run.start: it can't be resumed")
    if start.version > VERSION:
        raise ConfigError(
            f"{run.path} is of version {start.version} of the format, and this is rlm for version {VERSION}: upgrade"
        )
    root = _tree(events)
    exact = ExactTexts(exact_path(run.path), decode)
    record = RunRecord(run=run, begun=events[0], start=_with_caps_as_set(start, root), root=root, exact=exact)
    _check_blobs(record, events)
    return record


def _check_blobs(record: RunRecord, events: Iterable[Event]) -> None:
    """Raises:
    ConfigError: a text that was too large for its line is gone from beside the record.
    """
    for event in events:
        exact = record.exact.body(event.seq, type(event.body)) if event.blobs else event.body
        if exact is None and record.run.whole(event).blobs:
            folder = record.run.path.with_suffix(".blobs")
            raise ConfigError(
                f"{record.run.path}: event {event.seq} is incomplete, for its blob is gone or altered\n"
                f"put the files of {folder} back: a run is never served a part as if it were the whole"
            )


def _content(path: Path, digest: str) -> bytes | None:
    try:
        with open_record(path) as file:
            content = file.read(IMAGE_BYTES + 1)
    except ConfigError:
        return None
    return content if hashlib.sha256(content).hexdigest() == digest else None


def _tree(events: list[Event]) -> Recorded:
    """The spans of one run as a tree, by its root; events that don't fit into the tree are left out."""
    root = Recorded(id=events[0].span, parent=None, kind="completion")
    known = {root.id: root}
    turns: dict[str, Recorded] = {}
    for event in events:
        kind, _, phase = event.type.partition(".")
        span = known.get(event.span)
        if phase == "start" and kind in _KINDS and isinstance(event.body, msgspec.Struct):
            span = _begun(event, kind, known, span)
            if span is not None and isinstance(event.body, TurnStart) and event.parent is not None:
                turns[event.parent] = span
        elif span is None or not isinstance(event.body, msgspec.Struct):
            continue
        elif phase == "end":
            span.end = span.end or (event if kind == span.kind else None)
        elif kind != "run":
            turn = turns.get(event.span) if isinstance(event.body, _OF_TURNS) else None
            (turn or span).events.append(event)
    return root


def _begun(event: Event, kind: str, known: dict[str, Recorded], span: Recorded | None) -> Recorded | None:
    if span is not None:
        if span.start is None and span.kind == kind:
            span.start = event
        return span
    above = known.get(event.parent or "")
    if above is None or above.level >= MAX_LEVELS:
        return None
    span = known[event.span] = Recorded(id=event.span, parent=above.id, kind=kind, start=event, level=above.level + 1)
    above.children.append(span)
    return span


def _merged(before: Recorded, after: Recorded) -> Recorded:
    """One span in two records, as one; what the run has that resumed the other takes precedence."""
    left = [event.body for event in after.events if isinstance(event.body, RecordLeft) and event.body.diverged]
    children = {child.id: child for child in before.children if not _is_beyond(child, left)}
    for child in after.children:
        known = children.get(child.id)
        children[child.id] = child if known is None or _is_same_turn(child, left) else _merged(known, child)
    whole = after if _has_end(after) or len(after.events) >= len(before.events) else before
    is_root = after.parent is None
    end = after.end if _has_end(after) or is_root else before.end or after.end
    return Recorded(
        id=after.id,
        parent=after.parent,
        kind=after.kind,
        start=after.start or before.start,
        end=end,
        events=[*whole.events, *(_reached(before) if whole is after and not _reached(after) else [])],
        children=list(children.values()),
    )


def _reached(span: Recorded) -> list[Event]:
    """The limits that ended the completion in this turn: they come after its own end, so that a run which was cut off
    between the two lacks them."""
    return [event for event in span.bodies(Limit) if event.body.state == "reached"]


def _has_end(span: Recorded) -> bool:
    return span.end is not None and (span.has_ended or span.kind in ("model", "turn"))


def _is_beyond(child: Recorded, left: list[RecordLeft]) -> bool:
    """Whether a child belongs to a turn that the later run doesn't follow."""
    return bool(left) and child.kind == "turn" and child.start is not None and child.start.body.turn > left[0].turn


def _is_same_turn(child: Recorded, left: list[RecordLeft]) -> bool:
    return bool(left) and child.kind == "turn" and child.start is not None and child.start.body.turn == left[0].turn


def _drop_limits(record: RunRecord, budget: Mapping[str, Json]) -> None:
    """Forget the limits that ended completions if their caps are higher now, and limits of time, which starts anew."""
    had = record.start.budget
    for span in record.root.spans():
        if span.kind in ("completion", "turn"):
            span.events = [event for event in span.events if not _is_lifted(event, had, budget)]


def _is_lifted(event: Event, had: Mapping[str, Json], budget: Mapping[str, Json]) -> bool:
    limit = event.body
    if not isinstance(limit, Limit) or limit.state != "reached":
        return False
    return limit.name == "timeout_s" or limit.name not in had or is_raised(limit.name, had, budget)


_COUNTS = {"all": 0, "uncached": 1, "output": 2}
"""What a token budget counts; a higher one is less."""


def is_raised(name: str, had: Mapping[str, Json], now: Mapping[str, Json]) -> bool:
    """Whether a cap is higher now than it was then, or counts less."""
    counted, counts = (_COUNTS.get(str(caps.get("token_budget_counts")), 0) for caps in (had, now))
    if name == "token_budget" and counts > counted:
        return True
    before, after = had.get(name), now.get(name)
    return before is not None and (after is None or after > before)


def _until(root: Recorded, turn: int) -> Recorded:
    """The record up to the end of a turn, by its root."""
    turns = [each for each in root.of("turn") if each.start is not None and each.start.body.turn <= turn]
    return Recorded(id=root.id, parent=None, kind="completion", start=root.start, events=root.events, children=[*turns])


def ended(record: RunRecord) -> CompletionEnd | None:
    """How the run ended; None if it was cut off."""
    end = record.root.end
    return end.body if end is not None and ends_run(end) else None
