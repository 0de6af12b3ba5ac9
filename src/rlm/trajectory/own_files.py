"""Tells records of runs, and what stands beside them, from the data of users: no run takes its own trace, or that of
another, for what it is asked about.

A name alone could be a coincidence, so the first line has to fit too, where there is one.
"""

from __future__ import annotations

import os
import re
from typing import Final

from rlm.core.paths import open_file

HEAD_BYTES: Final = 4_096
"""So much of a file is looked at."""
_OWN = re.compile(r"[0-9a-f]{32}(?:\.tasks)?\.(jsonl|exact|context|receipt|kept|report\.md)(\.part)?")
_OWN_FOLDER = re.compile(r"[0-9a-f]{32}(?:\.tasks)?\.(blobs|artifacts)")
_INDEX = re.compile(r"index\.sqlite(-wal|-shm|-journal)?")
_RECORD = re.compile(r"[0-9a-f]{32}\.jsonl")
_FIRST_LINE = re.compile(
    rb'\s*\{\s*"seq"\s*:\s*0\s*,\s*"at"\s*:\s*[0-9.eE+]+\s*,\s*"run"\s*:\s*"[0-9a-f]{1,32}"\s*,'
    rb'\s*"span"\s*:\s*"[^"]{1,64}"\s*,\s*"parent"\s*:\s*null\s*,\s*"type"\s*:\s*"(?:run|tasks)\.start"'
)
_SALT = re.compile(rb'\{"salt":"[0-9a-f]{32}"\}\n')
_HEADS = {
    "jsonl": _FIRST_LINE,
    "exact": re.compile(rb'\{"(salt":"[0-9a-f]|seq":\d|digest":")'),
    "receipt": re.compile(rb'\{"version":\d+,"run":"[0-9a-f]{32}(\.tasks)?","scheme":"'),
    "kept": re.compile(rb"\Z"),
    "report.md": re.compile(rb"# Receipt: "),
    "context": re.compile(rb""),  # data of any kind: the name has to do
}


def begins_own(head: bytes) -> bool:
    """Whether a file that begins so is a record or the exact texts of one, whatever its name: a copy, or the saved
    output of `stream-json`."""
    return _FIRST_LINE.match(head) is not None or _SALT.match(head) is not None


def is_exact(name: str) -> bool:
    """Whether a file of that name has what masking took out of a record."""
    return (found := _OWN.fullmatch(name)) is not None and found[1] == "exact"


def is_own_folder(name: str) -> bool:
    """Whether a folder of that name stands beside a record."""
    return _OWN_FOLDER.fullmatch(name) is not None


def is_own_file(name: str, folder: int) -> bool:
    """Whether a file in an open folder is a record by its name, or stands beside one."""
    if _INDEX.fullmatch(name):
        return any(map(_RECORD.fullmatch, _names(folder)))
    own = _OWN.fullmatch(name)
    if own is None:
        return False
    head = _head(name, folder)
    return not head or own[2] is not None or _HEADS[own[1]].match(head) is not None


def _names(folder: int) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _head(name: str, folder: int) -> bytes:
    """The beginning of a file; empty where it can't be read."""
    try:
        fd = open_file(name, folder)
    except OSError:
        return b""
    try:
        return os.pread(fd, HEAD_BYTES, 0)
    except OSError:
        return b""
    finally:
        os.close(fd)
