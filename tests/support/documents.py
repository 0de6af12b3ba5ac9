"""Small documents as programs write them, made by hand."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
SHEETS = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
RELATED = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
_RELATIONS = 'xmlns="http://schemas.openxmlformats.org/package/2006/relationships"'
_TYPES = "<Types/>"


def zipped(parts: Mapping[str, str | bytes]) -> bytes:
    """A zip archive of parts by name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


def relations(targets: Mapping[str, str]) -> str:
    """The relations of a part, by id."""
    rows = "".join(f'<Relationship Id="{key}" Target="{target}"/>' for key, target in targets.items())
    return f"<Relationships {_RELATIONS}>{rows}</Relationships>"


def docx(body: str) -> bytes:
    """A text of Word with this XML in its body."""
    document = f"<w:document {WORD}><w:body>{body}</w:body></w:document>"
    return zipped({"[Content_Types].xml": _TYPES, "word/document.xml": document})


def paragraph(text: str, style: str = "") -> str:
    about = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{about}<w:r><w:t>{text}</w:t></w:r></w:p>"


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table of Word."""
    cells = ("".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows)
    return "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in cells) + "</w:tbl>"


def xlsx(sheets: Mapping[str, str], **parts: str) -> bytes:
    """A workbook of Excel, of each sheet the XML of its rows; further parts by the names of their files."""
    names = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in enumerate(sheets, 1))
    made: dict[str, str | bytes] = {
        "[Content_Types].xml": _TYPES,
        "xl/workbook.xml": f"<workbook {SHEETS} {RELATED}><sheets>{names}</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": relations({f"r{n}": f"worksheets/s{n}.xml" for n in range(1, len(sheets) + 1)}),
    }
    for n, rows in enumerate(sheets.values(), 1):
        made[f"xl/worksheets/s{n}.xml"] = f"<worksheet {SHEETS}><sheetData>{rows}</sheetData></worksheet>"
    made |= {f"xl/{name}.xml": content for name, content in parts.items()}
    return zipped(made)


def pdf(pages: Sequence[str]) -> bytes:
    """A PDF, each page with the operators of its text: `(words) Tj` and the like."""
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for n, operators in enumerate(pages):
        stream = f"BT /F1 12 Tf {operators} ET" if operators else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * n} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    body, places = "%PDF-1.4\n", []
    for n, content in enumerate(objects, 1):
        places.append(len(body))
        body += f"{n} 0 obj\n{content}\nendobj\n"
    table_of_places = "".join(f"{place:010} 00000 n \n" for place in places)
    return (
        f"{body}xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table_of_places}"
        f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n"
    ).encode("latin-1")


def words(*lines: str) -> str:
    """The operators of lines of text on a page."""
    return "72 720 Td " + " 0 -16 Td ".join(f"({line}) Tj" for line in lines)
