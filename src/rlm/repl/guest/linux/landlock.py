"""Landlock: what a guest may open. Nothing is allowed unless a rule says so, and no rule allows writing.

Source: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

from rlm.repl.guest import kernel

if TYPE_CHECKING:
    from collections.abc import Iterable

# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_VERSION = 1
_RULE_PATH_BENEATH = 1

_READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_NET_ALL = 0b11
_SCOPE_ALL = 0b11


def abi() -> int:
    """The version of Landlock that this kernel offers. Raises:
    OSError: it offers none.
    """
    return kernel.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_CREATE_VERSION))


def create_ruleset(version: int, trees: Iterable[str], listings: Iterable[str]) -> int:
    """Make a ruleset and return its file descriptor.

    All of `trees` (folders or single files) may be read; of `listings` only the names in them, at any depth.
    Everything else that this ABI version can refuse is refused.
    """
    attributes = _attributes(version)
    ruleset = kernel.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    for path in trees:
        _allow(ruleset, path, _READ_FILE | _READ_DIR)
    for path in listings:
        _allow(ruleset, path, _READ_DIR)
    return ruleset


def restrict_self(ruleset: int) -> None:
    """Bind this process and its future threads by the ruleset, for good."""
    kernel.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))


def _attributes(version: int) -> bytes:
    filesystem_bits = 13 + (version >= 2) + (version >= 3) + (version >= 5)
    words = [(1 << filesystem_bits) - 1]
    if version >= 4:
        words.append(_NET_ALL)
    if version >= 6:
        words.append(_SCOPE_ALL)
    return struct.pack(f"={len(words)}Q", *words)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # gone, or not for us: then it needs no rule
        return
    try:
        allowed = access if os.path.isdir(path) else access & _READ_FILE
        if allowed:
            rule = struct.pack("=Qi", allowed, target)
            kernel.syscall(_ADD_RULE, ctypes.c_int(ruleset), _RULE_PATH_BENEATH, rule, ctypes.c_uint32(0))
    finally:
        os.close(target)
