"""The desk: takes requests for all faces, checks what their token may do, has an engine make the runs, and keeps what
became of them. Whatever the protocol, this is the one place that decides whose run is whose."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rlm import repl
from rlm.core.config import Config
from rlm.core.exceptions import ConfigError, QueueFullError, RLMError, StoreError
from rlm.core.record.recorder import new_run_id
from rlm.core.texts import escape_surrogates
from rlm.hooks.approval import never
from rlm.jobs.engines.ended import have_begun
from rlm.jobs.engines.feed import Feed
from rlm.jobs.engines.local import LocalEngine
from rlm.jobs.tasks.data import data_with
from rlm.runtime.control import Act
from rlm.runtime.images import read_images
from rlm.runtime.models import BackendPool
from rlm.runtime.request import Request
from rlm.runtime.resume import resume_request
from rlm.service.messages import NewAct, NewRun, PageQuery, ResultNote, RunNote, RunPage
from rlm.service.refusals import RequestRefused
from rlm.service.results import (
    asked_in,
    existing_records,
    failed_note,
    note_on_record,
    result_note,
    whole_event,
    with_spend,
)
from rlm.service.state import OPEN, RowFilter, RunRow
from rlm.service.uploads import Uploads
from rlm.trajectory.places import log_folder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from rlm.core.interfaces import Backend
    from rlm.core.types import Json
    from rlm.jobs.engines.engine import Numbered
    from rlm.jobs.engines.local import LocalSubmission
    from rlm.service.state import ServiceState
    from rlm.service.tokens import Caller

PROMPT_CHARS = 1_000
"""How much of a prompt is listed."""
MOST_OF_PAGE = 500
LIVE_STATES = frozenset({"queued", "running", "paused"})
"""States of runs that have not ended."""
DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenRun:
    """A request that was taken."""

    row: RunRow
    request: Request | None = None
    """What its run is begun with; None where it was taken before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """What a run came to."""

    state: str
    note: ResultNote
    cost_usd: float | None
    at: float
    """In seconds since the epoch."""


