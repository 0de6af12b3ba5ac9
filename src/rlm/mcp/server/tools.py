"""The tools of the server. A host's model reads their signatures and docstrings, which are written for it.

A call that is cancelled interrupts its cell at once, and the session keeps its variables.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from mcp.server.mcpserver import Context  # noqa: TC002 (the signatures are read at run time)
from pydantic import Field

from rlm.core.exceptions import ToolError
from rlm.core.off_loop import off_loop_if_large
from rlm.core.paths import Confined
from rlm.files.texts import BinaryFileError, Reading
from rlm.mcp.server import clients, results
from rlm.mcp.server import variables as cells
from rlm.mcp.server.approvals import ANY
from rlm.mcp.server.rounds import write_round
from rlm.mcp.server.session import Suspended
from rlm.mcp.server.sessions import DEFAULT, UNGUESSED
from rlm.runtime.inputs import DEFAULT_READING, prepare_within
from rlm.runtime.request import Request
from rlm.runtime.runs import complete

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from rlm.core.config import Config
    from rlm.core.contexts.context import Context as Data
    from rlm.core.outcome import RLMResult
    from rlm.core.types import ExecResult
    from rlm.mcp.server.approvals import Approvals
    from rlm.mcp.server.session import HostSession, Progress
    from rlm.mcp.server.sessions import Sessions
    from rlm.runtime.wiring import Parts

CODE_CHARS = 1_000_000

SessionId = Annotated[
    str | None, Field(description="Which REPL. Leave out to use your own default; another name is another REPL.")
]


class Tools:
    """The tools of one server."""

    def __init__(self, parts: Parts, sessions: Sessions, config: Config, approvals: Approvals) -> None:
        self._parts = parts
        self._sessions = sessions
        self._config = config
        self._approvals = approvals
        self._given_up: dict[str, str] = {}
        """What became of the last run that a client didn't wait for, by owner; told by the next call that can."""

    async def execute_python(
        self,
        ctx: Context[Any, Any],
        code: Annotated[str, Field(description="Python source, as it is, without a fence.")],
        timeout: Annotated[
            float | None, Field(description="Seconds the code may work; waiting for answers is not counted.")
        ] = None,
        session_id: SessionId = None,
    ) -> str:
        """Run Python in a persistent, sandboxed REPL (no network, no files) and return what it prints.

        Variables stay between calls, after errors too. The last expression is shown. Loaded data is the variable
        `context`. In the code: `llm_query(prompt)` and `llm_query_batched([prompts])` ask a language model about texts;
        `rlm_query(prompt, context=None)` hands a part to a child with its own REPL. Print only what you need to see.
        If the result lists queries, answer them with answer_queries.
        """
        if len(code) > CODE_CHARS:
            raise ToolError(f"the code has {len(code):,} characters, the most is {CODE_CHARS:,}: load data by a file")
        timeout_s = self._timeout_s(timeout)
        session = await self._sessions.ensure(clients.owner_of(ctx), session_id)
        return await self._cell(ctx, session, session.execute(code, timeout_s, _progress(ctx)))

    async def answer_queries(
        self,
        ctx: Context[Any, Any],
        answers: Annotated[
            dict[str, Any],
            Field(description='Your answer to each query, by id: {"q1": "text", "q2": "text"}; {}: see them again.'),
        ],
        session_id: SessionId = None,
        cancel: Annotated[bool, Field(description="Give the waiting cell up: it is interrupted.")] = False,
    ) -> str:
        """Answer the queries that a cell of execute_python waits for; returns the next ones, or the cell's result.

        You are the model behind llm_query: answer each query from its own text alone, as briefly as it allows.
        """
        session = self._sessions.find(*self._key(ctx, session_id))
        if cancel:
            session.interrupt("it was given up by answer_queries")
        given = {} if cancel else results.as_answers(answers)
        return await self._cell(ctx, session, self._answered(session, given, _progress(ctx)))

    async def load_context(
        self,
        ctx: Context[Any, Any],
        path: Annotated[
            str | list[str],
            Field(description="A file (becomes a str), or a folder, archive, glob or list (a dict, path -> text)."),
        ],
        session_id: SessionId = None,
        replace: Annotated[bool, Field(description="Load even if variables of this session are lost by it.")] = False,
        encoding: Annotated[
            str | None, Field(description="The encoding of all files, where the guess is wrong.")
        ] = None,
        binary: Annotated[
            bool, Field(description="Take binary files too: one character per byte, encode('latin-1') gives them back.")
        ] = False,
    ) -> str:
        """Load files of any size into the REPL as the variable `context`, without their text passing through here.

        Do this first: loading starts the REPL anew. Returns kind, size and a short preview.
        """
        data = await self._data(ctx, path, Reading(encoding=encoding, binary=binary))
        session = await self._sessions.ensure(clients.owner_of(ctx), session_id)
        await session.load(data, replace=replace)
        return results.of_context(session, data)

    async def run_rlm(
        self,
        ctx: Context[Any, Any],
        prompt: Annotated[str, Field(description="The whole task; the model sees nothing of this conversation.")],
        path: Annotated[
            str | list[str] | None, Field(description="The data: a file, a folder, a glob, or a list of these.")
        ] = None,
    ) -> str:
        """Have the configured model answer a task over data of any size by itself, in a REPL of its own.

        It costs money or quota of that model, within the budget of the configuration. May take minutes.
        """
        data = None if path is None else await self._data(ctx, path)
        request = Request(prompt=prompt, context=data, config=self._config)
        with self._approvals.of(ctx):
            owner, working = clients.owner_of(ctx), asyncio.ensure_future(complete(self._parts, request))
        try:
            await reporting(ctx, working)
        except asyncio.CancelledError:
            if owner != clients.ANY_HTTP:
                working.add_done_callback(partial(self._note_given_up, owner))
            raise
        text = await off_loop_if_large(results.of_run, working.result())
        return results.of_given_up(self._given_up.pop(owner, "")) + text

    def _note_given_up(self, owner: str, run: asyncio.Future[RLMResult]) -> None:
        if not run.cancelled() and run.exception() is None:
            self._given_up[owner] = results.of_run(run.result())

    async def get_repl_context(
        self,
        ctx: Context[Any, Any],
        names: Annotated[
            list[str] | None, Field(description="Variables to show the values of. Leave out to list all of them.")
        ] = None,
        session_id: SessionId = None,
    ) -> str:
        """List the variables of the REPL with type and size, or show the values of some, shortened."""
        session = self._sessions.find(*self._key(ctx, session_id))
        if not names:
            running = session.execute(cells.LIST_ALL, self._timeout_s(None), _progress(ctx))
            return results.fitting(await self._cell(ctx, session, running))
        listing = results.Listing()
        for name in cells.showing(names):
            if listing.is_full:
                listing.leave_out(name)
                continue
            running = session.execute(name, self._timeout_s(None), _progress(ctx))
            listing.add(name, await self._cell(ctx, session, running))
        return listing.text

    async def set_repl_context(
        self,
        ctx: Context[Any, Any],
        variables: Annotated[dict[str, Any], Field(description='JSON values by name: {"limit": 5, "names": ["a"]}.')],
        session_id: SessionId = None,
    ) -> str:
        """Set variables of the REPL to JSON values. For large data use load_context."""
        code = cells.setting(variables)
        session = await self._sessions.ensure(clients.owner_of(ctx), session_id)
        return await self._cell(ctx, session, session.execute(code, self._timeout_s(None), _progress(ctx)))

    async def clear_repl_context(self, ctx: Context[Any, Any], session_id: SessionId = None) -> str:
        """Start the REPL anew: every variable goes, the loaded `context` stays. Ends a cell that runs or waits."""
        session = self._sessions.find(*self._key(ctx, session_id))
        gone = await session.clear()
        said = f"Session {session.id!r} is new; {len(gone)} variables are gone. The loaded context stays."
        return said + results.record_of(session)

    async def list_sessions(self, ctx: Context[Any, Any]) -> str:
        """List your REPLs: what each does, its data, its variables, where its record is."""
        owner = clients.owner_of(ctx)
        given_up = results.of_given_up(self._given_up.pop(owner, ""))
        return given_up + results.of_sessions(self._sessions.shown_to(owner), self._config.mcp.session_ttl_s)

    async def destroy_session(self, ctx: Context[Any, Any], session_id: SessionId = None) -> str:
        """Close a REPL for good, with whatever runs in it, and free its memory. Its record stays."""
        owner, name = self._key(ctx, session_id)
        await self._sessions.destroy(owner, name)
        return f"Session {name!r} is closed."

    async def verify_execution(
        self,
        run: Annotated[str, Field(description="The run's id or the beginning of it; or last.")] = "last",
        last_n: Annotated[int, Field(description="Check the last so many runs instead.", ge=0, le=100)] = 0,
    ) -> str:
        """Check that the record of a run or session is as it was written: nothing altered, removed or added."""
        from rlm.jobs.tasks.receipts import checked
        from rlm.trajectory.places import log_folder
        from rlm.trajectory.reader import find_run, list_runs

        folder = log_folder(self._config.log_dir)
        runs = list_runs(folder)[:last_n] if last_n else [find_run(folder, run)]
        found = [await asyncio.to_thread(checked, each.path) for each in runs]
        return "\n".join(map(results.of_verification, found)) or "There are no runs here."

    def _key(self, ctx: Context[Any, Any], session_id: str | None) -> tuple[str, str]:
        return clients.owner_of(ctx), DEFAULT if session_id is None else session_id

    def _timeout_s(self, timeout: float | None) -> float:
        """The time that a cell gets. Raises:
        ToolError: the client asked for more than it may.
        """
        cap_s = self._config.mcp.max_cell_timeout_s
        if timeout is None:
            return min(cap_s, self._config.cell_timeout_s)
        if not 0 < timeout <= cap_s:
            raise ToolError(f"timeout has to be more than 0 and at most {cap_s:g} seconds (mcp.max_cell_timeout_s)")
        return timeout

    async def _data(self, ctx: Context[Any, Any], path: str | list[str], reading: Reading = DEFAULT_READING) -> Data:
        names = [path] if isinstance(path, str) else path
        if not names:
            raise ToolError("name at least one file, folder or glob")
        folders = self._config.allowed_paths or await clients.folders_of(ctx)
        try:
            return await asyncio.to_thread(prepare_within, names, Confined(folders), reading)
        except BinaryFileError as error:
            what = str(error).partition("\n")[0]
            raise ToolError(
                f"{what}\nbinary=true takes its bytes, one character for each; encoding reads it as text"
            ) from error

    async def _answered(
        self, session: HostSession, given: dict[str, str], progress: Progress
    ) -> ExecResult | Suspended | str:
        delivery, news = await session.go_on(given, progress)
        note = results.of_delivery(delivery)
        return note + await self._text(session, news) if note else news

    async def _cell(
        self, ctx: Context[Any, Any], session: HostSession, running: Awaitable[ExecResult | Suspended | str]
    ) -> str:
        """The outcome of a cell, as text; a call that is cancelled interrupts the cell."""
        run_id = ANY if session.repl is None else session.repl.path.stem
        try:
            with self._approvals.of(ctx, run_id):
                async with clients.sampling(ctx, session.host):
                    news = await running
        except asyncio.CancelledError:
            session.interrupt("the client cancelled the call")
            raise
        text = await self._text(session, news)
        unnamed = session.id.startswith(UNGUESSED) and clients.owner_of(ctx) == clients.ANY_HTTP
        return f'{text}\n[Go on with session_id="{session.id}".]' if unnamed else text

    async def _text(self, session: HostSession, news: ExecResult | Suspended | str) -> str:
        if isinstance(news, str):
            return news
        if isinstance(news, Suspended):
            done = f"{news.answered:,} of {news.asked:,} answered." if news.answered else ""
            return write_round(session.id, news.queries, done).text
        limit_chars = self._config.cell_output_chars
        missed, session.missed = session.missed, None
        if missed is None:
            return await off_loop_if_large(results.of_cell, news, limit_chars, session.masked)
        before = await off_loop_if_large(results.of_missed, missed, limit_chars, session.masked)
        return before + await off_loop_if_large(results.of_cell, news, limit_chars, session.masked)


def _progress(ctx: Context[Any, Any]) -> Progress:
    """A function that tells the client, if it asked for progress, how far a cell is."""
    told = 0

    async def tell(text: str) -> None:
        nonlocal told
        told += 1
        await ctx.report_progress(told, message=results.clean(text))

    return tell


async def reporting(ctx: Context[Any, Any], task: asyncio.Future[Any]) -> None:
    """Await a task, and tell the client now and then that it goes on; cancelled with the call."""
    tell = _progress(ctx)
    try:
        while not (await asyncio.wait({task}, timeout=2.0))[0]:
            await tell("the run goes on")
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
