"""What documents are read as, in this process: confinement is tested elsewhere."""

from __future__ import annotations

import zlib

import pytest

from rlm.documents.kinds import kind_of
from rlm.documents.readers.pieces import Unreadable
from rlm.documents.readers.reading import read
from tests.support.documents import RELATED, SHEETS, docx, paragraph, pdf, relations, table, words, xlsx, zipped


@pytest.fixture
def pieces(tmp_path):
    def read_pieces(content: bytes) -> list[tuple[str, str]]:
        (tmp_path / "file").write_bytes(content)
        with (tmp_path / "file").open("rb") as file:
            kind = kind_of(file.fileno())
            assert kind is not None
            return list(read([file.fileno()], kind=kind))

    return read_pieces


@pytest.fixture
def text(pieces):
    return lambda content: "".join(said for what, said in pieces(content) if what == "text")


def test_a_text_of_word_keeps_headings_lists_tables_and_signs(text):
    body = paragraph("Plan", "Heading2") + paragraph("A &amp; B &lt;x&gt; R&amp;D") + paragraph("one", "ListBullet")
    assert text(docx(body + table([["name", "sum"], ["Ann", "3|4"]]))) == (
        "## Plan\nA & B <x> R&D\n- one\n| name | sum |\n| Ann | 3\\|4 |\n"
    )


def test_a_text_of_word_has_its_footnotes_and_not_what_was_deleted(text):
    document = docx(paragraph("kept") + "<w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>")
    assert text(document) == "kept\n"


SLIDE = (
    '<p:sld xmlns:p="p" xmlns:a="a"><p:sp><p:nvPr><p:ph type="title"/></p:nvPr><a:p><a:r><a:t>{0}</a:t></a:r></a:p>'
    "</p:sp><p:sp><a:p><a:r><a:t>{1}</a:t></a:r></a:p></p:sp></p:sld>"
)


def test_slides_come_in_the_order_of_the_presentation_each_with_its_notes(pieces):
    order = '<p:sldIdLst><p:sldId id="256" r:id="b"/><p:sldId id="257" r:id="a"/></p:sldIdLst>'
    deck = zipped(
        {
            "[Content_Types].xml": "<Types/>",
            "ppt/presentation.xml": f'<p:presentation xmlns:p="p" {RELATED}>{order}</p:presentation>',
            "ppt/_rels/presentation.xml.rels": relations({"a": "slides/slide1.xml", "b": "slides/slide2.xml"}),
            "ppt/slides/slide1.xml": SLIDE.format("Last", "end"),
            "ppt/slides/slide2.xml": SLIDE.format("First", "start"),
            "ppt/slides/_rels/slide2.xml.rels": relations({"n": "../notesSlides/notesSlide1.xml"}),
            "ppt/notesSlides/notesSlide1.xml": '<n xmlns:a="a"><a:p><a:r><a:t>say hello</a:t></a:r></a:p></n>',
        }
    )
    assert pieces(deck) == [
        ("mark", "slide 1"),
        ("text", "# First\nstart\nNotes: say hello\n"),
        ("mark", "slide 2"),
        ("text", "# Last\nend\n"),
    ]


def test_a_sheet_keeps_dates_blanks_results_and_numbers_as_they_are_shown(pieces):
    shared = f"<sst {SHEETS}><si><t>name</t></si><si><r><t>two </t></r><r><t>runs</t></r></si></sst>"
    styles = f'<styleSheet {SHEETS}><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>'
    rows = (
        '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="C1" t="s"><v>1</v></c></row>'
        '<row r="5"><c r="A5" s="1"><v>45292</v></c><c r="B5"><f>1+1</f><v>2</v></c>'
        '<c r="C5"><v>0.30000000000000004</v></c><c r="D5" t="b"><v>1</v></c></row>'
    )
    assert pieces(xlsx({"Sales": rows, "Empty": ""}, sharedStrings=shared, styles=styles)) == [
        ("mark", "sheet Sales"),
        ("text", "| name |  | two runs |\n| 2024-01-01 | 2 | 0.3 | true |\n"),
        ("mark", "sheet Empty"),
    ]


def test_formulas_that_were_never_calculated_are_shown_and_said(pieces):
    found = pieces(xlsx({"S": '<row r="1"><c r="A1"><f>SUM(B1:B9)</f></c></row>'}))
    assert ("text", "| =SUM(B1:B9) |\n") in found
    assert next(said for what, said in found if what == "note").startswith("1 formulas were never calculated")


