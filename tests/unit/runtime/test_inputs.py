from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import pytest

from rlm.core.contexts.context import Context
from rlm.core.exceptions import ConfigError
from rlm.core.types import IMAGE_BYTES, Image
from rlm.files.texts import Notes, TextFile
from rlm.runtime.images import read_images
from rlm.runtime.inputs import Reading, prepare
from tests.support.images import GIF, png
from tests.unit.trajectory.records import write


def texts(context: Context) -> dict[str, str]:
    return {
        part.name: os.pread(context.fd, part.size_bytes, part.start).decode("utf-8", "surrogatepass")
        for part in context.parts
    }


def text(context: Context) -> str:
    assert context.kind == "text"
    return texts(context)[""]


@pytest.fixture
def folder(tmp_path):
    top = tmp_path / "top"
    (top / "docs" / "deep").mkdir(parents=True)
    (top / "a.md").write_text("A")
    (top / "docs" / "b.md").write_text("B")
    (top / "docs" / "deep" / "c.md").write_text("C")
    (top / "docs" / "c.txt").write_text("T")
    return top


def test_nothing_is_no_context_and_an_empty_text_is_one():
    assert prepare(None).kind == "none"
    assert prepare("").kind == "text"


def test_a_context_stays_itself():
    context = prepare("x")
    assert prepare(context) is context


def test_text_is_not_taken_for_a_path(folder):
    assert text(prepare(str(folder / "a.md"))) == str(folder / "a.md")


def test_dicts_and_lists_are_values():
    assert prepare({"a": "x", "b": "y"}).kind == "value"
    assert prepare(["x"]).kind == "value"
    assert prepare(0).kind == "value"


def test_a_utf8_file_is_used_as_it_is(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes("\ufeffläuft\r\nweiter\n".encode())
    context = prepare(path)
    assert text(context) == "läuft\r\nweiter\n"
    assert os.fstat(context.fd).st_ino == path.stat().st_ino
    assert context.digest == prepare("läuft\r\nweiter\n").digest


def test_an_empty_file_is_empty_text(tmp_path):
    (tmp_path / "x").touch()
    assert text(prepare(tmp_path / "x")) == ""


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
def test_byte_order_marks_are_understood(tmp_path, encoding):
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "x").write_bytes((mark + "Grüße\r\nan alle").encode(encoding))
    assert text(prepare(tmp_path / "x")) == "Grüße\r\nan alle"


def test_latin_1_is_guessed_and_said(tmp_path):
    (tmp_path / "x").write_bytes(("Le café était fermé à midi, hélas.\n" * 20).encode("latin-1"))
    context = prepare(tmp_path / "x")
    assert text(context).startswith("Le café était fermé à midi")
    assert any("cp1252" in warning for warning in context.warnings)


def test_cyrillic_is_guessed(tmp_path):
    wanted = "Съешь же ещё этих мягких французских булок, да выпей чаю.\n" * 20
    (tmp_path / "x").write_bytes(wanted.encode("cp1251"))
    assert text(prepare(tmp_path / "x")) == wanted


def test_damage_in_utf8_is_replaced_and_counted(tmp_path):
    (tmp_path / "x").write_bytes("größer\n".encode() * 50 + b"bad \xff\xfe here\n" + "größer\n".encode() * 50)
    context = prepare(tmp_path / "x")
    assert "bad \ufffd\ufffd here" in text(context)
    assert context.warnings == (f"2 places could not be decoded and hold U+FFFD: {tmp_path / 'x'}",)


def test_damage_far_into_a_file_is_found(tmp_path):
    (tmp_path / "x").write_bytes("é".encode() * 3_000_000 + b"\xff" + "é".encode() * 10)
    context = prepare(tmp_path / "x")
    assert context.chars == 3_000_011
    assert context.warnings == (f"1 place could not be decoded and holds U+FFFD: {tmp_path / 'x'}",)


def test_an_encoding_can_be_given(tmp_path):
    (tmp_path / "x").write_bytes("日本".encode("shift_jis"))
    assert text(prepare(tmp_path / "x", Reading(encoding="shift_jis"))) == "日本"
    (tmp_path / "y").write_bytes("no mark".encode("utf-16-le"))
    assert text(prepare(tmp_path / "y", Reading(encoding="utf-16-le"))) == "no mark"


