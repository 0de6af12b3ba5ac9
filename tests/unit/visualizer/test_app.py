"""What the pages make of addresses, fields and records, without a browser."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rlm.backends.scripted import ScriptedBackend
from rlm.core.config import Config
from rlm.core.events import ArtifactSaved, ExecEnd, ExecStart, TurnStart, Warned
from rlm.core.exceptions import BadRequestError
from rlm.core.types import ExecError
from rlm.jobs.batch.planning import BatchRequest, run_batch
from rlm.tasks import Task, TaskList, cc_execute_task_list
from rlm.trajectory.index.folder import Index
from rlm.trajectory.index.rows import SpanQuery
from rlm.trajectory.task_lists import list_records
from tests.architecture.sources import ROOT
from tests.support.sample_runs import damage, record_all
from tests.unit.trajectory.records import RUN, START, answer, ask, begin, end, events, write

if TYPE_CHECKING:
    from streamlit.testing.v1 import AppTest

    from rlm.core.events import Body
    from rlm.core.types import ModelRequest
    from rlm.trajectory.states import SpanState

    Open = Callable[..., AppTest]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The ids of the runs by name, and the folder they are in."""
    folder = tmp_path_factory.mktemp("logs")
    found = record_all(folder)
    return {**found, "damaged": damage(folder, found["review"]), "folder": str(folder)}


