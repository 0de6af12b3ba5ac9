from __future__ import annotations

import gc
import hashlib
import os

import pytest

from rlm.core.contexts.context import DESCRIPTION_CHARS, Context, Part, printable, readable_size
from rlm.core.contexts.spool import text_context, value_context
from rlm.core.exceptions import ConfigError
from rlm.repl.guest.wire import encode_value


def content(context: Context) -> bytes:
    (part,) = context.parts
    return os.pread(context.fd, part.end - part.start, part.start)


def is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def test_no_data_is_no_context():
    empty = Context.empty()
    assert (empty.kind, empty.fd, empty.parts) == ("none", None, ())
    assert "None" in empty.describe()
    assert (text_context("").kind, text_context("").size_bytes) == ("text", 0)


def test_text_is_measured_and_hashed():
    context = text_context("one\ntwo\r\nthrée")
    assert content(context) == "one\ntwo\r\nthrée".encode()
    assert (context.chars, context.lines, context.size_bytes) == (14, 3, 15)
    assert context.digest == "sha256:" + hashlib.sha256("one\ntwo\r\nthrée".encode()).hexdigest()
    assert context.note().size_bytes == 15


def test_large_text_is_whole_and_its_preview_short():
    text = "ä line of text\n" * 200_000
    context = text_context(text)
    assert content(context).decode() == text
    assert context.lines == 200_000
    assert context.digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert len(context.preview) < 600
    assert "�" not in context.preview


def test_lone_surrogates_survive_and_are_shown_as_escapes():
    context = text_context("a\ud800b" * 1000)
    assert content(context).decode("utf-8", "surrogatepass") == "a\ud800b" * 1000
    context.describe().encode()


def test_the_descriptor_can_only_be_read_and_has_no_name():
    context = text_context("x")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.write(context.fd, b"y")
    assert os.fstat(context.fd).st_nlink == 0


def test_close_is_idempotent_and_garbage_closes_too():
    first, second = text_context("x"), text_context("y")
    first_fd, second_fd = first.fd, second.fd
    first.close()
    first.close()
    assert not is_open(first_fd)
    del second
    gc.collect()
    assert not is_open(second_fd)


def test_a_list_is_described_by_its_items():
    context = value_context([{"id": 1, "name": "x"}] * 1000, encode_value)
    assert (context.kind, context.items) == ("value", 1000)
    assert "a list of 1,000 items; the first is a dict with keys 'id' (int), 'name' (str)" in context.describe()


@pytest.mark.parametrize(
    ("value", "words"),
    [({}, "an empty dict"), ([], "an empty list"), (3, "type int"), ({"a": [1]}, "1 keys: 'a' (list)")],
)
def test_a_value_is_named_by_what_it_is(value, words):
    assert words in value_context(value, encode_value).describe()


def test_what_the_wire_cannot_carry_is_refused_with_advice():
    with pytest.raises(ConfigError, match=r"can't be a context: a builtins.object has no JSON form"):
        value_context({"a": object()}, encode_value)
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(ConfigError, match=r"contains itself"):
        value_context(loop, encode_value)


def test_a_hundred_thousand_hostile_names_are_described_in_bounds():
    names = [f"\x1b]0;{'n' * 500}\n{i}" for i in range(100_000)]
    parts = tuple(Part(name=name, start=i, end=i + 1) for i, name in enumerate(names))
    context = Context(
        kind="files",
        parts=parts,
        items=len(parts),
        preview="p" * 600,
        sources=tuple(names),
        warnings=tuple(f"w{name}" for name in names[:50]),
    )
    described = context.describe()
    assert len(described) <= DESCRIPTION_CHARS
    assert "100,000 files" in described
    assert "\x1b" not in described
    assert len(context.note().sources) == 100


def test_control_characters_become_visible():
    assert printable("a\x1b[31m\x00\ud800\tb\n") == "a\\x1b[31m\\x00\\ud800\tb\n"


@pytest.mark.parametrize(("size", "text"), [(12, "12 bytes"), (1234, "1.2 KB"), (5_000_000_000, "5.0 GB")])
def test_sizes_are_readable(size, text):
    assert readable_size(size) == text


def test_no_room_for_the_spool_is_a_usage_error(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    with pytest.raises(ConfigError, match="TMPDIR"):
        text_context("x")
