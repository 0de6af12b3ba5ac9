"""The file of sessions and skills under attack: nobody else's, torn, locked, full, killed at, or tampered with."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import msgspec
import pytest

from rlm.core.exceptions import ConfigError, StoreError
from rlm.sessions.store import CellNote, Definition, SessionStore, State
from rlm.skills.store import Skill, SkillStore
from rlm.store import database
from rlm.store.database import Database

PRELUDE = (
    "import sys; from pathlib import Path; from rlm.store.database import Database; "
    "from rlm.sessions.store import SessionStore, State; store = SessionStore(Database(Path(sys.argv[1]))); "
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.sqlite"


@pytest.fixture
def store(path):
    made = SessionStore(Database(path))
    made.ensure("work")
    made.save("work", State(values={"a": "1"}))
    return made


def process(code, path):
    command = [sys.executable, "-c", PRELUDE + code, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def tamper(path, statement, values=()):
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def test_the_file_of_another_user_is_refused(store, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(StoreError, match="another user"):
        store.load("work")


def test_a_torn_file_is_refused_and_says_what_to_do(store, path):
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(StoreError, match="move the file away"):
        store.load("work")


def test_a_lock_that_is_never_given_back_is_waited_for_and_named(store, path, monkeypatch):
    monkeypatch.setattr(database, "_BUSY_S", 0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="locked .by another process"):
            store.save("work", State(values={"a": "2"}))
    assert store.load("work").state.values == {"a": "1"}


def test_a_full_disk_leaves_the_state_before(store, path):
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)); "
        "store.save('work', State(values={'a': '\"' + 'x' * 5_000_000 + '\"'}))"
    )
    _out, error = process(code, path).communicate()
    assert "StoreError" in error
    assert store.load("work").state.values == {"a": "1"}


def test_a_kill_while_it_saves_leaves_a_state_whole(store, path):
    code = "\nfor n in range(9): print(store.save('work', State(values={'n': str(n) * 20_000_000})).number, flush=True)"
    saving = process(code, path)
    reported = int(saving.stdout.readline())
    saving.kill()
    saving.communicate()
    found = store.load("work")
    assert found.number >= reported
    assert len(set(found.state.values["n"])) == 1
    assert len(found.state.values["n"]) == 20_000_000
    assert store.save("work", State()).number == found.number + 1


def test_processes_that_change_a_state_at_once_lose_nothing(store, path):
    code = (
        "\nfor n in range(15): store.change('work', lambda state: "
        "State(values={**state.values, f'v{sys.argv[2]}_{n}': '1'}))"
    )
    started = [subprocess.Popen([sys.executable, "-c", PRELUDE + code, str(path), str(number)]) for number in range(3)]
    assert [each.wait() for each in started] == [0, 0, 0]
    assert len(store.load("work").state.values) == 46


@pytest.mark.parametrize(
    "encoded",
    [
        b"\xff",
        b"[]",
        b'{"values":{"a":1}}',
        b'{"values":{"a b":"1"}}',
        b'{"values":{"\\u001b[2J":"1"}}',
        b'{"lost":{"a":"' + b"x" * 2000 + b'"}}',
        msgspec.json.encode(State(definitions=[Definition(names=[], source="print(1)")])),
        msgspec.json.encode(State(masked=["x\n"])),
        "text",
        None,
        7,
    ],
    ids=lambda each: str(each)[:40],
)
def test_a_state_that_was_tampered_with_is_refused(store, path, encoded):
    tamper(path, "PRAGMA ignore_check_constraints = ON")
    tamper(path, "UPDATE states SET state = ifnull(?, zeroblob(9))", (encoded,))
    with pytest.raises(StoreError, match="can't be read"):
        store.load("work")
    assert store.note("work").name == "work"


@pytest.mark.parametrize("column", ["created_at", "description"])
def test_a_session_that_was_tampered_with_is_refused(store, path, column):
    tamper(path, f"UPDATE sessions SET {column} = X'ff00'")
    with pytest.raises(StoreError, match="fit a SessionNote"):
        store.all()


@pytest.mark.parametrize(
    "changes", [{"name": "\x1b[2J"}, {"name": "../x"}, {"code": ""}, {"code": 5}, {"description": "x" * 5000}]
)
def test_a_skill_that_was_tampered_with_is_refused(path, changes):
    kept = SkillStore(Database(path))
    skill = kept.save(Skill(name="strip", description="Strips.", code="def strip(): ..."))
    tamper(path, "UPDATE skills SET skill = ?", (msgspec.json.encode({**msgspec.to_builtins(skill), **changes}),))
    for read in (kept.all, lambda: kept.load("strip")):
        with pytest.raises(StoreError, match="can't be read"):
            read()


def test_what_is_forgotten_is_in_no_file(store, path):
    store.save("work", State(values={"a": '"' + "forgotten" * 1000 + '"'}))
    store.delete("work")
    assert all(b"forgotten" not in each.read_bytes() for each in path.parent.iterdir())
    assert path.stat().st_size < 100_000


def test_large_revisions_leave_room_for_fewer(store, monkeypatch):
    monkeypatch.setattr("rlm.sessions.store.KEPT_BYTES", 2500)
    for number in range(6):
        store.save("work", State(values={"n": str(number) * 1000}))
    assert [store.load("work", number).number for number in (5, 6, 7)] == [5, 6, 7]
    with pytest.raises(ConfigError, match="no revision 4"):
        store.load("work", 4)


@pytest.mark.parametrize("number", [-1, 2**62, 10**30])
def test_numbers_that_are_no_revisions_name_none(store, number):
    with pytest.raises(ConfigError, match="a revision is a number"):
        store.load("work", number)
    with pytest.raises(ConfigError, match="a version is a number"):
        SkillStore(store._database).load("strip", number)


def test_text_that_no_file_can_have_is_refused_or_escaped(store):
    with pytest.raises(ConfigError, match="not valid text"):
        store.ensure("work", "\ud800")
    with pytest.raises(ConfigError, match="not valid text"):
        SkillStore(store._database).save(Skill(name="strip", description="S", code="'\ud800'"))
    with pytest.raises(StoreError, match="text that UTF-8 can.t carry"):
        store.save("work", State(values={"a": '"\ud800"'}))
    store.add_cell("work", CellNote(at=1.0, run="", status="ok", code="'\ud800'"))
    assert store.cells("work")[-1].code == "'\\ud800'"