@pytest.fixture
def visit(runs: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    import streamlit as st  # here, for it takes seconds to load, and most processes of a session run none of this
    from streamlit.testing.v1 import AppTest

    # Each visit would read what every installed package says of itself, to find components that the app has not.
    monkeypatch.setattr("streamlit.components.v2.manifest_scanner.scan_component_manifests", list)

    def visit(folder: str | None = None, **params: str) -> AppTest:
        monkeypatch.setattr(sys, "argv", ["app.py", folder or runs["folder"]])
        app = AppTest.from_file(str(ROOT / "visualizer/app.py"), default_timeout=60)
        for name, value in params.items():
            app.query_params[name] = value
        return app.run()

    yield visit
    st.cache_resource.clear()


def seen(app: AppTest) -> str:
    """All text of the elements on the page; there is no exception on it."""
    from rlm_visualizer.elements import texts_of

    assert [each.message for each in app.exception] == []
    protos = [each.proto for each in app.main.children.values() for each in _leaves(each)]
    return "\n".join(texts_of(json.loads(proto.json)["tree"]) for proto in protos if getattr(proto, "json", ""))


def mounted(app: AppTest) -> str:
    """What the components on the page were given, as JSON."""
    return "".join(each.proto.json for each in _leaves(app.main) if getattr(each.proto, "json", ""))


def _leaves(block: object) -> list[object]:
    children = getattr(block, "children", None)
    return [block] if children is None else [leaf for child in children.values() for leaf in _leaves(child)]


def test_every_run_is_listed_with_what_became_of_it(visit: Open, runs: dict[str, str]) -> None:
    text = seen(visit())
    assert "6 runs" in text
    assert {"completed", "limit", "crashed"} <= set(text.split())
    assert "token_budget of 6,000" in text


@pytest.mark.parametrize(
    ("params", "count"),
    [
        ({"status": "limit"}, 1),
        ({"q": "CHEAPLY"}, 1),
        ({"model": "reviewer"}, 6),
        ({"model": "gpt"}, 0),
        ({"min_cost": "0.05"}, 3),
        ({"days": "1"}, 6),
        ({"q": "no such words"}, 0),
    ],
)
def test_the_address_filters(visit: Open, params: dict[str, str], count: int) -> None:
    text = seen(visit(**params))
    assert f"{count} run" in text if count else "No run fits" in text


def test_a_field_writes_the_address(visit: Open) -> None:
    app = visit(status="limit")
    assert app.multiselect[0].value == ["limit"]
    app.text_input[0].set_value("cheaply").run()
    assert dict(app.query_params) == {"q": "cheaply", "status": "limit"}


def test_a_run_says_it_all_at_once(visit: Open, runs: dict[str, str]) -> None:
    text = seen(visit(run=runs["review"]))
    assert "Which complaints are urgent" in text
    assert "39 of 48 groups have urgent tickets" in text
    assert "TypeError: string indices must be integers" in text
    assert "turn 4 › cell 4" in text
    assert "turn 6" in text
    assert f"rlm replay {runs['folder']}/{runs['review']}.jsonl" in text
    assert "scripted/reviewer" in text


def test_the_beginning_of_an_id_and_last_are_runs_too(visit: Open, runs: dict[str, str]) -> None:
    assert runs["review"][:8] in seen(visit(run=runs["review"][:6]))
    assert runs["damaged"][:8] in seen(visit(run="last"))


def test_a_step_shows_what_the_model_saw_its_code_its_output_and_what_it_asked(
    visit: Open, runs: dict[str, str]
) -> None:
    app = visit(run=runs["review"], step="3")
    text = seen(app)
    assert [code.language for code in app.code] == ["python"]
    assert "llm_query_batched" in app.code[0].value
    assert "39 groups have urgent tickets" in text
    assert "6 messages · 2 new since the call before" in text
    assert "finish: tool_calls" in text
    assert "1–12 of 48" in text
    assert "#1002 and #1007 are urgent" in text


def test_a_failed_cell_shows_what_the_model_saw_before_it_wrote_it(visit: Open, runs: dict[str, str]) -> None:
    with Index.open(Path(runs["folder"])) as index:
        [failed] = index.picked(runs["review"], SpanQuery(kind="exec", status="error")).rows
    text = seen(visit(run=runs["review"], span=failed.id))
    assert text.index("TypeError: string indices") < text.index("What the model saw 8 messages")
    assert "39 groups have urgent tickets" in text


def test_a_span_leads_to_its_step(visit: Open, runs: dict[str, str]) -> None:
    app = visit(run=runs["review"], view="search", q="by_day")
    found = json.dumps([json.loads(each.proto.json) for each in _leaves(app.main) if getattr(each.proto, "json", "")])
    span = found.split('"span": "')[1][:16]
    assert "Step 4 of 12" in seen(visit(run=runs["review"], view="steps", span=span))


def model_calls(runs: dict[str, str], run: str, **which: str) -> list[SpanState]:
    with Index.open(Path(runs["folder"])) as index:
        index.refresh()
        return list(index.picked(runs[run], SpanQuery(kind="model", limit=0, **which)).rows)  # type: ignore[arg-type]


def test_a_call_outside_every_turn_is_shown_with_what_it_saw(visit: Open, runs: dict[str, str]) -> None:
    (landing,) = model_calls(runs, "limit", name="landing")
    text = seen(visit(run=runs["limit"], span=landing.id))
    assert "#1002 and #1007 are urgent" in text
    assert "last request" in text


def test_the_tree_opens_down_to_whatever_is_selected(visit: Open, runs: dict[str, str]) -> None:
    last = model_calls(runs, "review", name="llm_query")[-2]
    app = visit(run=runs["review"], span=last.id)
    assert json.dumps(["div.node.on"])[1:-1] in mounted(app)
    assert last.head[:40] in seen(app)


def test_calls_are_picked_by_what_became_of_them(visit: Open, runs: dict[str, str]) -> None:
    assert "1 in all" in seen(visit(run=runs["review"], pick="failed"))
    slowest = sorted(model_calls(runs, "review"), key=lambda each: each.started_at - (each.ended_at or 0.0))
    assert (
        f'"span": "{slowest[0].id}"' in mounted(visit(run=runs["review"], pick="slowest")).split("div.node", 1)[1][:600]
    )
    assert "12 in all" in seen(visit(run=runs["review"], kind="turn"))


def test_raw_events_are_there_when_asked_for(visit: Open, runs: dict[str, str]) -> None:
    app = visit(run=runs["short"])
    assert '"type": "run.start"' not in seen(app)
    with Index.open(Path(runs["folder"])) as index:
        app.session_state["raw"] = {index.spans(runs["short"]).rows[0].id}
    assert '"type": "run.start"' in seen(app.run())


@pytest.mark.parametrize("view", ["run", "steps", "timeline", "budget", "search", "compare"])
@pytest.mark.parametrize("name", ["review", "limit", "hostile", "damaged"])
def test_every_view_of_every_run_stands(visit: Open, runs: dict[str, str], name: str, view: str) -> None:
    seen(visit(run=runs[name], view=view, q="tickets", other=runs["other"] if view == "compare" else ""))


@pytest.mark.parametrize("name", ["../../../etc/passwd", "0" * 32, "\0", "f" * 5_000])
def test_what_is_no_run_of_the_folder_is_refused_in_words(visit: Open, name: str) -> None:
    assert "no run in" in seen(visit(run=name))


@pytest.mark.parametrize(
    "params", [{"view": "steps", "step": "99999999999"}, {"view": "nonsense"}, {"page": "-1"}, {"page": "x"}]
)
def test_addresses_that_make_no_sense_break_nothing(visit: Open, runs: dict[str, str], params: dict[str, str]) -> None:
    assert runs["review"][:8] in seen(visit(run=runs["review"], **params))


def test_a_folder_that_cannot_be_read_is_said(visit: Open, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("no folder")
    assert str(file) in seen(visit(folder=str(file)))


def test_a_folder_that_is_not_there_yet_has_no_runs(visit: Open, tmp_path: Path) -> None:
    assert "There are no runs in" in seen(visit(folder=str(tmp_path / "later")))


ASKED, REFUSED = 40, 33


def made(folder: Path, steps: list[tuple[str, str | None, Body]]) -> str:
    """A run of these steps, begun and ended, alone in a folder."""
    write(folder, events([("r", None, START), ("r", None, begin()), *steps, ("r", None, end())]))
    return str(folder)


def batch(parent: str = "c1") -> list[tuple[str, str | None, Body]]:
    """A cell that asks forty questions, of which one is refused."""
    steps: list[tuple[str, str | None, Body]] = [
        ("t1", "r", TurnStart(turn=1)),
        (parent, "t1", ExecStart(cell=1, code="ask()")),
    ]
    for number in range(ASKED):
        refused = answer(error="ServerError: refused") if number == REFUSED else answer()
        steps += [(f"{number:02x}", parent, ask("llm_query", f"question {number}")), (f"{number:02x}", parent, refused)]
    return [*steps, (parent, "t1", ExecEnd(status="ok", output_chars=0, duration_s=0.1))]


def test_parallel_calls_are_grouped_with_those_that_failed_first(visit: Open, tmp_path: Path) -> None:
    text = seen(visit(made(tmp_path, batch()), run="last"))
    tree = text[text.index(f"{ASKED} × llm_query") :]
    assert f"1 of {ASKED} failed" in tree
    assert tree.index(f"question {REFUSED}") < tree.index("question 1 ")
    assert "question 9" not in tree


def test_a_link_to_one_of_many_opens_their_group_around_it(visit: Open, tmp_path: Path) -> None:
    folder = made(tmp_path, batch())
    text = seen(visit(folder, run="last", span=f"{ASKED - 5:02x}"))
    assert [number for number in range(ASKED) if f"question {number} " in text + " "][-3:] == [36, 37, 38]
    assert "What the model saw 1 message" in text


def test_equal_failures_are_one_line_with_a_count(visit: Open, tmp_path: Path) -> None:
    steps: list[tuple[str, str | None, Body]] = [("c1", "r", ExecStart(cell=1, code="ask()"))]
    for number in range(30):
        span = f"{number:02x}"
        steps += [
            (span, "c1", ask("llm_query", "q")),
            (span, "c1", answer(error=f"ServerError: request {number} failed")),
        ]
    steps.append(("c1", "r", Warned(message="slow")))
    text = seen(visit(made(tmp_path, steps), run="last"))
    wrong = text[text.index("What went wrong") :]
    assert "30 failures · 1 warning" in wrong
    assert wrong.count("ServerError: request") == 1
    assert wrong.index("30 × ServerError: request 0 failed cell 1 › llm_query") < wrong.index("slow")


def test_a_child_that_ended_at_a_limit_does_not_look_like_a_good_one(visit: Open, tmp_path: Path) -> None:
    child: list[tuple[str, str | None, Body]] = [
        ("c1", "r", ExecStart(cell=1, code="x")),
        ("cd", "c1", begin(1, "sum up")),
        ("cd", "c1", end("limit")),
    ]
    folder = made(tmp_path, child)
    app = visit(folder, run="last", span="c1")
    assert '["span.flag.tone-limit", {}, "limit"]' in mounted(app)
    assert "Answer (limit)" in seen(visit(folder, run="last", span="cd"))


def test_a_cell_that_timed_out_says_so(visit: Open, tmp_path: Path) -> None:
    error = ExecError(kind="CellTimeout", message="60 s are over", traceback="")
    late = ExecEnd(status="timeout", output_chars=0, duration_s=60.0, error=error)
    text = seen(
        visit(made(tmp_path, [("c1", "r", ExecStart(cell=1, code="x")), ("c1", "r", late)]), run="last", span="c1")
    )
    assert "timed out after 1 min 0 s" in text


def test_the_cells_of_a_session_are_its_steps(visit: Open, tmp_path: Path) -> None:
    cells: list[tuple[str, str | None, Body]] = []
    for number in (1, 2, 3):
        cells += [
            (f"c{number}", "r", ExecStart(cell=number, code=f"print({number})")),
            (f"c{number}", "r", ExecEnd(status="ok", output_chars=0, duration_s=0.1)),
        ]
    folder = made(tmp_path, cells)
    text = seen(visit(folder, run="last", step="2"))
    assert "Step 2 of 3" in text
    assert "session over no context: print(1)" in text
    assert "session over no context: print(1)" in seen(visit(folder))


def test_saved_images_are_shown_by_their_signature_and_anything_can_be_kept(visit: Open, tmp_path: Path) -> None:
    files = {"a.txt": b"\x89PNG\r\n\x1a\n...", "b.png": b"<svg onload='alert(1)'/>", "c.webp": b"RIFF0000WEBP"}
    saved: list[tuple[str, str | None, Body]] = [
        ("r", None, ArtifactSaved(name=name, size_bytes=9)) for name in (*files, "gone.gif")
    ]
    folder = made(tmp_path, saved)
    where = tmp_path / f"{RUN}.artifacts"
    where.mkdir()
    for name, content in files.items():
        (where / name).write_bytes(content)
    given = mounted(visit(folder, run="last"))
    assert [given.count(f'"picture": "{kind}"') for kind in ("png", "webp", "gif", "svg")] == [1, 1, 0, 0]
    assert given.count('"keep": ') == len(files)
    assert "too large to show here, or gone" in given


def test_a_task_list_shows_what_became_of_each_task_the_failed_first(visit: Open, tmp_path: Path) -> None:
    replies = iter(["```repl\nFINAL('built')\n```", "```repl\nFINAL(1)\n```"])

    def model(request: ModelRequest) -> str:
        if "Test it" in str(request.messages):
            raise BadRequestError("the model is away")
        return next(replies)

    tasks = [Task(id="build", prompt="Build it"), Task(id="test", prompt="Test it", needs=["build"])]
    tasks.append(Task(id="release", prompt="Release it", needs=["test"]))
    config = Config(model="scripted/m", environment="local", log_dir=str(tmp_path))
    cc_execute_task_list(TaskList(name="the release", tasks=tasks), model=ScriptedBackend(model), config=config)
    (record,) = list_records(tmp_path)
    text = seen(visit(str(tmp_path), view="tasks"))
    assert "the release" in text
    assert "1 of 3 completed · 1 failed" in text
    app = visit(str(tmp_path), view="tasks", tasks=record.name[:8])
    text = seen(app)
    assert text.index("the model is away") < text.index("blocked") < text.index("built")
    assert '"run":' in mounted(app), "each task leads to its run"
    assert "there is no task list 'ffff'" in seen(visit(str(tmp_path), view="tasks", tasks="ffff"))


def test_the_folder_of_a_batch_s_runs_shows_the_batch_what_has_no_answer_first(visit: Open, tmp_path: Path) -> None:
    def model(request: ModelRequest) -> str:
        if "number 2" in str(request.messages):
            raise BadRequestError("the model is away")
        return "```repl\nFINAL('one')\n```"

    questions = tmp_path / "questions.jsonl"
    questions.write_text("".join(json.dumps({"n": number}) + "\n" for number in (1, 2, 3)))
    request = BatchRequest(questions=questions, out=tmp_path / "out", prompt="number {n}")
    asyncio.run(run_batch(request, Config(model="scripted/m", environment="local"), backend=ScriptedBackend(model)))
    folder = str(tmp_path / "out" / "runs")
    app = visit(folder, view="batch")
    text = seen(app)
    assert "3 of 3" in text
    assert "1 × BadRequestError: the model is away" in text
    assert text.index("failed") < text.index("completed")
    assert '"run":' in mounted(app), "each question leads to its run"
    assert "Batch" in seen(visit(folder))
    assert "Batch" not in seen(visit())
    assert "no runs of a batch" in seen(visit(view="batch"))
