"""What is packed becomes text; what can't, is left out and said, and nothing in it reaches beyond its bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from rlm.core.contexts.context import Context
from rlm.core.exceptions import ConfigError
from rlm.files import unpacking
from rlm.files.streams import zstd_module
from rlm.files.texts import Reading
from rlm.runtime.inputs import prepare

TEXT = "café 1\nline 2\n"


def texts(context: Context) -> dict[str, str]:
    assert context.fd is not None
    return {part.name: os.pread(context.fd, part.size_bytes, part.start).decode() for part in context.parts}


def warned(context: Context, folder: Path) -> list[str]:
    return [warning.replace(f"{folder}/", "") for warning in context.warnings]


def zipped(**files: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return made.getvalue()


def tarred(*entries: tuple[str, bytes | str]) -> bytes:
    """A tar archive of files, and of links where a text is given."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in entries:
            entry = tarfile.TarInfo(name)
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                archive.addfile(entry)
            else:
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def given(folder: Path, name: str, content: bytes, reading: Reading | None = None) -> Context:
    (folder / name).write_bytes(content)
    return prepare(folder / name, reading or Reading())


PACKERS = [gzip.compress, bz2.compress, lzma.compress, zstd_module().compress]


@pytest.mark.parametrize("pack", [*PACKERS, *(lambda data, pack=pack: pack(data) * 2 for pack in PACKERS)])
def test_a_compressed_file_is_its_text_whatever_its_name(tmp_path: Path, pack: Any) -> None:
    context = given(tmp_path, "log.txt", pack(TEXT.encode()))
    assert (context.kind, set(TEXT) - {"é"}) == ("text", set(texts(context)[""]) - {"é"})
    assert texts(context)[""] in (TEXT, TEXT * 2)
    assert context.lines == context.chars // len(TEXT) * 2
    assert context.warnings == ()


def test_what_was_compressed_is_decoded_like_any_file(tmp_path: Path) -> None:
    packed = gzip.compress("Привет".encode("cp866"))
    assert texts(given(tmp_path, "a.gz", packed, Reading(encoding="cp866")))[""] == "Привет"
    assert given(tmp_path, "a.gz", packed, Reading(binary=True)).size_bytes > len("Привет".encode("cp866"))


def test_a_folder_of_rotated_logs_is_a_dict_of_texts(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text("now\n")
    for number in (1, 2):
        (tmp_path / f"app.log.{number}.gz").write_bytes(gzip.compress(f"{number}\n".encode()))
    for path in (tmp_path, tmp_path / "*"):
        found = texts(prepare(path))
        assert found == {"app.log": "now\n", "app.log.1.gz": "1\n", "app.log.2.gz": "2\n"}
    assert texts(prepare([tmp_path / "app.log", tmp_path / "app.log.1.gz"])).keys() == {"app.log", "app.log.1.gz"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.zip", zipped(b=TEXT.encode(), c__d=b"d\n")),
        ("a.tar", tarred(("b", TEXT.encode()), ("./c/d", b"d\n"))),
        ("a.tar.gz", gzip.compress(tarred(("b", TEXT.encode()), ("c/d", b"d\n")))),
        ("a.dat", lzma.compress(tarred(("b", TEXT.encode()), ("c/d", b"d\n")))),
    ],
    ids=["zip", "tar", "gz", "xz"],
)
def test_an_archive_is_a_dict_of_its_texts(tmp_path: Path, name: str, content: bytes) -> None:
    assert texts(given(tmp_path, name, content)) == {"b": TEXT, "c/d": "d\n"}
    (tmp_path / "plain").write_text("x")
    assert texts(prepare(tmp_path)) == {f"{name}/b": TEXT, f"{name}/c/d": "d\n", "plain": "x"}


def test_an_archive_in_an_archive_is_unpacked_and_one_in_that_is_not(tmp_path: Path) -> None:
    third = zipped(deep=b"deep\n")
    context = given(
        tmp_path, "a.zip", zipped(inner=zipped(**{"x.gz": gzip.compress(b"x\n"), "y": b"y\n", "z": third}), b=b"b\n")
    )
    assert texts(context) == {"inner/y": "y\n", "b": "b\n"}
    assert "packed too deep, left out: a.zip/inner/x.gz, a.zip/inner/z" in warned(context, tmp_path)
    assert texts(given(tmp_path, "b.zip", zipped(log=gzip.compress(b"x\n")))) == {"log": "x\n"}


def test_nothing_in_an_archive_leads_out_of_it(tmp_path: Path) -> None:
    slip = zipped(**{"..__..__up": b"up", "good": b"good\n"})
    context = given(tmp_path, "a.zip", slip)
    assert texts(context) == {"good": "good\n"}
    assert warned(context, tmp_path) == ["named to lie outside of its archive, left out: a.zip/../../up"]
    hostile = tarred(
        ("/abs", b"x"), ("link", "/etc/passwd"), (f"{'0' * 32}.exact", b"{}"), (".git/x", b"x"), ("good", b"g\n")
    )
    context = given(tmp_path, "b.tar", hostile)
    assert texts(context) == {"good": "g\n"}
    assert len(context.warnings) == 4
    assert texts(given(tmp_path, "b.tar", hostile, Reading(everything=True))).keys() == {".git/x", "good"}


