"""What a file is, by its content and not by its name."""

from __future__ import annotations

import os
import re
from typing import Literal, TypeAlias

from rlm.files.archives import is_document
from rlm.files.encodings import HEAD_BYTES, is_pdf

Kind: TypeAlias = Literal["pdf", "zip", "rtf", "html", "mail", "mbox"]
"""A kind of document; `zip` stands for all that are archives of parts: docx, pptx, xlsx, odt, ods, odp, epub."""

_PAGE = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,500}?-->\s*)*<(?:!doctype\s+html|html)\b",
    re.IGNORECASE | re.DOTALL,
)
_TEMPLATE = re.compile(rb"\{\{|\{%|<\?php|<%")
_HEADERS = re.compile(rb"(?:[!-9;-~]+:[^\n]*\n(?:[ \t][^\n]*\n)*)+", re.IGNORECASE)
_FIELD = re.compile(rb"^([!-9;-~]+):", re.MULTILINE)
_OF_A_MAIL = frozenset([b"from", b"subject", b"to", b"date"])
_OF_TRANSPORT = frozenset([b"message-id", b"mime-version", b"received", b"return-path", b"delivered-to"])
_LEAST_FIELDS = 2
_MAILBOX = re.compile(rb"From \S+ [^\n]*\d\d:\d\d[^\n]*\n")


def kind_of(fd: int) -> Kind | None:
    """The kind of document that an open file is; None for any other file."""
    head = os.pread(fd, HEAD_BYTES, 0)
    if is_pdf(head):
        return "pdf"
    if is_document(fd, head):
        return "zip"
    if head.startswith(b"{\\rtf"):
        return "rtf"
    if _PAGE.match(head):
        return None if _TEMPLATE.search(head) else "html"
    if (begins := _MAILBOX.match(head)) and _is_mail(head[begins.end() :]):
        return "mbox"
    return "mail" if _is_mail(head) else None


def _is_mail(head: bytes) -> bool:
    """Whether a text begins with the headers of a mail that was sent, more than a person types above a letter."""
    headers = _HEADERS.match(head)
    fields = {field.lower() for field in _FIELD.findall(headers[0])} if headers else frozenset()
    return len(fields & _OF_A_MAIL) >= _LEAST_FIELDS and not fields.isdisjoint(_OF_TRANSPORT)