@pytest.mark.parametrize("row", ['r="1000000000"', 'r="1048576"'])
def test_a_row_and_a_column_far_away_cost_nothing(text, row):
    rows = f'<row r="1"><c r="A1"><v>1</v></c></row><row {row}><c r="A9"><v>2</v></c><c r="XFD9"><v>3</v></c></row>'
    assert text(xlsx({"S": rows})) == "| 1 |\n| 2 | [XFD] 3 |\n"


ODF = 'xmlns:office="o" xmlns:text="t" xmlns:table="b" office:version="1.3"'


def open_document(kind: str, body: str, **parts: str) -> bytes:
    mimetype = f"application/vnd.oasis.opendocument.{kind}"
    return zipped(
        {"mimetype": mimetype, "content.xml": f"<office:document-content {ODF}>{body}</office:document-content>"}
        | parts
    )


def test_a_text_of_open_document(text):
    body = (
        '<text:h text:outline-level="2">Plan</text:h><text:p>a<text:tab/>b<text:s text:c="3"/>c</text:p>'
        "<text:list><text:list-item><text:p>one</text:p></text:list-item></text:list>"
    )
    assert text(open_document("text", body)) == "## Plan\na\tb   c\n- one\n"


def test_sheets_of_open_document_repeat_what_they_say_they_do_within_bounds(pieces):
    body = (
        '<table:table table:name="S"><table:table-row table:number-rows-repeated="2">'
        "<table:table-cell><text:p>x</text:p>"
        '</table:table-cell><table:table-cell table:number-columns-repeated="16384"/></table:table-row>'
        '<table:table-row table:number-rows-repeated="1048574"><table:table-cell/></table:table-row></table:table>'
    )
    assert pieces(open_document("spreadsheet", body)) == [("mark", "sheet S"), ("text", "| x |\n| x |\n")]


def test_an_encrypted_open_document_is_said_to_be(pieces):
    manifest = {"META-INF/manifest.xml": '<m xmlns="m"><encryption-data/></m>'}
    with pytest.raises(Unreadable, match="encrypted: it opens with a password only"):
        pieces(open_document("text", "", **manifest))


def test_a_web_page_keeps_what_is_read(text):
    page = (
        "<!doctype html><html><head><title>T</title><style>x{}</style></head><body><nav><a>menu</a></nav><h2>Head</h2>"
        "<p>some <b>bold</b>\n text &amp; more<table><tr><th>a<th>b<tr><td>1<td></table>"
        "<pre>x\n  y</pre><script>z</script>"
    )
    assert text(page.encode()) == "# T\n## Head\nsome bold text & more\n| a | b |\n| 1 |  |\nx\n  y\n"


@pytest.mark.parametrize("page", ["<div>" * 200_000 + "x", "<table><tr><td>" * 5_000 + "x", "<nav>" * 100_000 + "x"])
def test_a_page_that_is_nested_without_end_is_read(text, page):
    assert len(text(f"<html>{page}".encode())) < 100_000


def test_a_book_has_its_chapters_in_order(pieces):
    book = zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<c><rootfile full-path="O/book.opf"/></c>',
            "O/book.opf": '<p><item id="x" href="b.html"/><item id="y" href="a.html"/>'
            '<itemref idref="x"/><itemref idref="y"/></p>',
            "O/a.html": "<html><body><p>second</p></body></html>",
            "O/b.html": "<html><body><h1>First</h1></body></html>",
        }
    )
    assert pieces(book) == [
        ("mark", "chapter 1"), ("text", "# First\n"), ("mark", "chapter 2"), ("text", "second\n"),
    ]  # fmt: skip


MAIL = b"""From: Ann <a@x.org>
To: b@x.org
Subject: =?utf-8?q?caf=C3=A9?=
Message-ID: <1@x>
Content-Type: multipart/mixed; boundary=B

--B
Content-Type: text/plain

the text
--B
Content-Type: text/csv
Content-Disposition: attachment; filename=t.csv

a,b
--B
Content-Type: image/png
Content-Disposition: attachment; filename=p.png
Content-Transfer-Encoding: base64

AAAA
--B--
"""


def test_a_mail_has_its_headers_its_text_and_its_attachments(text):
    said = text(MAIL)
    assert said.startswith("From: Ann <a@x.org>\nTo: b@x.org\nSubject: café\n\nthe text")
    assert "## attachment t.csv (text/csv, 3 bytes)\na,b" in said
    assert "## attachment p.png (image/png, 3 bytes)" in said


