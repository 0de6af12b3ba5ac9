"""Sessions end to end: what one sandbox left behind is there in another, masked, bounded, recorded and resumable."""

from __future__ import annotations

import os
import signal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from rlm import RLM, Config, RLMError, Session
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.budget import Budget
from rlm.core.config import LocalConfig
from rlm.core.exceptions import ConfigError
from rlm.sessions.sandbox import session_store
from rlm.sinks.memory import MemorySink
from tests.integration.cli import User
from tests.support.environments import COLD, in_each
from tests.support.mcp_clients import LEGACY, host

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rlm.core.events import Event

FIRST = """
import json
from collections import Counter
rows = [("a", 1), ("b", {2, 3})]
counts = Counter("aab")
def double(x):
    "Twice."
    return scale * x
scale = 2
class Box:
    pass
box = Box()
"""
SECOND = "FINAL([repr(rows), counts['a'], double(4), json.dumps([1]), Box.__name__, 'box' in SHOW_VARS()])"
SECRET = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


def settings_in(folder: Path, **given: Any) -> Config:
    base = {"store_path": str(folder / "store.sqlite"), "log_dir": str(folder / "logs"), "environment": "local"}
    return Config(**{**base, **COLD, **given})


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Config]:
    return partial(settings_in, tmp_path)


def cell(code: str) -> Any:
    return tool_call("execute_code", code=code)


def complete(config: Config, *codes: str, **options: Any) -> tuple[Any, MemorySink]:
    """One run of these cells on the session `work`."""
    sink = MemorySink()
    with RLM(ScriptedBackend([cell(code) for code in codes]), config=config, sinks=[sink]) as rlm:
        return rlm.completion("go", session="work", **options), sink


class Ending(MemorySink):
    """Ends the run once a cell prints."""

    rlm: RLM | None = None

    def write(self, event: Event) -> None:
        super().write(event)
        if event.type == "exec.output" and self.rlm is not None:
            self.rlm.cancel()


def warnings(sink: MemorySink) -> list[str]:
    return [event.body.message for event in sink.events if event.type == "warning"]


@in_each
def test_variables_and_definitions_come_back_in_another_sandbox(tmp_path: Path, environment: str) -> None:
    """Each leaves the same behind, and goes on from what `local` left: so each goes on from any."""
    folders = {name: tmp_path / name for name in ("local", environment)}
    for name, folder in folders.items():
        result, sink = complete(settings_in(folder, environment=name), FIRST, "FINAL(1)")
        assert result.success
        assert any("box (a value of type Box)" in text for text in warnings(sink))
    states = [session_store(settings_in(folder)).load("work").state for folder in folders.values()]
    assert states[0] == states[-1]
    found, sink = complete(settings_in(folders["local"], environment=environment), SECOND)
    assert found.value == [repr([("a", 1), ("b", {2, 3})]), 2, 8, "[1]", "Box", False]
    carried = [event.body for event in sink.events if event.type == "session"]
    assert [(body.phase, body.revision) for body in carried] == [("loaded", 1), ("saved", 2)]


def test_the_model_is_told_what_is_there(settings: Any) -> None:
    complete(settings(), "kept = 1\nFINAL(1)")
    _, sink = complete(settings(), "FINAL(kept)")
    system = next(event.body.content for event in sink.events if event.type == "message")
    assert "From before there are: `kept`" in system


def test_secrets_are_masked_before_they_are_kept(settings: Any, tmp_path: Path) -> None:
    complete(settings(), f"config = {{'note': ('{SECRET}',)}}\ndef f():\n    return '{SECRET}'\nFINAL(1)")
    state = session_store(settings()).load("work").state
    assert sorted(state.masked) == ["config", "f"]
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert files
    assert all(SECRET.encode() not in path.read_bytes() for path in files)
    found, _ = complete(settings(), "FINAL([type(config['note']).__name__, f()])")
    assert found.value == ["tuple", "[REDACTED_GITHUB_TOKEN]"]


def test_a_run_that_fails_keeps_what_it_had(settings: Any) -> None:
    result, _ = complete(settings(), "found = [1, 2]")
    assert result.status == "failed"
    assert session_store(settings()).load("work").state.values == {"found": "[1,2]"}