CSV = "Keyword\tClicks\r\ncafé\t5\r\n"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_text_without_its_mark_is_read_alone_and_in_a_folder(tmp_path, encoding):
    (tmp_path / "kw.csv").write_bytes(CSV.encode(encoding))
    (tmp_path / "samples.bin").write_bytes(bytes(range(24)) * 2)
    (tmp_path / "small.bin").write_bytes(b"".join(number.to_bytes(2, "little") for number in range(200)))
    alone, folder = prepare(tmp_path / "kw.csv"), prepare(tmp_path)
    assert text(alone) == texts(folder)["kw.csv"] == CSV
    assert f"read as {encoding}, which is a guess: kw.csv" in folder.warnings
    assert list(texts(folder)) == ["kw.csv"]


@pytest.mark.parametrize(
    ("wanted", "encoding"),
    [
        ("A001,髙橋のみかん,1,100\r\n" * 6, "cp932"),
        ("①番,～,㈱テスト,髙島\r\n" * 6, "cp932"),
        ("编号,名称\r\n1,苹果\r\n", "gb18030"),
        ("Привет мир, как дела? да!", "koi8_r"),
        ("안녕하세요 세계\r\n", "cp949"),
        ("你好，世界，測試\r\n", "big5"),
    ],
)
def test_short_texts_of_the_world_are_guessed(tmp_path, wanted, encoding):
    (tmp_path / "x").write_bytes(wanted.encode(encoding))
    assert text(prepare(tmp_path / "x")) == wanted


def test_a_notebook_is_named_as_one(tmp_path):
    (tmp_path / "a.ipynb").write_text('{"cells": []}')
    [warning] = prepare(tmp_path).warnings
    assert warning == "notebooks, taken as cells and outputs without images: a.ipynb"


@pytest.mark.parametrize("name", ["utf-9", "base64", "undefined", "a\0b"])
def test_an_unknown_encoding_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="is not a text encoding"):
        prepare(tmp_path, Reading(encoding=name))


def test_binary_is_refused_by_name_unless_asked_for(tmp_path):
    raw = bytes(range(256)) * 10
    (tmp_path / "x.bin").write_bytes(raw)
    with pytest.raises(ConfigError, match=r"x\.bin is binary data.*NUL"):
        prepare(tmp_path / "x.bin")
    assert text(prepare(tmp_path / "x.bin", Reading(binary=True))).encode("latin-1") == raw


def test_known_formats_bring_advice(tmp_path):
    (tmp_path / "x.sqlite").write_bytes(b"SQLite format 3\0")
    with pytest.raises(ConfigError, match="export what you need"):
        prepare(tmp_path / "x.sqlite")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n%PDF-1.4\n1 0 obj\n<< >>\n", "no PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"text " * 9, "old office document"),
    ],
)
def test_what_hides_its_format_is_known(tmp_path, content, words):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ConfigError, match=words):
        prepare(tmp_path / "x")


def test_a_text_about_pdfs_is_text(tmp_path):
    (tmp_path / "x").write_text("A PDF begins with\n%PDF-1.4\nand has objects.")
    assert text(prepare(tmp_path / "x")).startswith("A PDF")


def test_noise_without_nul_bytes_is_binary(tmp_path):
    (tmp_path / "x").write_bytes(bytes(range(1, 256)) * 10)
    with pytest.raises(ConfigError, match="binary"):
        prepare(tmp_path / "x")


def test_bytes_are_text_if_they_are_and_refused_if_not():
    assert text(prepare("Grüße".encode())) == "Grüße"
    with pytest.raises(ConfigError, match="bytes is binary"):
        prepare(b"\0\1")


def test_a_missing_file_brings_a_suggestion(folder):
    with pytest.raises(ConfigError, match=r"a\.mf does not exist. Did you mean .*a\.md") as missing:
        prepare(folder / "a.mf")
    assert missing.value.exit_code == 2


def test_special_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/null")):
        with pytest.raises(ConfigError, match="standard input"):
            prepare(path)


def test_a_folder_is_a_dict_of_texts(folder):
    context = prepare(folder)
    assert texts(context) == {"a.md": "A", "docs/b.md": "B", "docs/c.txt": "T", "docs/deep/c.md": "C"}
    assert (context.kind, context.items, context.chars) == ("files", 4, 4)
    assert "docs/deep/c.md (1 bytes)" in context.describe()


def test_the_digest_of_files_depends_on_names(folder):
    before = prepare(folder).digest
    assert prepare(folder).digest == before
    (folder / "a.md").rename(folder / "z.md")
    assert prepare(folder).digest != before


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("**/*.md", {"a.md", "docs/b.md", "docs/deep/c.md"}),
        ("*.md", {"a.md"}),
        ("docs/*.md", {"b.md"}),
        ("docs/**/c.*", {"c.txt", "deep/c.md"}),
        ("*/deep/?.md", {"docs/deep/c.md"}),
        ("[ab].md", {"a.md"}),
    ],
)
def test_globs(folder, pattern, names):
    assert set(texts(prepare(folder / pattern))) == names


