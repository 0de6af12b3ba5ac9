"""The recorder: one order, masked before it is written, capped, and never the cause of a crash."""

import asyncio
import errno
import io
import threading

import pytest

from rlm.core.events import ExecOutput, MessageAdded, ToolEnd, Warned, decode
from rlm.core.exceptions import RecordError, RecordLimitReached
from rlm.core.off_loop import checkpoint
from rlm.core.record.blobs import HEAD_CHARS
from rlm.core.record.recorder import Recorder, new_run_id
from rlm.core.types import Image
from rlm.sinks.memory import MemorySink
from rlm.sinks.stream_json import StreamJson
from rlm.trajectory.reader import Trajectory
from rlm.trajectory.writer import TrajectoryWriter
from tests.support.images import png


@pytest.fixture
def journal(tmp_path):
    return TrajectoryWriter(tmp_path, new_run_id())


def lines(journal):
    return [decode(line) for line in journal.path.read_bytes().splitlines()]


def test_every_event_is_on_disk_when_it_happens(journal):
    recorder = Recorder("r" * 32, journal)
    for number in range(3):
        recorder.record(recorder.root, Warned(message=str(number)))
        assert [event.seq for event in lines(journal)] == list(range(number + 1))
    recorder.close()


def test_sinks_see_what_the_journal_has(journal):
    sink = MemorySink()
    recorder = Recorder("r" * 32, journal, [sink])
    recorder.record(recorder.root.child(), Warned(message="x"))
    recorder.close()
    assert sink.events == lines(journal)
    assert sink.events[0].parent == recorder.root.id
    assert not sink.closed  # other runs may use it


def test_secrets_are_masked_before_anything_is_written(journal):
    class Masker:
        def mask(self, text):
            return text.replace("hunter2", "[REDACTED]")

        def mask_value(self, value):
            return value

    recorder = Recorder("r" * 32, journal, masker=Masker())
    recorder.record(recorder.root, MessageAdded(role="user", content="it is hunter2"))
    recorder.close()
    assert lines(journal)[0].body.content == "it is [REDACTED]"


def test_a_large_text_becomes_a_blob_named_by_its_content(journal):
    recorder, text = Recorder("r" * 32, journal), "x" * 100_000 + "é"
    recorder.record(recorder.root, ExecOutput(text=text))
    recorder.record(recorder.root, ExecOutput(text=text))
    recorder.close()
    first, second = lines(journal)
    assert first.body.text == "x" * HEAD_CHARS
    assert first.blobs["text"].chars == 100_001
    (blob,) = journal.path.with_suffix(".blobs").iterdir()
    assert (blob.name, blob.read_text()) == (second.blobs["text"].digest, text)


@pytest.mark.parametrize("text", ["\ud800 lone", "\x00\x1b[31m", "汉字 🙂"])
def test_any_text_can_be_recorded(journal, text):
    recorder = Recorder("r" * 32, journal)
    recorder.record(recorder.root, Warned(message=text))
    recorder.close()
    assert lines(journal)[0].body.message == text.encode("utf-8", "backslashreplace").decode()


def test_a_failing_sink_is_detached_and_reported(journal):
    class Broken:
        def write(self, event):
            raise ValueError("no")

        def close(self):
            raise AssertionError("it was detached")

    recorder = Recorder("r" * 32, journal, [Broken()])
    recorder.record(recorder.root, Warned(message="first"))
    recorder.record(recorder.root, Warned(message="second"))
    recorder.close()
    messages = [event.body.message for event in lines(journal)]
    assert messages[0] == "first"
    assert "Broken failed" in messages[1]
    assert messages[2] == "second"


def test_an_event_is_encoded_once_for_the_disk_and_for_sinks_of_lines():
    class Lines:
        def __init__(self):
            self.taken = []

        def write(self, event, line=None):
            assert line is not None
            self.write_encoded(line)

        def write_encoded(self, line):
            self.taken.append(line)

        def store(self, content):
            return "0" * 64

        def close(self):
            pass

    journal, sink = Lines(), Lines()
    recorder = Recorder("r" * 32, journal, [sink])
    for size in (1, 70_000):
        recorder.record(recorder.root, ExecOutput(text="x" * size))
    assert [len(line) > HEAD_CHARS for line in sink.taken] == [False, True]
    assert all(ours is theirs for ours, theirs in zip(journal.taken, sink.taken, strict=True))


def test_a_sink_of_lines_goes_on_where_the_journal_is_broken(journal, monkeypatch):
    stream = io.BytesIO()
    recorder = Recorder("r" * 32, journal, [StreamJson(stream, lambda: None)])
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(journal, "write", lambda event, line: (_ for _ in ()).throw(full))
    for _ in range(2):
        recorder.record(recorder.root, Warned(message="\ud800 lone"))
    assert [decode(line).body.message for line in stream.getvalue().splitlines()] == ["\\ud800 lone"] * 2
    recorder.close()


