"""Documents among the files of a context: confined, kept, noted; what can't be read stops nothing else."""

from __future__ import annotations

import gzip
import json
import os
from typing import TYPE_CHECKING

import pytest

from rlm.confined.launcher import ConfinedCall, ConfinedServer
from rlm.core.exceptions import ConfigError
from rlm.documents import reader
from rlm.runtime.inputs import Reading, prepare
from tests.support.documents import docx, paragraph, pdf, words, zipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.core.contexts.context import Context
    from rlm.core.types import Json


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "rlm" / "documents"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "data"
    made.mkdir()
    return made


def texts(context: Context) -> dict[str, str]:
    return {part.name: os.pread(context.fd, part.size_bytes, part.start).decode() for part in context.parts}


MEMO = docx(paragraph("the memo"))


def test_documents_are_texts_by_what_they_are_and_the_rest_goes_on(folder):
    (folder / "a.docx").write_bytes(MEMO)
    (folder / "b.txt").write_bytes(pdf([words("a pdf")]))
    (folder / "c.pdf").write_text("a text")
    (folder / "d.docx.gz").write_bytes(gzip.compress(MEMO))
    (folder / "e.zip").write_bytes(zipped({"in/f.docx": MEMO, "g.txt": "plain"}))
    (folder / "h.docx").write_bytes(docx("<w:p>"))
    (folder / "i.pdf").write_bytes(pdf(["", ""]))
    context = prepare(folder)
    assert texts(context) == {
        "a.docx": "the memo\n",
        "b.txt": "--- page 1 ---\na pdf\n",
        "c.pdf": "a text",
        "d.docx.gz": "the memo\n",
        "e.zip/in/f.docx": "the memo\n",
        "e.zip/g.txt": "plain",
    }
    said = "\n".join(context.warnings)
    assert "left out: h.docx" in said
    assert "no text on 2 of 2 pages: they are empty, or scanned images, which are not read: i.pdf" in said
    assert f"made by rlm's readers {reader.VERSION}): a.docx, d.docx.gz, e.zip/in/f.docx" in said
    assert "made by pypdf" in said


def test_one_document_is_a_text_and_an_unreadable_one_an_error_that_names_it(folder):
    (folder / "a.docx").write_bytes(MEMO)
    assert texts(prepare(folder / "a.docx")) == {"": "the memo\n"}
    (folder / "b.docx").write_bytes(docx("<w:p>"))
    with pytest.raises(ConfigError, match=r"no text in .*b\.docx: damaged in its part word/document\.xml"):
        prepare(folder / "b.docx")


def test_pages_are_values(folder):
    (folder / "a.pdf").write_bytes(pdf([words("one"), words("two")]))
    (folder / "b.txt").write_text("plain")
    one, both = prepare(folder / "a.pdf", Reading(pages=True)), prepare(folder, Reading(pages=True))
    assert json.loads(texts(one)[""]) == {"pages": ["one\n", "two\n"]}
    assert json.loads(texts(both)[""]) == {"a.pdf": {"pages": ["one\n", "two\n"]}, "b.txt": "plain"}
    assert one.reading is not None
    assert one.reading.pages


def test_a_document_is_read_once_and_kept_for_its_owner_alone(folder, cache, monkeypatch):
    (folder / "a.docx").write_bytes(MEMO)
    prepare(folder / "a.docx")
    (kept,) = cache.iterdir()
    assert (kept.stat().st_mode & 0o777, cache.stat().st_mode & 0o777) == (0o600, 0o700)

    def refuse(_self: ConfinedServer, _call: ConfinedCall, _files: object) -> Iterator[Json]:
        raise AssertionError("it is read again")

    monkeypatch.setattr(ConfinedServer, "call", refuse)
    (folder / "other.docx").write_bytes(MEMO)
    assert texts(prepare(folder / "other.docx")) == {"": "the memo\n"}


def test_what_is_kept_is_not_taken_from_another_version_or_after_damage(folder, cache, monkeypatch):
    (folder / "a.docx").write_bytes(MEMO)
    prepare(folder / "a.docx")
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes().replace(b"memo", b"lie!")[:-3])
    assert texts(prepare(folder / "a.docx")) == {"": "the memo\n"}
    monkeypatch.setattr(reader, "VERSION", reader.VERSION + 1)
    prepare(folder / "a.docx")
    assert len(list(cache.iterdir())) == 2


def test_what_is_old_is_removed(folder, cache):
    cache.mkdir(parents=True, mode=0o700)
    old = cache / "old.pieces"
    old.touch()
    os.utime(old, (0, 0))
    (folder / "a.docx").write_bytes(MEMO)
    prepare(folder / "a.docx")
    assert not old.exists()


def test_without_the_package_a_pdf_says_what_to_install(folder, monkeypatch):
    monkeypatch.setattr(reader.util, "find_spec", lambda _name: None)
    (folder / "a.pdf").write_bytes(pdf([words("one")]))
    with pytest.raises(ConfigError, match=r"a\.pdf: a PDF, for which a package is missing \(.*pypdf"):
        prepare(folder / "a.pdf")


def test_web_pages_are_as_they_are_where_an_encoding_is_given_or_they_are_templates(folder):
    (folder / "a.html").write_text("<html><p>x</p></html>")
    (folder / "b.html").write_text("<html><p>{{ name }}</p></html>")
    assert texts(prepare(folder)) == {"a.html": "x\n", "b.html": "<html><p>{{ name }}</p></html>"}
    assert texts(prepare(folder / "a.html", Reading(encoding="utf-8"))) == {"": "<html><p>x</p></html>"}
