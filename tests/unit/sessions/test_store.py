"""Sessions on disk: whole revisions, bounded, private, and shared by processes without loss."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys

import pytest

from rlm.core.exceptions import ConfigError, StoreError
from rlm.sessions.store import (
    KEPT_CELLS,
    KEPT_REVISIONS,
    MAX_STATE_BYTES,
    CellNote,
    SessionStore,
    State,
    add_piece,
    state_of,
)
from rlm.store.database import Database, store_path


@pytest.fixture
def store(tmp_path):
    return SessionStore(Database(tmp_path / "rlm" / "store.sqlite"))


def test_the_last_state_comes_back_and_earlier_ones_by_number(store):
    store.ensure("work", "what for")
    assert store.load("work").number == 0
    store.save("work", State(values={"a": "1"}))
    store.save("work", State(values={"a": "2"}))
    assert store.load("WORK").state.values == {"a": "2"}
    assert store.load("work", 1).state.values == {"a": "1"}
    assert store.all()[0].description == "what for"


def test_only_the_last_revisions_and_cells_stay(store):
    store.ensure("work")
    for number in range(KEPT_REVISIONS + 3):
        store.save("work", State(values={"n": str(number)}))
    with pytest.raises(ConfigError, match="no revision 3"):
        store.load("work", 3)
    assert store.load("work", 4).number == 4
    with store._database.transaction() as connection:
        rows = [("work", 0.0, "", "ok", str(n)) for n in range(KEPT_CELLS)]
        connection.executemany("INSERT INTO cells (session, at, run, status, code) VALUES (?, ?, ?, ?, ?)", rows)
    store.add_cell("work", CellNote(at=1.0, run="", status="ok", code="last"))
    cells = store.cells("work")
    assert (len(cells), cells[0].code, cells[-1].code) == (KEPT_CELLS, "1", "last")


def test_a_state_saved_over_another_says_so_and_loses_nothing(store):
    store.ensure("work")
    store.save("work", State(values={"a": "1"}), based_on=0)
    second = store.save("work", State(values={"b": "1"}), based_on=0)
    assert (second.number, second.overtaken) == (2, True)
    assert store.load("work", 1).state.values == {"a": "1"}


def test_processes_save_at_once_and_every_state_is_whole(store, tmp_path):
    code = (
        "import sys; from pathlib import Path; from rlm.store.database import Database; "
        "from rlm.sessions.store import SessionStore, State; s = SessionStore(Database(Path(sys.argv[1]))); "
        "s.ensure('work'); [s.save('work', State(values={'n': '1'})) for _ in range(20)]"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "rlm" / "store.sqlite")]
    processes = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert store.load("work").number == 60


def test_a_state_that_is_too_large_leaves_the_one_before(store):
    store.ensure("work")
    store.save("work", State(values={"a": "1"}))
    with pytest.raises(StoreError, match="at most"):
        store.save("work", State(values={"a": '"' + "x" * MAX_STATE_BYTES + '"'}))
    assert store.load("work").state.values == {"a": "1"}


def test_a_deleted_session_is_gone_with_its_states(store):
    store.ensure("work")
    store.save("work", State(values={"a": "1"}))
    store.add_cell("work", CellNote(at=1.0, run="", status="ok", code="x"))
    store.delete("work")
    with pytest.raises(ConfigError, match="no session"):
        store.load("work")
    store.ensure("work")
    assert (store.load("work").number, store.cells("work")) == (0, [])


def test_only_the_owner_can_read_it(store):
    store.ensure("work")
    path = store._database.path
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_is_open_to_others_is_closed_to_them(store):
    path = store._database.path
    path.parent.mkdir()
    path.touch(0o644)
    store.ensure("work")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("spoil", ["garbage", "link", "fifo", "newer"])
def test_a_file_that_is_no_store_is_refused(store, spoil, tmp_path):
    path = store._database.path
    path.parent.mkdir()
    match spoil:
        case "garbage":
            path.write_bytes(b"this is no database" * 100)
        case "link":
            path.symlink_to(tmp_path / "elsewhere")
        case "fifo":
            os.mkfifo(path)
        case "newer":
            with sqlite3.connect(path) as connection:
                connection.execute("PRAGMA user_version = 99")
            connection.close()
    with pytest.raises(StoreError, match="store.sqlite"):
        store.ensure("work")


@pytest.mark.parametrize(
    "exported",
    [
        None,
        5,
        {"values": {}},
        {"values": {"a": 1}, "definitions": [], "lost": {}},
        {"values": {"a b": "1"}, "definitions": [], "lost": {}},
        {"values": {}, "definitions": [["f"]], "lost": {}},
        {"values": {}, "definitions": [[["../f"], "x"]], "lost": {}},
        {"values": {"a": '"\ud800"'}, "definitions": [], "lost": {}},
        {"values": {}, "definitions": [[[], "print(1)"]], "lost": {}},
        {"values": {}, "definitions": [], "lost": {"a": "x" * 5000}},
    ],
    ids=lambda each: str(each)[:60],
)
def test_what_a_guest_gives_out_is_held_to_the_form(exported):
    with pytest.raises(StoreError):
        state_of(exported)


def test_what_a_guest_gives_out_is_bounded():
    """Made here, for a parameter would be kept, and shown, as long as the session lasts."""
    for exported in (
        {"values": {"a": "x" * (MAX_STATE_BYTES + 1)}, "definitions": [], "lost": {}},
        {"values": {}, "definitions": [], "lost": {f"a{n}": "" for n in range(21_000)}},
    ):
        with pytest.raises(StoreError):
            state_of(exported)


def test_a_guest_says_nothing_of_what_was_masked():
    exported = {"values": {"a": "1"}, "definitions": [], "lost": {}, "masked": ["\x1b[2J"]}
    assert state_of(exported).masked == []


@pytest.mark.parametrize("piece", [None, 5, [["a"]], [[1, "x"]]], ids=str)
def test_pieces_are_held_to_their_form(piece):
    with pytest.raises(StoreError):
        add_piece({}, piece)


def test_pieces_are_held_to_their_size():
    with pytest.raises(StoreError):
        add_piece({}, [["a", "x" * (MAX_STATE_BYTES + 1)]])


def test_the_file_is_the_users():
    assert store_path(None, {"XDG_DATA_HOME": "/d", "HOME": "/h"}).as_posix() == "/d/rlm/store.sqlite"
    assert store_path(None, {"HOME": "/h"}).as_posix() == "/h/.local/share/rlm/store.sqlite"
    assert store_path("/own.sqlite", {}).as_posix() == "/own.sqlite"
    with pytest.raises(ConfigError, match="store_path"):
        store_path(None, {})