def test_a_glob_that_fits_nothing_is_an_error(folder):
    with pytest.raises(ConfigError, match=r"no file fits .*\*\.rst"):
        prepare([folder / "a.md", folder / "*.rst"])


def test_several_paths_are_named_from_what_holds_them_all(folder):
    context = prepare([folder / "docs" / "b.md", folder / "a.md", folder / "docs" / "*.md"])
    assert texts(context) == {"docs/b.md": "B", "a.md": "A"}


def test_a_file_whose_name_looks_like_a_glob(tmp_path):
    (tmp_path / "a[1].txt").write_text("odd")
    assert text(prepare(tmp_path / "a[1].txt")) == "odd"


def test_ignored_hidden_and_git_files_are_left_out_and_counted(folder):
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("x")
    (folder / ".env").write_text("KEY=1")
    (folder / ".gitignore").write_text("docs/*\n!docs/b.md\n")
    context = prepare(folder)
    assert set(texts(context)) == {"a.md", "docs/b.md"}
    assert "4 hidden or git-ignored" in context.describe()
    assert {".env", "docs/c.txt"} <= set(texts(prepare(folder, Reading(everything=True))))
    assert ".git/config" not in texts(prepare(folder, Reading(everything=True)))


def test_rules_of_the_repository_above_hold_and_plain_globs_overrule_them(folder):
    (folder / ".git").mkdir()
    (folder / ".gitignore").write_text("docs/c.txt\n")
    assert "c.txt" not in texts(prepare(folder / "docs"))
    assert set(texts(prepare(folder / "docs" / "*.txt"))) == {"c.txt"}


def test_a_hostile_ignore_file_does_not_hang(folder):
    (folder / ".gitignore").write_text("*a*a*a*a*a*a*a*a*b\n[\n\\\n" + "x" * 100_000)
    (folder / ("a" * 200)).write_text("here")
    assert "a" * 200 in texts(prepare(folder))


def test_binary_and_unreadable_files_in_a_folder_are_noted(folder):
    (folder / "x.bin").write_bytes(b"\0")
    os.mkfifo(folder / "fifo")
    context = prepare(folder)
    assert len(context.parts) == 4
    assert set(context.warnings) == {"binary, left out: x.bin", "unreadable, left out: fifo"}


def test_a_named_binary_file_among_several_is_an_error(folder):
    (folder / "x.bin").write_bytes(b"\0")
    with pytest.raises(ConfigError, match=r"x\.bin is binary"):
        prepare([folder / "a.md", folder / "x.bin"])


def test_symlinks_that_leave_a_folder_are_not_followed(folder, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (folder / "out").symlink_to(tmp_path / "secret")
    (folder / "in").symlink_to("a.md")
    (folder / "docs" / "round").symlink_to("..")
    context = prepare(folder)
    assert texts(context)["in"] == "A"
    assert "out" not in texts(context)
    assert any("symlinks" in warning and "out" in warning for warning in context.warnings)
    assert not any(name.startswith("docs/round") for name in texts(context))


def test_a_symlink_named_by_the_user_is_followed(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder / "a.md")
    assert text(prepare(tmp_path / "link")) == "A"


def test_a_folder_without_text_is_an_error(tmp_path):
    (tmp_path / "x").write_bytes(b"\0")
    with pytest.raises(ConfigError, match=r"no text files.*binary, left out: x"):
        prepare(tmp_path)


def test_names_that_are_no_unicode_are_made_visible(tmp_path):
    for raw in (b"\xff", b"\xfe"):
        Path(os.fsdecode(bytes(tmp_path) + b"/" + raw)).write_text("x")
    context = prepare(tmp_path)
    assert set(texts(context)) == {"\\xff", "\\xfe"}
    context.describe().encode()


def test_a_very_deep_folder_ends(tmp_path):
    (tmp_path / "x").write_text("top")
    deep = tmp_path
    for _ in range(150):
        deep /= "d"
        deep.mkdir()
    (deep / "x").write_text("bottom")
    context = prepare(tmp_path)
    assert texts(context) == {"x": "top"}
    assert "unreadable" in context.warnings[0]


def test_binary_and_text_streams_are_read():
    assert text(prepare(io.BytesIO("é".encode()))) == "é"
    assert text(prepare(io.StringIO("a\r\n\ud800"))) == "a\r\n\ud800"
    assert text(prepare(io.TextIOWrapper(io.BytesIO(b"\xff\xfea\0")))) == "a"
    assert text(prepare(io.BytesIO(gzip.compress(b"x")))) == "x"


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path):
    path = tmp_path / "x"
    path.write_text("before")
    with path.open() as file:
        opened, notes = TextFile.of(file.fileno(), "x"), Notes()
        path.write_text("after that, more")
        opened.check_unchanged(notes)
    assert notes.warnings() == ("changed while it was read: x",)


