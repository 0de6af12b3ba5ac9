from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlm.core.events import ArtifactSaved, MessageAdded, encode
from rlm.core.exceptions import ConfigError
from rlm.core.notes import ImageNote
from rlm.core.record.recorder import Recorder
from rlm.trajectory.chain import receipt_key, receipt_path
from rlm.trajectory.receipts import Verification, verify
from rlm.trajectory.writer import TrajectoryWriter
from tests.unit.trajectory.records import RUN, STEPS, events, write

KEY = b"a key of some length"
COUNT = len(STEPS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write(tmp_path)


def with_lines(path: Path, lines: list[bytes]) -> Verification:
    path.write_bytes(b"".join(lines))
    return verify(path)


def unfinished(folder: Path, key: bytes | None = None) -> Path:
    """A record whose writer was killed."""
    writer = TrajectoryWriter(folder, RUN, key)
    for event in events():
        writer.write(event, encode(event))
    receipt = receipt_path(writer.path).read_bytes()
    writer.close()
    receipt_path(writer.path).write_bytes(receipt)
    return writer.path


def test_a_record_as_it_was_written_is_intact(path: Path) -> None:
    found = verify(path)
    assert (found.verdict, found.lines, found.scheme, found.exit_code) == ("intact", COUNT, "sha256", 0)


@pytest.mark.parametrize(
    ("change", "line", "what"),
    [
        (lambda lines: [*lines[:4], lines[4].replace(b'"turn":1', b'"turn":2'), *lines[5:]], 5, "altered"),
        (lambda lines: lines[:4] + lines[5:], 5, "removed"),
        (lambda lines: lines[1:], 1, "removed"),
        (lambda lines: lines[:-3], COUNT - 2, "removed"),
        (lambda lines: [*lines[:4], b"hello\n", *lines[4:]], 5, "added"),
        (lambda lines: [*lines[:4], lines[3], lines[2], *lines[4:]], 5, "added"),
        (lambda lines: [*lines, b"hello\n"], COUNT + 1, "added"),
        (lambda lines: [*lines[:4], lines[5], lines[4], *lines[6:]], 5, "reordered"),
        (lambda lines: [*lines[:4], lines[9], *lines[5:9], lines[4], *lines[10:]], 5, "reordered"),
        (lambda lines: [*lines[:-1], lines[-1][:-9]], COUNT, "altered"),
        (lambda lines: [], 1, "removed"),
    ],
)
def test_the_first_line_that_is_not_as_written_is_named(path: Path, change, line: int, what: str) -> None:
    found = with_lines(path, change(path.read_bytes().splitlines(keepends=True)))
    assert (found.verdict, found.line, found.change, found.exit_code) == ("altered", line, what, 1)


@settings(max_examples=300)
@given(data=st.data(), key=st.sampled_from([None, KEY]))
def test_any_changed_byte_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, key: bytes) -> None:
    path = write(tmp_path_factory.mktemp("logs"), key=key)
    victim = data.draw(st.sampled_from([path, receipt_path(path)]))
    content = bytearray(victim.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    victim.write_bytes(content)
    found = verify(path, key)
    assert found.exit_code != 0
    if victim == path and found.verdict == "altered":
        assert found.line == content[:place].count(b"\n") + 1


@settings(max_examples=100)
@given(st.permutations(range(COUNT)), st.integers(1, COUNT))
def test_any_other_choice_or_order_of_lines_is_found(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], kept: int
) -> None:
    path = write(tmp_path_factory.mktemp("logs"))
    lines = path.read_bytes().splitlines(keepends=True)
    found = with_lines(path, [lines[place] for place in order[:kept]])
    right = next((n for n, place in enumerate(order[:kept]) if n != place), kept)
    assert (found.verdict == "intact") == (right == COUNT)
    assert right == COUNT or found.line == right + 1


def test_a_killed_run_is_intact_as_far_as_it_goes(tmp_path: Path) -> None:
    path = unfinished(tmp_path)
    with path.open("ab") as file:
        file.write(b'{"seq":26,"at"')
    found = verify(path)
    assert (found.verdict, found.lines, found.exit_code) == ("unfinished", COUNT, 0)
    assert "the next is torn" in found.message
    assert with_lines(path, path.read_bytes().splitlines(keepends=True)[2:]).change == "removed"


def test_a_run_killed_before_its_first_line_is_unfinished(tmp_path: Path) -> None:
    writer = TrajectoryWriter(tmp_path, RUN)
    assert verify(writer.path).verdict == "unfinished"
    writer.close()
    assert verify(writer.path).verdict == "altered" or writer.path.stat().st_size == 0