def encrypted() -> bytes:
    """A zip archive that says of its only file that it is encrypted."""
    content = bytearray(zipped(secret=b"x" * 50))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.zip", encrypted(), "encrypted, left out"),
        ("a.docx", zipped(**{"[Content_Types].xml": b"<x/>", "word__document.xml": b"<x/>"}), "without any text"),
        ("a.zip", zipped(a=b"a" * 5_000)[:-30], "damaged"),
        ("a.gz", gzip.compress(b"", mtime=0)[:8] + b"\xff" * 60, "damaged"),
        ("a.bz2", bz2.compress(b"text" * 99)[:20] + b"\xff" * 60, "damaged"),
        ("a.xz", lzma.compress(b"text" * 99)[:14] + b"\xff" * 60, "damaged"),
        ("a.zst", zstd_module().compress(b"text" * 99)[:8] + b"\xff" * 60, "damaged"),
        ("a.zip", zipped(a=bytes(range(256)) * 9), "binary, left out"),
        ("a.zip", zipped(), "it is empty"),
    ],
    ids=["encrypted", "docx", "cut off", "gz", "bz2", "xz", "zst", "binary", "empty"],  # two workers collect the same
)
def test_what_has_no_text_is_refused_with_its_reason(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    with pytest.raises(ConfigError, match="there is no text in") as refused:
        given(tmp_path, name, content)
    assert words in str(refused.value)
    (tmp_path / "plain").write_text("x")
    folder = prepare(tmp_path)
    assert texts(folder) == {"plain": "x"}
    assert any(words in warning for warning in folder.warnings) or words == "it is empty"


def test_what_is_cut_off_is_read_up_to_there(tmp_path: Path) -> None:
    lines = "".join(f"{number} of them\n" for number in range(20_000)).encode()
    context = given(tmp_path, "a.gz", gzip.compress(lines)[:-3_000])
    assert lines.startswith(texts(context)[""].encode())
    assert context.lines > 1_000
    assert warned(context, tmp_path) == ["cut off, read up to there: a.gz"]
    context = given(tmp_path, "b.gz", gzip.compress(b"x\n") + b"\0" * 512)
    assert (texts(context)[""], context.warnings) == ("x\n", ())
    context = given(tmp_path, "c.gz", gzip.compress(b"x\n") + b"more")
    assert texts(context)[""] == "x\n"
    assert "followed by other data" in context.warnings[0]


@pytest.mark.parametrize("pack", [*PACKERS, lambda data: zipped(zeros=data)])
def test_a_bomb_is_left_out(tmp_path: Path, pack: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "FREE_BYTES", 1 << 18)
    (tmp_path / "bomb").write_bytes(pack(b"0" * (2 << 20)))
    (tmp_path / "plain").write_text("x")
    context = prepare(tmp_path)
    assert texts(context) == {"plain": "x"}
    assert context.warnings == ("unpacks to more than 300 times its size, the rest left out: bomb",)


@pytest.mark.parametrize(
    ("bound", "value", "words"),
    [
        ("MOST_FILES", 2, "more than 2 files"),
        ("TOTAL_BYTES", 5, "with what was before it"),
        ("MOST_SECONDS", -1.0, "s to unpack with what was before it"),
    ],
)
def test_bounds_hold_over_all_files_of_a_context(
    tmp_path: Path, bound: str, value: float, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, bound, value)
    (tmp_path / "a.zip").write_bytes(zipped(a=b"a1\n", b=b"b2\n", c=b"c3\n"))
    (tmp_path / "plain").write_text("x")
    context = prepare(tmp_path)
    assert "plain" in texts(context)
    assert "a.zip/c" not in texts(context)
    assert [warning for warning in context.warnings if words in warning and "the rest left out: a.zip" in warning]


def test_a_notebook_is_its_cells_and_what_they_put_out(tmp_path: Path) -> None:
    image = {"output_type": "display_data", "data": {"image/png": "iVBOR" * 9_000, "text/plain": ["<Figure>"]}}
    printed = {"output_type": "stream", "name": "stdout", "text": ["one\n", "two\n"]}
    failed = {
        "output_type": "error",
        "ename": "KeyError",
        "evalue": "'x'",
        "traceback": ["\x1b[0;31mKeyError\x1b[0m: 'x'"],
    }
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "text"]},
        {"cell_type": "code", "execution_count": 3, "source": "plot()", "outputs": [printed, image, failed]},
    ]
    content = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()
    for name, packed in (("a.ipynb", content), ("b.ipynb.gz", gzip.compress(content))):
        text = texts(given(tmp_path, name, packed))[""]
        for said in (
            "cell 1: markdown",
            "# Title\ntext",
            "cell 2: code, run as [3]",
            "plot()",
            "one\ntwo\n",
            "<Figure>",
        ):
            assert said in text
        assert "\nKeyError: 'x'" in text
        assert "[left out: image/png]" in text
        assert "iVBOR" not in text
    context = given(tmp_path, "c.ipynb", b"just text\n")
    assert texts(context)[""] == "just text\n"
    assert "no notebook in spite of its name" in context.warnings[0]
