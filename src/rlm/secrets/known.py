"""Finds secrets that are known beforehand: values of environment variables whose names call them secret."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from rlm.secrets.names import STRICT, family_of
from rlm.secrets.spans import SecretSpan
from rlm.secrets.values import is_fact, is_place, is_placeholder, is_random

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LEAST_CHARS: Final = 8
"""The least characters of a value: a shorter one would be masked within ordinary words."""


@dataclass(frozen=True, slots=True)
class KnownValues:
    """Values that are masked wherever they stand, with their families."""

    families: Mapping[str, str]

    @classmethod
    def of(cls, environ: Mapping[str, str] = os.environ) -> KnownValues:
        """The secrets in an environment, plain and as addresses, JSON, Python and headers write them."""
        families: dict[str, str] = {}
        for name, value in environ.items():
            family = family_of(name)
            if family is not None and _is_secret(value.strip(), family):
                for form in _forms(value.strip()):
                    families[form] = "API_KEY" if family == "KEY" else family
        return cls(families)

    def find(self, text: str) -> Iterator[SecretSpan]:
        """Find every place of one of the values."""
        for value, family in self.families.items():
            at = text.find(value)
            while at >= 0:
                yield SecretSpan(at, at + len(value), family)
                at = text.find(value, at + len(value))


def _forms(value: str) -> set[str]:
    exact = value.encode("utf-8", "surrogateescape")
    # The last characters of base64 depend on what follows the value.
    encoded = b64encode(exact[: len(exact) // 3 * 3]).decode("ascii")
    escaped = {json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]}
    return {value, quote(exact, safe=""), quote(exact), encoded, *escaped}


def _is_secret(value: str, family: str) -> bool:
    # A plain word would be masked wherever anybody uses it.
    common = value.isalpha() or is_placeholder(value) or is_place(value) or is_fact(value)
    return len(value) >= LEAST_CHARS and not common and (family not in STRICT or is_random(value))