def test_a_mailbox_is_its_mails(pieces):
    box = b"From a@x Thu Jan  1 00:00:00 2026\n" + MAIL + b"\nFrom b@x Fri Jan  2 00:00:00 2026\n" + MAIL
    assert [said for what, said in pieces(box) if what == "mark"] == ["mail 1", "mail 2"]


def test_rtf_is_read_with_its_letters_and_tables(text):
    assert (
        text(
            rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\*\generator x}caf\'e9 \u8364? {\b bold}"
            rb"\par second\line line\par"
            rb"\trowd\intbl a\cell b\cell\row\pard end}"
        )
        == "café € bold\nsecond\nline\n| a | b |\nend\n"
    )


def test_groups_without_end_are_refused(pieces):
    with pytest.raises(Unreadable, match="nested too deep"):
        pieces(rb"{\rtf1 " + b"{" * 1_000_000)


def test_a_pdf_has_its_pages(pieces):
    assert pieces(pdf([words("one", "line"), words("two")])) == [
        ("mark", "page 1"), ("text", "one\nline\n"), ("mark", "page 2"), ("text", "two\n"),
    ]  # fmt: skip


def test_a_table_in_a_pdf_stays_in_columns(text):
    cells = " ".join(
        f"1 0 0 1 {72 + 150 * column} {700 - 20 * line} Tm (r{line}c{column}) Tj"
        for line in range(5)
        for column in range(3)
    )
    lines = [line.split() for line in text(pdf([cells])).splitlines() if line.strip()]
    assert lines == [[f"r{line}c{column}" for column in range(3)] for line in range(5)]


def test_pages_without_text_are_said_to_be(pieces):
    notes = [said for what, said in pieces(pdf([words("one"), "", ""])) if what == "note"]
    assert notes == ["no text on 2 of 3 pages: they are empty, or scanned images, which are not read"]


@pytest.mark.parametrize(
    ("prolog", "text"),
    [
        ('<!DOCTYPE w [<!ENTITY a "lol"><!ENTITY b "&a;&a;">]>', "&b;"),
        ('<!DOCTYPE w [<!ENTITY x SYSTEM "file:///etc/hostname">]>', "&x;"),
    ],
)
def test_a_document_type_is_refused(pieces, prolog, text):
    parts = {"[Content_Types].xml": "<Types/>", "word/document.xml": f"{prolog}<w><p><t>{text}</t></p></w>"}
    with pytest.raises(Unreadable, match="document type"):
        pieces(zipped(parts))


def test_xml_that_is_nested_without_end_is_refused(pieces):
    with pytest.raises(Unreadable, match="nested too deep"):
        pieces(docx("<w:p>" * 100_000))


def test_an_archive_that_unpacks_to_too_much_is_refused(pieces, monkeypatch):
    monkeypatch.setattr("rlm.documents.readers.package.MOST_BYTES", 1 << 20)
    with pytest.raises(Unreadable, match="unpacks to more than 1 MB"):
        pieces(docx(paragraph("x" * (2 << 20))))


def test_a_page_that_inflates_without_end_is_left_out(pieces):
    packed = zlib.compress(b"BT (bomb) Tj ET\n" * 6_000_000, 9)
    whole = pdf([words("good"), words("bad")])
    stream = b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(packed) + packed + b"\nendstream"
    start = whole.index(b"<< /Length", whole.index(b"7 0 obj"))
    found = pieces(whole[:start] + stream + whole[whole.index(b"endobj", start) - 1 :])
    assert ("text", "good\n") in found
    assert ("note", "1 of 2 pages are damaged or too large to read, left out") in found


def test_pages_that_hold_themselves_end(pieces):
    circle = pdf([words("x")]).replace(b"/Kids [4 0 R]", b"/Kids [2 0 R]")
    with pytest.raises(Unreadable, match="damaged, or no PDF"):
        pieces(circle)


def test_a_million_pages_are_refused(pieces):
    with pytest.raises(Unreadable):
        pieces(
            pdf([words("x")]).replace(
                b"/Kids [4 0 R] /Count 1", b"/Kids [" + b"4 0 R " * 1_000_000 + b"] /Count 1000000"
            )
        )


def test_an_encrypted_pdf_is_said_to_be(pieces, tmp_path):
    import pypdf

    writer = pypdf.PdfWriter()
    writer.add_blank_page(100, 100)
    writer.encrypt("secret", algorithm="AES-256")
    writer.write(tmp_path / "x.pdf")
    with pytest.raises(Unreadable, match="encrypted: it opens with a password only"):
        pieces((tmp_path / "x.pdf").read_bytes())