class Desk:
    """Takes requests; used on one event loop only."""

    def __init__(self, config: Config, state: ServiceState, folder: Path, backend: Backend | None = None) -> None:
        """`backend` serves every model; None: those of the configuration."""
        self.config = config
        self._state = state
        self._folder = folder
        self._backend = backend
        self._engines: dict[str, LocalEngine] = {}
        self._keeping: dict[str, asyncio.Task[None]] = {}
        """By the id of each run in progress, the task that awaits its end and keeps its result."""
        self._unkept: dict[str, _Ended] = {}
        """By its id, what a run came to that can't be kept yet."""
        self._moved = asyncio.Event()
        """Set, and another in its place, whenever a run has begun or ended."""
        self._is_stopping = False

    async def submit(self, caller: Caller, asked: NewRun, *, key: str | None = None, follows: str = "") -> RunNote:
        """Take a request for a run; the same `key` again is the same run. `follows` is the id of one before it.

        Raises:
            RequestRefused: it is not possible, or the token may not have it.
        """
        digest = hashlib.sha256(msgspec.json.encode(asked)).hexdigest()
        if key is not None and (known := self._state.by_key(caller.name, key)) is not None:
            return self._same(known, digest)
        taken = await self.take(caller, asked, key=key, follows=follows)
        if taken.request is None:
            return self._same(taken.row, digest)
        try:
            await self._begin(taken.row, taken.request)
        except RequestRefused:
            self.forget(taken.row)  # so that the same key may be tried again
            raise
        return self.note(caller, taken.row.id)

    async def take(
        self, caller: Caller, asked: NewRun, *, key: str | None = None, follows: str = "", waiting: int = 1
    ) -> TakenRun:
        """Keep a request for a run, which is to be begun; `waiting` is how many come with it. Where another request
        with that key came first, it is that one, without a request to begin.

        Raises:
            RequestRefused: it is not possible, or the token may not have it.
        """
        if self._is_stopping:
            raise RequestRefused(503, "the service is stopping: ask again in a moment")
        self._keep_rest()
        form = msgspec.json.encode(asked)
        self._check_room(caller, waiting)
        request = await asyncio.to_thread(self._request, caller, asked, new_run_id())
        assert request.run_id is not None
        row = RunRow(
            id=request.run_id,
            tenant=caller.name,
            created_at=time.time(),
            prompt=escape_surrogates(asked.prompt[:PROMPT_CHARS]),
            model=request.config.model or "",
            request=form,
            records=str(_record(request)),
            cap_usd=request.config.budget.cost_budget_usd,
            follows=follows or None,
            key=key,
            key_digest=None if key is None else hashlib.sha256(form).hexdigest(),
        )
        if self._state.add(row):
            return TakenRun(row=row, request=request)
        known = None if key is None else self._state.by_key(caller.name, key)
        if known is None:
            raise RequestRefused(409, "there is a run of that id already")
        return TakenRun(row=known)

    async def begin(self, caller: Caller, row: RunRow, answers: Mapping[str, Json] | None = None) -> None:
        """Begin a run that was taken; `answers` of others go before its own data.

        Raises:
            RequestRefused: it is not possible any more, or too many wait.
        """
        request = await asyncio.to_thread(self._request, caller, asked_in(row), row.id, row.cap_usd)
        if answers:
            data = await asyncio.to_thread(data_with, dict(answers), request.context)
            request = replace(request, context=data)
        await self._begin(row, request)

    def has_begun(self, caller: Caller, run_id: str) -> bool:
        """Whether a run was handed to its engine, or has ended.

        Raises:
            RequestRefused: this token has no such run.
        """
        row = self._row(caller, run_id)
        return row.state != OPEN or row.id in self._unkept or self._live(row) is not None

    def drop(self, caller: Caller, run_id: str, ended: ResultNote) -> None:
        """Keep what became of a run that was taken and never begun.

        Raises:
            RequestRefused: this token has no such run.
        """
        self._keep(self._row(caller, run_id), ended.status, ended, 0.0)

    def forget(self, row: RunRow) -> None:
        """Forget a run that was taken and will not be begun."""
        self._state.remove(row.id)

    def by_prefix(self, caller: Caller, prefix: str) -> list[RunRow]:
        """The runs of a token whose keys begin so."""
        return self._state.by_prefix(caller.name, prefix)

    def unfinished(self) -> list[RunRow]:
        """Every run that was taken and has no result, the oldest first."""
        return self._state.unfinished()

    def note(self, caller: Caller, run_id: str) -> RunNote:
        """How a run stands.

        Raises:
            RequestRefused: this token has no such run.
        """
        return self._note(self._row(caller, run_id))

    def page(self, caller: Caller, asked: PageQuery) -> RunPage:
        """Runs of a token, the newest first.

        Raises:
            RequestRefused: `before` is nothing that a page gave.
        """
        count, before = max(1, min(asked.limit, MOST_OF_PAGE)), _place(asked.before)
        kept = RowFilter(
            state=OPEN if asked.state in LIVE_STATES else asked.state,
            model=asked.model,
            since=asked.since,
            until=asked.until,
            text=asked.text,
        )
        rows, found = self._state.page(caller.name, before=before, kept=kept, count=count + 1), list[RunRow]()
        while rows:
            found += [row for row in rows if asked.state is None or self._note(row).state == asked.state]
            if len(found) > count or len(rows) <= count:
                break
            before = (rows[-1].created_at, rows[-1].id)
            rows = self._state.page(caller.name, before=before, kept=kept, count=count + 1)
        shown = found[:count]
        following = f"{shown[-1].created_at!r}-{shown[-1].id}" if len(found) > count else None
        return RunPage(runs=[self._note(row) for row in shown], next=following)

    def line(self, caller: Caller, run_id: str, most: int) -> list[RunNote]:
        """A run, and those before it whose conversation it goes on with, the oldest first.

        Raises:
            RequestRefused: this token has no such run.
        """
        found: list[RunNote] = []
        following: str | None = run_id
        while following and len(found) < most:
            row = self._row(caller, following)
            found.append(self._note(row))
            following = row.follows
        return found[::-1]

    async def events(self, caller: Caller, run_id: str, first: int = 0) -> AsyncIterator[Numbered]:
        """The events of a run from that number on, until it has ended; long texts are whole.

        Raises:
            RequestRefused: this token has no such run.
        """
        await self._until_begun(caller, run_id)
        row = self._row(caller, run_id)
        live = self._live(row)
        records = existing_records(row)
        feed = Feed(records, is_over=True)
        async for each in feed.events(first) if live is None else live.events(first):
            if each.event.blobs:
                whole = await asyncio.to_thread(whole_event, row, each.event)
                yield replace(each, event=whole)
            else:
                yield each

    async def result(self, caller: Caller, run_id: str) -> ResultNote:
        """What a run came to, once it has ended.

        Raises:
            RequestRefused: this token has no such run.
        """
        await self._until_begun(caller, run_id)
        if (keeping := self._keeping.get(run_id)) is not None:
            await asyncio.shield(keeping)
        note = self.note(caller, run_id)
        if note.result is None:
            raise RequestRefused(503, "the service is stopping: the run goes on when it is back")
        return note.result

    def act(self, caller: Caller, run_id: str, asked: NewAct) -> RunNote:
        """Act on a run in progress.

        Raises:
            RequestRefused: this token has no such run or may not do so, or it can't be done.
        """
        row = self._row(caller, run_id)
        live = self._live(row)
        if live is None:
            raise RequestRefused(409, f"run {run_id} has ended: nothing can be done with it any more")
        if asked.action == "set" and not caller.is_owner:
            _check_lowers(asked, live.request.config)
        try:
            live.control(Act(**msgspec.structs.asdict(asked), who=caller.name))
        except ConfigError as error:
            raise RequestRefused(422, str(error)) from error
        return self.note(caller, run_id)

    def uploads(self, caller: Caller) -> Uploads:
        """The uploads of a token."""
        service = self.config.service
        folder = self._folder / "uploads" / caller.name
        return Uploads(folder, quota_bytes=service.upload_bytes, ttl_s=service.upload_ttl_s)

    def counts(self) -> dict[str, int]:
        """How many runs there are in each state, whoever's they are."""
        found = Counter(self._state.counts())
        found["queued"] = found.pop(OPEN, 0)
        for engine in self._engines.values():
            for made in engine:
                found[made.state] += 1
                found["queued"] -= 1
        return {state: max(count, 0) for state, count in found.items()}

    def cost_usd(self) -> float:
        """What all runs that have ended cost, as far as that is known."""
        return self._state.cost_usd()

    async def take_up(self, callers: dict[str, Caller]) -> None:
        """Go on with what a service before this one left unfinished; `callers` are the tokens that are valid."""
        for row in self._state.unfinished():
            caller = callers.get(row.tenant)
            records = existing_records(row)
            if caller is not None and row.key is not None and row.key.startswith("list:") and not records:
                continue  # its list begins it when its turn comes
            try:
                if caller is None:
                    raise RequestRefused(403, "its token was revoked")
                await self._go_on(caller, row, records)
            except (RLMError, msgspec.MsgspecError) as error:
                note = await asyncio.to_thread(with_spend, failed_note(error), records)
                self._keep(row, "failed", note, note.cost_usd)

    async def drain(self, seconds: float) -> None:
        """Take nothing more, and give what is in progress so long to end."""
        self._is_stopping = True
        if self._keeping and seconds:
            await asyncio.wait(tuple(self._keeping.values()), timeout=seconds)

    async def aclose(self) -> None:
        """Stop what is in progress, which is left to be resumed."""
        self._is_stopping = True
        await asyncio.gather(*(engine.aclose() for engine in self._engines.values()), return_exceptions=True)
        await asyncio.gather(*self._keeping.values(), return_exceptions=True)

    async def _go_on(self, caller: Caller, row: RunRow, records: list[Path]) -> None:
        if not await asyncio.to_thread(have_begun, records):
            run_id = new_run_id() if records else row.id  # the name of a record that was cut off at once is taken
            request = await asyncio.to_thread(self._request, caller, asked_in(row), run_id, row.cap_usd)
            self._state.take_up(row.id, str(_record(request)))
            await self._begin(row, request)
            return
        if (ended := await asyncio.to_thread(note_on_record, records[-1])) is not None:
            self._keep(row, ended.status, ended, ended.cost_usd)
            return
        request = await asyncio.to_thread(resume_request, records[-1], self._config(caller))
        request = replace(request, run_id=new_run_id())
        self._state.take_up(row.id, "\n".join(map(str, (*records, _record(request)))))
        await self._begin(row, request, tuple(records))

    async def _begin(self, row: RunRow, request: Request, earlier: tuple[Path, ...] = ()) -> None:
        try:
            made = await self._engine(row.tenant).submit(request, submission_id=row.id, earlier=earlier)
        except QueueFullError as error:
            raise RequestRefused(503, str(error)) from error
        self._keeping[row.id] = asyncio.create_task(self._kept(row, made))
        self._keeping[row.id].add_done_callback(lambda _done: self._keeping.pop(row.id))
        self._has_moved()

    async def _kept(self, row: RunRow, made: LocalSubmission) -> None:
        """Keep what a run comes to; a run that was only stopped with the service is left to be resumed."""
        try:
            result = await made.result()
        except RLMError as error:
            self._keep(row, "refused", failed_note(error), 0.0)
            return
        if self._is_stopping and result.status == "cancelled":
            return
        note = result_note(result)
        if result.trajectory is None:  # it never began; what was done before the service was started again, did
            note = await asyncio.to_thread(with_spend, note, existing_records(row))
        self._keep(row, result.status, note, note.cost_usd)

    def _keep(self, row: RunRow, state: str, note: ResultNote, cost_usd: float | None) -> None:
        """Keep what a run came to; where there is no room for it yet, it is answered from memory, and kept later."""
        self._unkept[row.id] = _Ended(state=state, note=note, cost_usd=cost_usd, at=time.time())
        with suppress(StoreError):
            self._keep_rest()
        self._has_moved()

    async def _until_begun(self, caller: Caller, run_id: str) -> None:
        """Wait until a run was handed to its engine, which that of a list is when its turn comes.

        Raises:
            RequestRefused: this token has no such run.
        """
        while not self.has_begun(caller, run_id):
            await self._moved.wait()

    def _has_moved(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    def _keep_rest(self) -> None:
        """Raises:
        StoreError: the state can't be written.
        """
        for run_id, ended in tuple(self._unkept.items()):
            self._state.end(run_id, ended.state, to_json(ended.note), ended.cost_usd)
            del self._unkept[run_id]

    def _engine(self, tenant: str) -> LocalEngine:
        """The engine of a token: what it shares among runs, no other token has."""
        if tenant not in self._engines:
            service = self.config.service
            self._engines[tenant] = LocalEngine(
                BackendPool(self._backend),
                approver=never,  # whoever starts the service is not there for every run
                max_running=service.max_running,
                max_queued=service.max_queued,
            )
        return self._engines[tenant]

    def _live(self, row: RunRow) -> LocalSubmission | None:
        engine = self._engines.get(row.tenant)
        return None if engine is None else engine.get(row.id)

    def _row(self, caller: Caller, run_id: str) -> RunRow:
        row = self._state.get(caller.name, run_id)
        if row is None:
            raise RequestRefused(404, f"there is no run {run_id[:40]}")
        return row

    def _note(self, row: RunRow) -> RunNote:
        live = self._live(row)
        if (unkept := self._unkept.get(row.id)) is not None:
            row = replace(row, state=unkept.state, ended_at=unkept.at, result=to_json(unkept.note))
        state = row.state if live is None or row.state != OPEN else live.state
        return RunNote(
            id=row.id,
            state="queued" if state == OPEN else state,
            created_at=row.created_at,
            prompt=row.prompt,
            model=row.model,
            ended_at=row.ended_at,
            progress=None if live is None else live.status,
            result=None if row.result is None else msgspec.json.decode(row.result, type=ResultNote),
        )

    def _same(self, known: RunRow, digest: str) -> RunNote:
        if known.key_digest != digest:
            raise RequestRefused(422, "that Idempotency-Key was used with another request")
        return self._note(known)

    def _check_room(self, caller: Caller, waiting: int) -> None:
        service, most = self.config.service, caller.rights.max_runs
        if most is not None and waiting > most:
            raise RequestRefused(429, f"this token may have {most} runs at one time, not a list of {waiting}")
        if most is not None and self._state.unfinished_count(caller.name) + waiting > most:
            raise RequestRefused(429, f"this token may have {most} runs at one time: wait for one to end")
        if self._state.unfinished_count() + waiting > service.max_running + service.max_queued:
            raise RequestRefused(503, "too many runs wait already: try again later")

    def _request(self, caller: Caller, asked: NewRun, run_id: str, cap_usd: float | None = None) -> Request:
        """The request for a run of that id; blocks while it looks at files. `cap_usd` is what it was taken with."""
        try:
            return Request(
                prompt=f"{asked.instructions}\n\n{asked.prompt}" if asked.instructions else asked.prompt,
                context=self._context(caller, asked),
                output_type=asked.output_schema,
                images=read_images(map(base64.b64decode, asked.images)),
                config=self._run_config(caller, asked, cap_usd),
                run_id=run_id,
            )
        except (ConfigError, msgspec.ValidationError, binascii.Error) as error:
            raise RequestRefused(422, str(error)) from error

    def _context(self, caller: Caller, asked: NewRun) -> Any:
        files = [
            *map(self.uploads(caller).path, asked.contexts),
            *(self._readable(caller, path) for path in asked.paths),
        ]
        if files and asked.context is not None:
            raise RequestRefused(422, "a run has its context inline or from files, not both")
        if files:
            return files if len(files) > 1 else files[0]
        return asked.context

    def _readable(self, caller: Caller, given: str) -> Path:
        """A path of the server that the token may read, with nothing in it that leads elsewhere."""
        real = Path(os.path.realpath(given))
        folders = [Path(os.path.realpath(folder)) for folder in caller.rights.folders]
        if not Path(given).is_absolute() or not any(real.is_relative_to(folder) for folder in folders):
            raise RequestRefused(403, f"this token may not read {given[:200]}")
        if not real.exists():
            raise RequestRefused(422, f"there is no file {given[:200]}")
        return real

    def _config(self, caller: Caller) -> Config:
        """The settings of a token's runs: those of the owner, who alone has their tools, folders and skills."""
        if caller.is_owner:
            return msgspec.structs.replace(self.config, session=None)
        return msgspec.structs.replace(
            self.config,
            session=None,
            cache=False,
            skills=(),
            mcp_servers={},
            allowed_paths=(),
            tables=(),
            helper_rights=(),
            guest_tools=None,
            allowed_models=(),
            log_dir=str(self._folder / "records" / caller.name),
        )

    def _run_config(self, caller: Caller, asked: NewRun, cap_usd: float | None) -> Config:
        base = self._config(caller)
        models = self.models(caller)
        model = asked.model or (models[0] if models else base.model)
        for name in {asked.model, asked.sub_model} - {None}:
            if not caller.is_owner and name not in models:
                raise RequestRefused(
                    403, f"this token may not use the model {str(name)[:100]}; it may use: {', '.join(models)}"
                )
        environment = asked.environment or base.environment
        repl.load(environment)  # raises where no sandbox has that name
        given = {"environment": environment, "model": model}
        if not caller.is_owner and environment != base.environment:
            raise RequestRefused(403, "this token may not choose the sandbox")
        changed = {**msgspec.to_builtins(base), **given, "budget": self._budget(caller, base, asked, cap_usd)}
        if asked.sub_model or model != base.model:
            changed["sub_model"] = asked.sub_model
        return msgspec.convert(changed, Config)

    def models(self, caller: Caller) -> tuple[str, ...]:
        """The models that the runs of a token may use, the first by default."""
        own = dict.fromkeys(name for name in (self.config.model, self.config.sub_model) if name)
        if caller.rights.models is not None:
            return caller.rights.models
        return (*own, *(name for name in self.config.allowed_models if caller.is_owner and name not in own))

    def _budget(self, caller: Caller, base: Config, asked: NewRun, cap_usd: float | None) -> dict[str, Any]:
        """The caps of a run: lower ones than the service's as asked, and what is left of the day at most."""
        caps: dict[str, Any] = msgspec.to_builtins(base.budget)
        for name, cap in asked.budget.items():
            if name not in caps:
                raise RequestRefused(422, f"budget: there is no cap {name[:100]!r}; there are {', '.join(caps)}")
            if not caller.is_owner and _is_higher(cap, caps[name]):
                raise RequestRefused(403, f"{name}: this token may have {caps[name]} at most")
            caps[name] = cap
        per_day = caller.rights.cost_budget_usd_per_day
        if cap_usd is not None:
            caps["cost_budget_usd"] = cap_usd
        elif per_day is not None:
            today = time.time() // DAY_S * DAY_S
            left = per_day - self._state.spent_usd(caller.name, today)
            if left <= 0:
                raise RequestRefused(429, f"this token has used up its {per_day:g} US dollars of today (UTC)")
            most = caps["cost_budget_usd"]
            caps["cost_budget_usd"] = left if most is None else min(most, left)
        return caps


def to_json(value: Any) -> bytes:
    """A message as JSON in ASCII, whatever texts are in it."""
    return json.dumps(msgspec.to_builtins(value)).encode()


def _is_higher(cap: Any, most: Any) -> bool:
    if most is None or cap == most:
        return False
    return cap is None or not isinstance(cap, int | float) or not isinstance(most, int | float) or cap > most


def _check_lowers(asked: NewAct, config: Config) -> None:
    """Refuse a cap above the one that the run was taken with."""
    most = msgspec.structs.asdict(config.budget).get(asked.cap)
    if _is_higher(asked.value, most):
        raise RequestRefused(403, f"{asked.cap}: this token may have {most} at most")


def _record(request: Request) -> Path:
    return (log_folder(request.config.log_dir) / f"{request.run_id}.jsonl").absolute()


def _place(before: str) -> tuple[float, str] | None:
    if not before:
        return None
    at, _, run_id = before.rpartition("-")
    try:
        return float(at), run_id
    except ValueError:
        raise RequestRefused(422, "before: give the `next` of the page before") from None
