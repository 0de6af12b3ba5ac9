"""Mails and mailboxes as text: who wrote to whom, the text, and the attachments that are text themselves."""

from __future__ import annotations

import email
import email.policy
import re
from typing import IO, TYPE_CHECKING

from rlm.documents.readers.pieces import Unreadable, mark, note, text
from rlm.documents.readers.web import page_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import EmailMessage, MIMEPart

    from rlm.documents.readers.pieces import Piece

_SHOWN = ("From", "To", "Cc", "Date", "Subject")
_MOST_MAIL_BYTES = 64 << 20
_BEGINS = re.compile(rb"From \S+ .*\d\d:\d\d")


def mail(content: bytes) -> Iterator[Piece]:
    """One mail."""
    if len(content) > _MOST_MAIL_BYTES:
        raise Unreadable(f"a mail of more than {_MOST_MAIL_BYTES >> 20} MB")
    message = email.message_from_bytes(content, policy=email.policy.default)
    yield text("\n".join(f"{name}: {said}" for name in _SHOWN if (said := _header(message, name))) + "\n")
    body = _body(message)
    if body is not None:
        yield text(_content(body))
    for part in message.walk():
        if part is body or part.is_multipart():
            continue
        yield from _attachment(part, body)


def _attachment(part: MIMEPart, body: MIMEPart | None) -> Iterator[Piece]:
    name, kind = part.get_filename(), part.get_content_type()
    if name is None and body is not None and part.get_content_maintype() == "text":
        return  # the same text in another form
    raw = part.get_payload(decode=True)
    size = len(raw) if isinstance(raw, bytes) else 0
    yield text(f"\n## attachment {name or 'without a name'} ({kind}, {size:,} bytes)")
    if part.get_content_maintype() == "text":
        yield text(_content(part))
    else:
        yield note("attachments of mails, named but left out")


def _header(message: EmailMessage, name: str) -> str:
    try:
        return " ".join(str(message.get(name, "")).split())
    except (ValueError, IndexError, TypeError, AttributeError):  # the parser of headers stumbles over some
        return ""


def _body(message: EmailMessage) -> MIMEPart | None:
    try:
        return message.get_body(("plain", "html"))
    except (KeyError, AttributeError, ValueError):
        return None


def _content(part: MIMEPart) -> str:
    raw = part.get_payload(decode=True)
    content = raw if isinstance(raw, bytes) else b""
    try:
        said = content.decode(part.get_content_charset("utf-8"))
    except (LookupError, ValueError):
        said = content.decode("utf-8", "replace")
    return "\n".join(page_lines(said)) if part.get_content_subtype() == "html" else said.replace("\r\n", "\n")


def mailbox(file: IO[bytes]) -> Iterator[Piece]:
    """The mails of a mailbox, one after another."""
    number, lines, size = 0, list[bytes](), 0
    for line in file:
        if _BEGINS.match(line) and (not lines or not lines[-1].strip()):
            if number:
                yield from _numbered(number, lines)
            number, lines, size = number + 1, [], 0
            continue
        lines.append(line[1:] if line.startswith(b">From ") else line)
        size += len(line)
        if size > _MOST_MAIL_BYTES:
            raise Unreadable(f"a mail of more than {_MOST_MAIL_BYTES >> 20} MB")
    yield from _numbered(number, lines)


def _numbered(number: int, lines: list[bytes]) -> Iterator[Piece]:
    yield mark(f"mail {number}")
    yield from mail(b"".join(lines))
