"""Sessions: a workspace, and a line of runs of which each goes on from the one before. What was said is read from the
records; a small file in the user's state folder says which records belong to a session."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from rlm.acp.workspace import workspace_context
from rlm.core.config.files import user_folder
from rlm.core.events import CompletionEnd, CompletionStart, RunStart
from rlm.core.exceptions import ConfigError, StoreError
from rlm.core.plain import one_line
from rlm.core.whole_files import replace_file
from rlm.runtime.request import Request
from rlm.runtime.resume import Fork, How, resume_request
from rlm.secrets import masker
from rlm.trajectory.reader import Trajectory, find_run, is_run_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rlm.acp.permission import Asking
    from rlm.acp.prompts import EditorPrompt
    from rlm.core.config import Config
    from rlm.core.contexts.context import Context
    from rlm.core.events import Event

TITLE_CHARS = 80
TOLD_CHARS = 4_000
"""How much is told of each text that was said before, to a run that can't go on from the one before."""
MOST_TOLD = 20
TOLD = "\n\nWhat was said before in this conversation:\n"
MOST_IN_LINE = 1_000


class KeptSession(Struct, frozen=True, kw_only=True):
    """A session as its file has it."""

    cwd: str
    title: str = ""
    """The beginning of its first prompt, masked."""
    records: list[str] = []
    """The paths of the records of its runs, the first first."""
    updated_at: float = 0.0
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A prompt and what was answered."""

    prompt: str
    answer: str


@dataclass(slots=True, kw_only=True)
class EditorSession:
    """A session that an editor has open."""

    id: str
    cwd: Path
    folders: tuple[Path, ...]
    """Its workspace: `cwd`, and what the editor named beside it."""
    config: Config
    overrides: Mapping[str, object]
    asking: Asking
    warnings: tuple[str, ...] = ()
    """What the user should know of its settings."""
    records: list[Path] = field(default_factory=list)
    title: str = ""
    cost_usd: float | None = 0.0
    """What its runs have cost since it was opened; None where a price is unknown."""

    def request(self, asked: EditorPrompt) -> Request:
        """The request that a prompt is: another question after the answer before where that is possible, else a run of
        its own that is told what was said; blocks while it reads records and the workspace.

        Raises:
            ConfigError: what is asked can't be.
        """
        context, warnings = self._context(asked)
        warnings = (*self.warnings, *warnings)
        if self.records and not asked.images:
            how = How(context=context, overrides=self.overrides)
            try:
                found = resume_request(self.records[-1], self.config, Fork(addition=asked.text), **how)
            except ConfigError as error:
                context, _ = self._context(asked)  # the one before may be closed
                warnings = (*warnings, f"this prompt can't go on with the variables of the last one: {error}")
            else:
                return replace(found, warnings=warnings, permission=self.asking)
        return Request(
            prompt=asked.text + told(exchanges(self.records)),
            context=context,
            images=tuple(asked.images),
            config=self.config,
            warnings=warnings,
            permission=self.asking,
            run_id=None if self.records else self.id,
        )

    def _context(self, asked: EditorPrompt) -> tuple[Context, tuple[str, ...]]:
        return workspace_context(self.folders, asked.attached, self.config.acp.context_bytes)

    def add(self, record: Path, prompt: str) -> None:
        """Take note of a run of the session, and keep that.

        Raises:
            StoreError: it can't be kept.
        """
        self.records.append(record)
        masking = masker(self.config.mask)
        if not self.title:
            self.title = one_line(prompt if masking is None else masking.mask(prompt), TITLE_CHARS)
        kept = KeptSession(
            cwd=str(self.cwd), title=self.title, records=[*map(str, self.records)], updated_at=time.time()
        )
        path = session_path(self.id)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(path, msgspec.json.encode(kept))
        except OSError as error:
            raise StoreError(f"{path}: the session can't be kept: {error.strerror}") from error


def sessions_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder with the files of sessions.

    Raises:
        ConfigError: the user has no home.
    """
    state = user_folder(environ, "XDG_STATE_HOME", ".local/state")
    if state is None:
        raise ConfigError("there is no home for sessions: set HOME or XDG_STATE_HOME")
    return state / "acp"


def session_path(session_id: str) -> Path:
    """The file of a session.

    Raises:
        ConfigError: nothing has that id.
    """
    if not is_run_id(session_id):
        raise ConfigError("there is no such session")
    return sessions_folder() / f"{session_id}.json"


def find_session(session_id: str, log_dir: Path) -> KeptSession:
    """A session of an editor, or any run of the project, as one.

    Raises:
        ConfigError: there is neither.
    """
    if (kept := _read(session_path(session_id))) is not None:
        there = [record for record in kept.records if Path(record).exists()]
        return msgspec.structs.replace(kept, records=there)
    run = find_run(log_dir, session_id)
    return KeptSession(cwd="", records=[*map(str, _line(run.path))])


def kept_sessions() -> list[tuple[str, KeptSession]]:
    """Every session by its id, that which was used last first."""
    found = [(path.stem, _read(path)) for path in sessions_folder().glob("*.json")]
    kept = [(name, each) for name, each in found if each is not None]
    return sorted(kept, key=lambda pair: pair[1].updated_at, reverse=True)


def exchanges(records: Iterable[Path]) -> list[Exchange]:
    """What was said in these runs; a record that is gone is passed over."""
    return [found for record in records if (found := _exchange(record)) is not None]


def told(said: list[Exchange]) -> str:
    """What was said before, as the end of a prompt; empty where nothing was."""
    lines = [
        f"{who}: {text[:TOLD_CHARS]}"
        for each in said[-MOST_TOLD:]
        for who, text in (("user", each.prompt), ("assistant", each.answer))
    ]
    return TOLD + "\n\n".join(lines) if lines else ""


def _read(path: Path) -> KeptSession | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=KeptSession)
    except (OSError, msgspec.MsgspecError):
        return None


def _line(record: Path) -> list[Path]:
    """A record and those that it goes on from, the first first."""
    found = [record]
    while len(found) < MOST_IN_LINE:
        start = next((event.body for event in Trajectory(found[-1]) if isinstance(event.body, RunStart)), None)
        earlier = None if start is None else start.forked_from or start.resumed_from
        path = record.with_name(f"{earlier}.jsonl")
        if earlier is None or not is_run_id(earlier) or path in found or not path.exists():
            break
        found.append(path)
    return found[::-1]


def _exchange(record: Path) -> Exchange | None:
    try:
        prompt, answer = _said(Trajectory(record))
    except ConfigError:
        return None
    return Exchange(prompt=prompt.partition(TOLD)[0], answer=answer) if prompt else None


def _said(run: Trajectory) -> tuple[str, str]:
    """The prompt and the answer of a run; for another question after an answer, that question."""
    addition = prompt = answer = ""
    for event in _of_root(run):
        match run.whole(event).body:
            case RunStart(addition=text):
                addition = text
            case CompletionStart(prompt=text):
                prompt = text
            case CompletionEnd(response=text):
                answer = text
    return addition or prompt, answer


def _of_root(run: Trajectory) -> Iterator[Event]:
    return (
        event
        for event in run
        if event.parent is None and isinstance(event.body, RunStart | CompletionStart | CompletionEnd)
    )