def test_a_killed_sandbox_does_not_empty_the_session(settings: Any) -> None:
    complete(settings(), "kept = 7\nFINAL(1)")
    spin = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    result, _ = complete(settings(cell_timeout_s=0.3), spin, "FINAL(kept)")
    assert result.value == 7
    assert session_store(settings()).load("work").state.values["kept"] == "7"


@pytest.mark.parametrize("limit", [None, "timeout_s"])
def test_a_run_that_is_ended_in_a_cell_keeps_what_the_cells_set(settings: Any, limit: str | None) -> None:
    config, sink = settings(budget=Budget(timeout_s=60.0 if limit is None else 2.0)), Ending()
    codes = "kept = [1]", "kept.append(2)\nprint('on')\nwhile True: pass"
    with RLM(ScriptedBackend([cell(code) for code in codes]), config=config, sinks=[sink]) as rlm:
        sink.rlm = rlm if limit is None else None
        result = rlm.completion("go", session="work")
    assert (result.status, result.limit) == ("cancelled" if limit is None else "limit", limit)
    assert session_store(settings()).load("work").state.values == {"kept": "[1,2]"}


def test_what_a_failed_cell_did_not_reach_is_not_kept(settings: Any) -> None:
    complete(settings(), "def f(): return 1", "1/0\ndef f(): return 2")
    result, _ = complete(settings(), "FINAL(f())")
    assert result.value == 1


@in_each
def test_values_made_to_burst_are_named_and_the_rest_is_kept(settings: Any, environment: str) -> None:
    bombs = (
        "kept = 1\nbomb = [1]\nfor _ in range(60): bomb = [bomb, bomb]\ntext = ['x' * 1_000_000] * 1_000\n"
        "circle = []\ncircle.append(circle)\nsurrogate = '\\ud800'\nclass \u212b:\n    pass\nodd = \u212b()\nFINAL(1)"
    )
    _, sink = complete(settings(environment=environment), bombs)
    state = session_store(settings()).load("work").state
    assert {name: state.lost[name] for name in ("bomb", "text", "circle")} == {
        "bomb": "it is too large",
        "text": "it is too large",
        "circle": "it contains itself",
    }
    assert {"kept", "surrogate"} <= state.values.keys()
    assert any("odd (a value of type" in text for text in warnings(sink))


@in_each
def test_large_values_go_in_pieces(settings: Any, environment: str) -> None:
    code = "text = 'ä\\n\"' * 1_000_000\nrows = [{'n': i, 't': (i,)} for i in range(5_000)]\nFINAL(1)"
    complete(settings(environment=environment), code)
    result, _ = complete(
        settings(environment=environment), "FINAL([len(text), text[-3:], len(rows), rows[-1]['t'][0]])"
    )
    assert result.value == [3_000_000, 'ä\n"', 5_000, 4_999]


def test_what_modules_have_comes_back_however_it_was_imported(settings: Any) -> None:
    odd = "try:\n    import json as j\nexcept ImportError:\n    j = None\nimport math\nroot = math.sqrt\nFINAL(1)"
    complete(settings(), odd)
    result, _ = complete(settings(), "FINAL([j.dumps([1]), root(9)])")
    assert result.value == ["[1]", 3.0]


def test_a_sandbox_that_dies_between_cells_does_not_empty_the_session(settings: Any) -> None:
    config = settings(local=LocalConfig(policy="off"))
    with Session("work", config=config) as session:
        guest = session.run("import os\nkept = 1\nFINAL(os.getpid())").final
        session.save_state()
        assert guest is not None
        os.kill(guest.value, signal.SIGKILL)
        with pytest.raises(RLMError, match="are gone"):
            session.save_state()
        assert session.run("kept").output == "1\n"
    assert session_store(settings()).load("work").state.values == {"kept": "1"}


def test_what_this_sandbox_cannot_make_stays_for_another(settings: Any) -> None:
    free = settings(local=LocalConfig(policy="off"))
    complete(free, "import os\ndef f():\n    return os.sep\nFINAL(1)")
    _, sink = complete(settings(), "FINAL(1)")
    assert any("not restored: os" in text for text in warnings(sink))
    result, _ = complete(free, "FINAL(f())")
    assert result.value == "/"


