"""Masks nested values: the same shape with the same sharing and cycles, texts masked, and what a key calls a secret."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from rlm.secrets.assigned import accepted
from rlm.secrets.names import family_of
from rlm.secrets.spans import LABEL_START, label

if TYPE_CHECKING:
    from collections.abc import Generator

    from rlm.secrets.masking import SecretMasker

_NAME = re.compile(r"[\w. @$-]{1,60}")
_LEAST_DIGITS: Final = 1000
"""A smaller number under a key such as `password` is a count or a setting."""


def mask_nested(masker: SecretMasker, value: Any) -> Any:
    """A masked copy of `value`: dicts, lists, tuples, sets, text and bytes within; anything else is left as it is.

    Depth is bounded by memory only.
    """
    walk = _Walk(masker)
    steps = [walk.masked(value, None)]
    result: Any = None
    while steps:
        try:
            child, family = steps[-1].send(result)
        except StopIteration as done:
            steps.pop()
            result = done.value
        else:
            steps.append(walk.masked(child, family))
            result = None
    return result


class _Walk:
    """One walk over one value. A step yields the children it needs masked, so that depth costs no call stack."""

    def __init__(self, masker: SecretMasker) -> None:
        self._masker = masker
        # A container under a secret's name is masked otherwise than the same one elsewhere. It is kept with its copy,
        # so that its id is not given to another object meanwhile.
        self._done: dict[tuple[int, str | None], tuple[Any, Any]] = {}

    def masked(self, value: Any, family: str | None) -> Generator[tuple[Any, str | None], Any, Any]:
        """The copy of `value`, which stands under a name of `family`."""
        if isinstance(value, str):
            return self._text(value, family)
        if isinstance(value, (bytes, bytearray)):
            text = self._text(value.decode("utf-8", "surrogateescape"), family)
            return type(value)(text.encode("utf-8", "surrogateescape"))
        if isinstance(value, int):
            return label(family) if family and _is_secret_number(value, family) else value
        key = (id(value), family)
        if key not in self._done:
            self._done[key] = (value, None)
            copied = yield from self._copied(value, family, key)
            self._done[key] = (value, copied)
        return self._done[key][1]

    def _copied(
        self, value: Any, family: str | None, key: tuple[int, str | None]
    ) -> Generator[tuple[Any, str | None], Any, Any]:
        kind = type(value)
        if kind is dict:
            return (yield from self._dict(value, key))
        if kind is list:
            copy: list[Any] = []
            self._done[key] = (value, copy)
            for item in value:
                copy.append((yield item, family))  # noqa: PERF401 - each item is a step of the walk
            return copy
        if kind in (tuple, set, frozenset):
            items = []
            for item in value:
                items.append((yield item, family))  # noqa: PERF401
            return kind(items)
        return value

    def _dict(self, value: dict[Any, Any], key: tuple[int, str | None]) -> Generator[tuple[Any, str | None], Any, Any]:
        copy: dict[Any, Any] = {}
        self._done[key] = (value, copy)
        for name, item in value.items():
            family = family_of(name) if isinstance(name, str) and _NAME.fullmatch(name) else None
            masked_name = yield name, None
            masked_item = yield item, None if isinstance(item, dict) else family
            copy[_free(copy, masked_name)] = masked_item
        return copy

    def _text(self, text: str, family: str | None) -> str:
        if family is not None and accepted(text, family, quoted=True) and LABEL_START not in text:
            return label("API_KEY" if family == "KEY" else family)
        return self._masker.mask(text)


def _is_secret_number(value: int, family: str) -> bool:
    return family in ("PASSWORD", "SECRET") and not isinstance(value, bool) and abs(value) >= _LEAST_DIGITS


def _free(copy: dict[Any, Any], name: Any) -> Any:
    """`name`, numbered where two names became the same label."""
    if name not in copy:
        return name
    number = 2
    while f"{name} {number}" in copy:
        number += 1
    return f"{name} {number}"