def test_an_older_record_has_no_receipts(path: Path) -> None:
    receipt_path(path).unlink()
    bare = [line[: line.rindex(b',"chain"')] + b"}\n" for line in path.read_bytes().splitlines(keepends=True)]
    found = with_lines(path, bare)
    assert (found.verdict, found.exit_code) == ("none", 2)


@pytest.mark.parametrize("what", ["gone", "another", "junk", "link"])
def test_a_receipt_that_is_not_its_own_is_found(path: Path, tmp_path: Path, what: str) -> None:
    receipt = receipt_path(path)
    other = receipt_path(write(tmp_path / "other", events(run="cd" * 16), "cd" * 16)).read_bytes()
    receipt.unlink()
    if what == "link":
        receipt.symlink_to("/dev/zero")
    elif what != "gone":
        receipt.write_bytes(other if what == "another" else b"[" * 9000)
    found = verify(path)
    assert (found.verdict, found.change) == ("altered", "receipt")


@pytest.mark.parametrize(
    ("made", "checked", "verdict"),
    [
        (KEY, KEY, "intact"),
        (KEY, b"another key entirely", "wrong_key"),
        (KEY, None, "no_key"),
        (None, KEY, "unkeyed"),
    ],
)
def test_the_key_decides(tmp_path: Path, made: bytes | None, checked: bytes | None, verdict: str) -> None:
    found = verify(write(tmp_path, key=made), checked)
    assert (found.verdict, found.exit_code) == (verdict, 0 if verdict == "intact" else 2)


def test_without_the_key_nobody_makes_the_chain_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "real", key=KEY)
    forged = write(tmp_path / "forged", events(STEPS[:-2]), key=b"a guess at the key")
    receipt = receipt_path(path).read_bytes()
    path.write_bytes(forged.read_bytes())
    assert verify(path, KEY).verdict == "altered"
    receipt_path(path).write_bytes(receipt_path(forged).read_bytes())
    assert verify(path, KEY).exit_code == 2
    assert b"key of some length" not in receipt + forged.read_bytes()


def test_a_record_under_another_name_is_found(path: Path) -> None:
    other = path.with_name("cd" * 16 + ".jsonl")
    path.rename(other)
    receipt_path(path).rename(receipt_path(other))
    found = verify(other)
    assert (found.verdict, found.line) == ("altered", 1)
    assert "another run" in found.message


@pytest.fixture
def attached(tmp_path: Path) -> Path:
    """A record with a blob, an image and an artifact."""
    writer = TrajectoryWriter(tmp_path, RUN)
    recorder = Recorder(RUN, writer)
    note = ImageNote(media_type="image/png", size_bytes=3, digest=writer.store(b"png"))
    recorder.record(recorder.root, MessageAdded(role="user", content="x" * 100_000, images=[note]))
    (tmp_path / f"{RUN}.artifacts").mkdir()
    (tmp_path / f"{RUN}.artifacts" / "table.csv").write_bytes(b"1,2")
    digest = hashlib.sha256(b"1,2").hexdigest()
    recorder.record(recorder.root, ArtifactSaved(name="table.csv", size_bytes=3, digest=digest))
    recorder.close()
    return writer.path


def test_blobs_and_artifacts_are_checked_too(attached: Path) -> None:
    found = verify(attached)
    assert (found.verdict, found.blobs, found.artifacts) == ("intact", 2, 1)


@pytest.mark.parametrize("how", ["altered", "missing", "link"])
@pytest.mark.parametrize("folder", ["blobs", "artifacts"])
def test_an_altered_attachment_is_found(attached: Path, tmp_path: Path, folder: str, how: str) -> None:
    victim = min(attached.with_suffix(f".{folder}").iterdir())
    content = victim.read_bytes()
    victim.unlink()
    if how == "altered":
        victim.write_bytes(content + b"!")
    elif how == "link":
        (tmp_path / "copy").write_bytes(content)
        victim.symlink_to(tmp_path / "copy")
    found = verify(attached)
    assert (found.verdict, found.change) == ("altered", folder[:-1])
    assert found.line == (1 if folder == "blobs" else 2)


def test_a_line_that_could_not_be_written_leaves_the_record_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = TrajectoryWriter(tmp_path, RUN)
    first, second = events()[:2]
    writer.write(first, encode(first))

    def full(_fd: int, _content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rlm.trajectory.writer._write_all", full)
    with pytest.raises(OSError, match="No space"):
        writer.write(second, encode(second))
    writer.close()
    assert verify(writer.path).verdict == "unfinished"


def test_a_key_that_can_be_guessed_is_refused() -> None:
    assert receipt_key({}) is None
    assert receipt_key({"RLM_RECEIPT_KEY": KEY.decode()}) == KEY
    with pytest.raises(ConfigError, match="fewer than 16"):
        receipt_key({"RLM_RECEIPT_KEY": "short"})