def test_too_large_and_reserved_variables_are_named_and_left(settings: Any) -> None:
    complete(settings(), "big = 'x' * (129 << 20)\nsmall = 1\nFINAL(1)")
    state = session_store(settings()).load("work").state
    assert (list(state.values), list(state.lost)) == (["small"], ["big"])


def test_a_resumed_run_begins_with_the_state_that_it_began_with(settings: Any) -> None:
    complete(settings(), "n = 1\nFINAL(1)")
    cut, _ = complete(settings(), "n += 10\nn")
    assert cut.status == "failed"
    sink = MemorySink()
    with RLM(ScriptedBackend([cell("FINAL(n)")]), config=settings(session="work"), sinks=[sink]) as rlm:
        assert rlm.resume(cut.run_id).value == 11
    assert warnings(sink) == []
    with RLM(ScriptedBackend([cell("FINAL(n)")]), config=settings()) as rlm, pytest.raises(ConfigError, match="'work'"):
        rlm.resume(cut.run_id)


def test_python_keeps_and_finds_state(settings: Any) -> None:
    with Session("modernize-codebase", "Update to Python 3.11+ syntax", config=settings()) as session:
        session.save_state({"processed": ["a.py"], "remaining": ("b.py",), "errors": []})
        assert session.run("processed.append(remaining[0])\nlen(processed)").output == "2\n"
    again = Session("modernize-codebase", config=settings())
    assert again.load_state() == {"processed": ["a.py", "b.py"], "remaining": ("b.py",), "errors": []}
    assert (repr(again), again.description) == ("<session modernize-codebase>", "Update to Python 3.11+ syntax")
    again.close()


def test_cells_and_completions_share_the_variables(settings: Any) -> None:
    with RLM(ScriptedBackend([cell("total = sum(rows)\nFINAL(total)")]), config=settings()) as rlm:
        session = Session("work", rlm=rlm)
        session.run("rows = [1, 2, 3]")
        assert session.completion("add up").value == 6
        assert session.run("total").output == "6\n"


def test_closing_the_rlm_saves_what_is_open(settings: Any) -> None:
    with RLM(ScriptedBackend([]), config=settings()) as rlm:
        Session("work", rlm=rlm).run("x = 5")
    assert session_store(settings()).load("work").state.values == {"x": "5"}


def test_values_that_would_come_back_otherwise_are_refused(settings: Any) -> None:
    with Session("work", config=settings()) as session:
        session.save_state({"a": 1})
        for values in ({"f": open}, {"a b": 1}, {"__x": 1}, {1: 2}, {"ａ": 1}, {"class": 1}, {"context": 1}):
            with pytest.raises(ConfigError):
                session.save_state(values)
        with pytest.raises(ConfigError, match="too large"):
            session.save_state({"b": "x" * (129 << 20)})
        assert session.load_state() == {"a": 1}


def test_hostile_names_reach_no_store(settings: Any, tmp_path: Path) -> None:
    for name in ("../x", "", "а"):
        with pytest.raises(RLMError, match="can't name a session"):
            Session(name, config=settings())
    assert list(tmp_path.iterdir()) == []


async def test_over_mcp_one_session_of_one_client_is_the_kept_one(user: User) -> None:
    user.environ["RLM_SESSION"] = "work"
    async with host(user, "stdio", LEGACY) as mine:
        await mine.run("kept = 1")
        await mine.run("other = 2", session_id="b")
    async with host(user, "stdio", LEGACY) as mine:
        assert await mine.run("kept") == "1"
        assert "NameError" in await mine.run("kept", session_id="b")
        assert "NameError" in await mine.run("other")
        await mine.call("clear_repl_context")
        assert "NameError" in await mine.run("kept")
    shown = user.rlm("session", "show", "work", "-r", "2").stdout
    assert "kept = 1" in shown


async def test_clients_over_http_share_no_kept_session(user: User) -> None:
    user.environ["RLM_SESSION"] = "work"
    user.rlm("session", "save", "work", stdin='{"kept": 1}')
    async with host(user, "http", LEGACY) as theirs:
        assert "NameError" in await theirs.run("kept")