def test_images_come_from_bytes_paths_and_themselves(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png())
    given = [Image.of(GIF), path, png(2, 2)]
    assert [image.data for image in read_images(given)] == [GIF, png(), png(2, 2)]


@pytest.mark.parametrize(
    ("content", "said"), [(b"text", "not a PNG"), (png() + bytes(IMAGE_BYTES), "at most 5,000,000 bytes")]
)
def test_a_file_that_is_no_image_is_named(tmp_path, content, said):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"a\.png: .*{said}"):
        read_images([path])


def test_what_cannot_be_an_image_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        read_images([tmp_path / "missing.png"])
    with pytest.raises(ConfigError, match="is a folder"):
        read_images([tmp_path])
    with pytest.raises(ConfigError, match="bytes, a Path or an Image, not str"):
        read_images(["a.png"])
    with pytest.raises(ConfigError, match="at most 20 images"):
        read_images([png()] * 21)


def test_a_hostile_ignore_file_is_no_failure(tmp_path):
    (tmp_path / ".gitignore").write_text("[z-a]\n[[]\n*.log\n" + "x\n" * 5000)
    (tmp_path / "a.txt").write_text("A")
    (tmp_path / "b.log").write_text("B")
    assert [part.name for part in prepare(tmp_path).parts] == ["a.txt"]


def test_a_file_without_a_size_is_said_to_be_taken_as_empty():
    context = prepare(Path("/proc/self/status"))
    assert (context.size_bytes, len(context.warnings)) == (0, 1)
    assert context.warnings[0].endswith("(pipe it in instead): /proc/self/status")


def with_records(folder: Path) -> Path:
    """A folder that has a record with all that may stand beside one, a copy of it, and the saved stream of a run."""
    record = write(folder)
    record.with_suffix(".exact").write_text('{"salt":"00112233445566778899aabbccddeeff"}\n{"seq":1,"body":"secret"}\n')
    record.with_suffix(".context").write_text("data of the run")
    record.with_suffix(".blobs").mkdir()
    (record.with_suffix(".blobs") / ("f" * 64)).write_text("a long text")
    record.with_suffix(".artifacts").mkdir()
    (record.with_suffix(".artifacts") / "saved.txt").write_text("what code saved")
    (folder / "index.sqlite").write_text("an index")
    (folder / "out.jsonl").write_bytes(record.read_bytes())
    return record


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("pattern", [".", "**/*", "*.jsonl"])
def test_no_record_is_data_in_whatever_folder(folder, pattern, marked):
    (folder / "mine.jsonl").write_text('{"mine": 1}\n')
    expected = prepare(folder / pattern)
    with_records(folder)
    if not marked:
        (folder / ".gitignore").unlink()
    context = prepare(folder / pattern)
    assert (context.digest, context.items) == (expected.digest, expected.items)
    left = {".": 8, "**/*": 8, "*.jsonl": 2}[pattern]
    assert f"records of earlier runs were left out ({left} files or folders of rlm's own)" in context.warnings


def test_a_folder_of_records_alone_is_no_data(tmp_path):
    record = with_records(tmp_path / "records")
    (record.parent / ".gitignore").unlink()
    for wanted in (record.parent, record.parent / "*", [record.parent, tmp_path]):
        with pytest.raises(ConfigError, match="no text files.*records of earlier runs were left out"):
            prepare(wanted, Reading(binary=True))


def test_a_record_that_is_named_itself_is_data_but_not_what_masking_took_out(folder):
    record = with_records(folder)
    assert text(prepare(record)) == record.read_text()
    assert len(texts(prepare([record, folder / "a.md"]))) == 2
    for named in (record.with_suffix(".exact"), [record.with_suffix(".exact"), folder / "a.md"]):
        with pytest.raises(ConfigError, match="masked"):
            prepare(named)


def test_the_file_that_the_answer_goes_to_is_no_data(folder):
    expected = prepare(folder)
    own = os.dup(1)
    try:
        with (folder / "answer.txt").open("w") as file:
            os.dup2(file.fileno(), 1)
            context = prepare(folder)
    finally:
        os.dup2(own, 1)
        os.close(own)
    assert context.digest == expected.digest
    assert context.warnings == ("where the output of this run goes, left out: answer.txt",)
