"""A REPL driven from outside: what its cells call is charged, recorded and answered as in any run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rlm import RLM
from rlm.backends.scripted import ScriptedBackend
from rlm.core.budget import Budget
from rlm.core.config import Config
from rlm.core.events import Event
from rlm.core.exceptions import ConfigError, REPLExecutionError
from rlm.runtime.interactive import Interactive
from rlm.runtime.models import BackendPool
from rlm.runtime.resume import replay_request, resume_request
from rlm.runtime.session import Session
from rlm.runtime.wiring import Parts
from rlm.trajectory.reader import Trajectory
from tests.integration.cli import fenced

SHOWN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


@asynccontextmanager
async def interactive(folder: Path, *script: str, **settings: Any) -> AsyncIterator[Interactive]:
    base = Config(model="scripted/x", environment="local", log_dir=str(folder))
    config = msgspec.structs.replace(base, **settings)
    parts = Parts(backends=BackendPool(ScriptedBackend(list(script))), tools=(), sinks=())
    try:
        repl = await Interactive.open(parts, config, "some data")
        yield repl
        await repl.aclose()
    finally:
        await parts.aclose()


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


async def test_cells_share_a_namespace_and_each_is_in_the_record(tmp_path: Path) -> None:
    async with interactive(tmp_path) as repl:
        await repl.execute("n = len(context)")
        assert (await repl.execute("n")).output == "9\n"
    events = list(Trajectory(repl.path))
    assert [event.body.cell for event in events if event.type == "exec.start"] == [1, 2]
    assert types(events)[-1] == "completion.end"
    assert events[-1].body.status == "completed"


def test_an_open_repl_keeps_the_rlm_that_it_belongs_to(tmp_path: Path) -> None:
    with RLM(config=Config(environment="local", log_dir=str(tmp_path))).open_repl("data") as repl:
        assert repl.run("len(context)").output == "4\n"


async def test_what_cells_ask_is_answered_charged_and_recorded(tmp_path: Path) -> None:
    async with interactive(tmp_path, "blue", fenced("FINAL(context.upper())")) as repl:
        assert (await repl.execute("print(llm_query('colour?'), rlm_query('shout'))")).output == "blue SOME DATA\n"
        assert (repl.usage.subcalls, repl.usage.model_calls, repl.usage.depth_reached) == (2, 2, 1)
    starts = [event.body for event in Trajectory(repl.path) if event.type == "completion.start"]
    assert [start.depth for start in starts] == [0, 1]


async def test_one_ledger_holds_over_all_cells(tmp_path: Path) -> None:
    async with interactive(tmp_path, "one", "two", budget=Budget(subcall_budget=1)) as repl:
        assert (await repl.execute("llm_query('a')")).output == "'one'\n"
        result = await repl.execute("llm_query('b')")
    assert result.error is not None
    assert "subcall_budget of 1" in result.error.message


async def test_output_comes_as_it_is_printed_and_artifacts_are_kept(tmp_path: Path) -> None:
    pieces: list[str] = []
    async with interactive(tmp_path) as repl:
        await repl.execute("print('seen')\nname = save_artifact('a.txt', 'kept')", None, pieces.append)
    assert "".join(pieces) == "seen\n"
    assert (repl.path.with_suffix(".artifacts") / "a.txt").read_text() == "kept"


async def test_an_interrupt_keeps_the_variables(tmp_path: Path) -> None:
    async with interactive(tmp_path) as repl:
        result = await repl.execute("kept = 1\nprint('x')\nwhile True: pass", None, lambda _: repl.interrupt("enough"))
        assert (result.status, result.state_reset) == ("interrupted", False)
        assert (await repl.execute("kept")).output == "1\n"


async def test_after_its_end_nothing_runs(tmp_path: Path) -> None:
    async with interactive(tmp_path) as repl:
        await repl.aclose()
        with pytest.raises(REPLExecutionError, match="closed"):
            await repl.execute("1")


async def test_what_masking_took_out_is_kept_nowhere_whatever_ends_the_repl(tmp_path: Path) -> None:
    async with interactive(tmp_path) as repl:
        await repl.execute("FINAL('sk-proj-T3stKq8ZpL0vXw7YbN2mR9' + 'dF4gH6jKq8ZpL0vXw7Yb')")
        kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"REDACTED" in kept
    assert b"YbN2mR9dF4gH6jKq8ZpL0vXw7Yb" not in kept


async def test_a_run_whose_cells_came_from_outside_is_not_taken_up_again(tmp_path: Path) -> None:
    async with interactive(tmp_path, mask="off") as repl:
        await repl.execute("1")
    with pytest.raises(ConfigError, match="rlm session"):
        resume_request(repl.path, Config())


async def test_without_a_model_a_cell_that_asks_one_is_told_how_to_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlm.backends.default_model", lambda _environ: None)
    parts = Parts(backends=BackendPool(), tools=(), sinks=())
    repl = await Interactive.open(parts, Config(environment="local", log_dir=str(tmp_path)), [1, 2])
    try:
        assert (await repl.execute("sum(context)")).output == "3\n"
        error = (await repl.execute("llm_query('a')")).error
    finally:
        await repl.aclose()
        await parts.aclose()
    assert error is not None
    assert "no model is set" in error.message


@pytest.mark.parametrize("mask", ["secrets", "off"])
def test_what_python_gets_of_a_cell_is_masked_as_the_command_line_has_it(tmp_path: Path, mask: str) -> None:
    config = Config(environment="local", log_dir=str(tmp_path), store_path=str(tmp_path / "store.sqlite"), mask=mask)
    code = f"print('{SHOWN}'); x = {{'password': 'hunter22x'}}; FINAL(x)"
    with RLM(config=config).open_repl() as repl, Session("work", config=config) as session:
        for run in (repl.run, session.run):
            done, failed = run(code), run(f"raise ValueError('{SHOWN}')")
            assert done.final is not None
            assert failed.error is not None
            shown = [done.output.strip(), done.final.value["password"], failed.error.message]
            kept = "[REDACTED_GITHUB_TOKEN]", "[REDACTED_PASSWORD]", "[REDACTED_GITHUB_TOKEN]"
            assert shown == ([*kept] if mask == "secrets" else [SHOWN, "hunter22x", SHOWN])
            assert (SHOWN in failed.error.traceback) == (mask == "off")
            assert run("len(x['password'])").output == "9\n"


async def test_the_cells_of_a_session_run_again_with_the_answers_of_the_record(tmp_path: Path) -> None:
    cells = [
        "n = len(context)",
        "print(n, llm_query('which?'), rlm_query('what?'))",
        "import time\nprint(time.time_ns())",
    ]
    async with interactive(tmp_path, "blue", fenced("FINAL('red')")) as repl:
        for code in cells:
            await repl.execute(code)
    for context, words in ((None, "is not here"), ("other data", "is not the one")):
        with pytest.raises(ConfigError, match=words):
            replay_request(repl.path, Config(log_dir=str(tmp_path)), context=context)
    async with RLM(config=Config(log_dir=str(tmp_path))) as rlm:
        report = await rlm.areplay(repl.path, context="some data")
    assert (report.cells, report.served) == (4, 2)
    assert [(each.cell, each.what) for each in report.differences] == [(3, "output")]
    assert [path.suffix for path in tmp_path.iterdir()].count(".jsonl") == 1, "a replay leaves no record"
