"""What events say of data that they don't carry."""

from __future__ import annotations

from msgspec import Struct


class ReadingNote(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How files were read, where that is not as by default."""

    encoding: str | None = None
    binary: bool = False
    include: list[str] = []
    exclude: list[str] = []
    pages: bool = False


class ContextNote(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a completion was given to work on, without the data."""

    kind: str
    """none, text, files or value."""
    size_bytes: int = 0
    chars: int = 0
    parts: int = 0
    """The number of files or items."""
    digest: str | None = None
    """SHA-256 over the data, as `sha256:<hex>`; None where it is shared with the parent completion."""
    sources: list[str] = []
    """Paths it was read from, at most 100."""
    folder: str = ""
    """The working directory of the run, where one of these paths is relative."""
    reading: ReadingNote | None = None
    """How these paths are to be read again; None: as by default."""


class ImageNote(Struct, frozen=True, kw_only=True):
    """An image of a prompt, without its bytes: they are the file `<run_id>.blobs/<digest>`."""

    media_type: str
    size_bytes: int
    digest: str
    """SHA-256 of the bytes, 64 hex digits."""
