"""What is kept for resuming a run: exact, for the owner only, and gone at its end."""

import pytest

from rlm.core.contexts.spool import text_context
from rlm.core.events import ExecEnd, ModelEnd
from rlm.core.types import Final
from rlm.repl.guest.wire import decode_value, encode_value
from rlm.trajectory.exact import (
    ExactFile,
    ExactTexts,
    context_path,
    exact_path,
    forget,
    keep_context,
    kept_context,
    mark_last,
)


@pytest.fixture
def trajectory(tmp_path):
    return tmp_path / "a1.jsonl"


def kept(trajectory, *bodies):
    file = ExactFile(exact_path(trajectory), encode_value)
    file.keep_salt(b"\x01" * 16)
    for seq, body in enumerate(bodies):
        file.keep(seq, file.form(body))
    file.close()
    return ExactTexts(exact_path(trajectory), decode_value)


def test_bodies_come_back_as_they_were(trajectory):
    odd = Final(value={"b": b"\xff", "big": 1 << 80, "text": "\ud800"}, text="x")
    end = ExecEnd(status="ok", output_chars=1, duration_s=0.5, final=odd)
    texts = kept(trajectory, ModelEnd(text="hunter2"), end)
    assert texts.salt == b"\x01" * 16
    assert texts.body(0, ModelEnd).text == "hunter2"
    assert texts.body(1, ExecEnd).final == odd
    assert texts.body(2, ModelEnd) is None


def test_a_long_text_is_kept_once_however_often_it_is_said(trajectory):
    long, other = "hunter2 " * 10_000, "\ud800" + "x" * 3_000
    end = ExecEnd(status="ok", output_chars=1, duration_s=0.5, final=Final(value={"a.b": [long, other]}, text=long))
    texts = kept(trajectory, *[ModelEnd(text=long)] * 20, end)
    assert texts.body(19, ModelEnd).text == long
    assert texts.body(20, ExecEnd) == end
    assert exact_path(trajectory).stat().st_size < len(long) + 15_000


def test_what_still_works_for_a_run_that_has_ended_brings_nothing_back(trajectory):
    file = ExactFile(exact_path(trajectory), encode_value)
    file.keep_salt(b"\x01" * 16)
    file.close()
    forget(trajectory)
    exact_path(trajectory).unlink()
    file.keep(1, file.form(ModelEnd(text="hunter2 " * 1_000)))
    assert list(trajectory.parent.iterdir()) == []


def test_a_body_whose_text_was_torn_off_is_not_there(trajectory):
    kept(trajectory, ModelEnd(text="hunter2 " * 1_000))
    path = exact_path(trajectory)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(line for line in lines if not line.startswith(b'{"digest"')))
    assert ExactTexts(path, decode_value).body(0, ModelEnd) is None


def test_only_the_owner_can_read_it_and_a_torn_line_is_passed_over(trajectory):
    kept(trajectory, ModelEnd(text="a"))
    path = exact_path(trajectory)
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(path.read_bytes() + b'{"seq":1,"bo')
    assert ExactTexts(path, decode_value).body(0, ModelEnd).text == "a"


def test_all_goes_at_the_end_but_a_salt_that_hides_nothing(trajectory):
    keep_context(text_context("some data"), context_path(trajectory)).join()
    assert kept_context(context_path(trajectory)) == b"some data"
    kept(trajectory)
    forget(trajectory)
    assert [path.suffix for path in trajectory.parent.iterdir()] == [".exact"]
    kept(trajectory, ModelEnd(text="a secret"))
    forget(trajectory)
    assert list(trajectory.parent.iterdir()) == []


def test_a_users_files_of_such_names_are_left_alone(trajectory):
    theirs = [trajectory.with_name(name) for name in ("report.kept", "report.context", "report.exact")]
    for path in theirs:
        path.write_text("mine" * 100)
    for path in mark_last(trajectory):
        forget(path)
    assert all(path.exists() for path in theirs)


def test_a_context_that_is_a_file_is_not_copied(trajectory, tmp_path):
    from rlm.runtime.inputs import prepare

    (tmp_path / "in.txt").write_text("data")
    keep_context(prepare(tmp_path / "in.txt"), context_path(trajectory)).join()
    assert kept_context(context_path(trajectory)) is None