def test_an_event_notes_an_image_and_its_bytes_are_a_blob(journal):
    recorder = Recorder("r" * 32, journal)
    image = Image.of(png(20, 20))
    body = MessageAdded(role="user", content="x" * 70_000, images=recorder.keep([image, image]))
    recorder.record(recorder.root, body)
    recorder.close()
    [event] = lines(journal)
    note = event.body.images[0]
    assert (note.media_type, note.size_bytes, note.digest) == ("image/png", len(image.data), image.digest)
    assert (journal.path.with_suffix(".blobs") / note.digest).read_bytes() == image.data
    assert Trajectory(journal.path).whole(event).body == body


class Seen:
    """A masker that knows in which threads it worked."""

    def __init__(self):
        self.threads = set()

    def mask(self, text):
        self.threads.add(threading.get_ident())
        return text.replace("hunter2", "[REDACTED]")

    def mask_value(self, value):
        return {self.mask(key): self.mask(item) for key, item in value.items()}


@pytest.mark.parametrize(("values", "here"), [(3, True), (5_000, False)])
async def test_what_is_large_is_made_ready_off_the_loop(journal, values, here):
    masker, sink = Seen(), MemorySink()
    recorder = Recorder("r" * 32, journal, [sink], masker)
    body = ToolEnd(result={f"key {number}": "it is hunter2" for number in range(values)})
    await recorder.record_large(recorder.root, body)
    recorder.record(recorder.root, Warned(message="x"))
    recorder.close()
    assert [event.seq for event in sink.events] == [0, 1]
    assert sink.events == lines(journal)
    assert Trajectory(journal.path).whole(lines(journal)[0]).body.result["key 1"] == "it is [REDACTED]"
    assert (masker.threads == {threading.get_ident()}) is here


async def test_what_happens_meanwhile_comes_before_what_is_large(journal):
    recorder = Recorder("r" * 32, journal)
    recording = asyncio.create_task(recorder.record_large(recorder.root, ExecOutput(text="x" * 100_000)))
    await asyncio.sleep(0)
    recorder.record(recorder.root, Warned(message="meanwhile"))
    await recording
    recorder.close()
    assert [(event.seq, event.type) for event in lines(journal)] == [(0, "warning"), (1, "exec.output")]


class Endless(Seen):
    """A masker that is never done with a long text."""

    def mask(self, text):
        while len(text) > 1_000:
            checkpoint()
        return super().mask(text)


@pytest.mark.parametrize(("masker", "recorded"), [(Seen(), "x" * HEAD_CHARS), (Endless(), "given up")], ids=type)
async def test_what_is_given_up_is_recorded_if_there_is_time(journal, monkeypatch, masker, recorded):
    monkeypatch.setattr("rlm.core.record.recorder._GRACE_S", 0.01 if recorded == "given up" else 10)
    recorder = Recorder("r" * 32, journal, masker=masker)
    body = ExecOutput(text="x" * 100_000)
    recording = asyncio.create_task(recorder.record_large(recorder.root, body, otherwise=ExecOutput(text="given up")))
    await asyncio.sleep(0)
    recording.cancel()
    with pytest.raises(asyncio.CancelledError):
        await recording
    recorder.close()
    assert [event.body.text for event in lines(journal)] == [recorded]


def test_an_image_that_cannot_be_written_is_kept_for_check(journal, monkeypatch):
    recorder = Recorder("r" * 32, journal)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(journal, "store", lambda content: (_ for _ in ()).throw(full))
    assert len(recorder.keep([Image.of(png())] * 2)) == 2
    with pytest.raises(RecordError, match="No space left"):
        recorder.check()
    recorder.close()


def test_a_full_disk_is_kept_for_check_and_does_not_raise_in_passing(journal, monkeypatch):
    recorder = Recorder("r" * 32, journal)
    recorder.check()
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(journal, "write", lambda event, line: (_ for _ in ()).throw(full))
    recorder.record(recorder.root, Warned(message="x"))
    with pytest.raises(RecordError, match="No space left"):
        recorder.check()
    recorder.close()


def test_closing_twice_is_closing_once(journal):
    recorder = Recorder("r" * 32, journal)
    recorder.close()
    recorder.close()
    recorder.check()


def test_a_record_that_has_its_cap_says_so_and_counts_a_text_once(journal):
    recorder, text = Recorder("r" * 32, journal), "x" * 100_000
    for _ in range(2):
        recorder.record(recorder.root, ExecOutput(text=text))
    files = [journal.path, *journal.path.with_suffix(".blobs").iterdir()]
    on_disk = sum(path.stat().st_size for path in files)
    recorder.check()
    recorder.check(recorder.size_bytes + 1)
    with pytest.raises(RecordLimitReached, match="record_bytes of 100,000"):
        recorder.check(100_000)
    assert 100_000 < recorder.size_bytes == on_disk < 110_000
    recorder.close()
