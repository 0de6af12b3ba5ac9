"""Masks nested values: texts, and whatever a key calls a secret; shape, sharing and cycles stay the same.

Many short texts are searched together, an empty line apart, which takes some twenty times less than one by one; only
those in which something is found are then masked by themselves.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from rlm.core.off_loop import checkpoint
from rlm.secrets.assigned import accepted
from rlm.secrets.clean import clean_texts
from rlm.secrets.names import family_of
from rlm.secrets.spans import LABEL_START, label

if TYPE_CHECKING:
    from collections.abc import Generator

    from rlm.secrets.text_masking import TextMasker

_CONTAINERS: Final = (dict, list, tuple, set, frozenset)
_NAME = re.compile(r"[\w. @$-]{1,60}")
_VALUES: Final = ("value", "val", "current", "new", "old", "default", "text", "plain")
"""Keys that say nothing about a value."""
_ALL: Final = "*"
_CARD_FROM: Final = 10**12
_CARD_TO: Final = 10**19
_LEAST_DIGITS: Final = 1000
"""The least number that is a secret under a key such as `password`; a smaller one is a count or a setting."""


def mask_nested(masker: TextMasker, value: Any) -> Any:
    """A masked copy of `value`: dicts, lists, tuples, sets, text and bytes within; anything else is left as it is.

    Only memory limits the depth.
    """
    walk = _Walk(masker, value)
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
    """One walk over one value. A step yields the containers it needs masked, so that depth costs no call stack."""

    def __init__(self, masker: TextMasker, value: Any) -> None:
        self._masker = masker
        self._clean = clean_texts(masker, value)
        # The same container may be masked differently under a secret's name and elsewhere. It is kept with its copy, so
        # that no other object gets its id meanwhile.
        self._texts: dict[tuple[str, str | None], str] = {}
        self._done: dict[tuple[int, str | None], tuple[Any, Any]] = {}

    def masked(self, value: Any, family: str | None) -> Generator[tuple[Any, str | None], Any, Any]:
        """The copy of `value`, which stands under a name of `family`."""
        if not isinstance(value, _CONTAINERS):
            return self._leaf(value, family)
        key = (id(value), family)
        if key not in self._done:
            checkpoint()
            self._done[key] = (value, None)
            copied = yield from self._copied(value, family, key)
            self._done[key] = (value, copied)
        return self._done[key][1]

    def _copied(
        self, value: Any, family: str | None, key: tuple[int, str | None]
    ) -> Generator[tuple[Any, str | None], Any, Any]:
        if isinstance(value, dict):
            return (yield from self._dict(value, key))
        copy: list[Any] = []
        if isinstance(value, list):
            self._done[key] = (value, copy)
        for item in value:
            masked = (yield item, family) if isinstance(item, _CONTAINERS) else self._leaf(item, family)
            copy.append(masked)
        return copy if isinstance(value, list) else _rebuilt(value, copy)

    def _dict(self, value: dict[Any, Any], key: tuple[int, str | None]) -> Generator[tuple[Any, str | None], Any, Any]:
        copy: dict[Any, Any] = {}
        self._done[key] = (value, copy)
        told, numbers = _told(value), dict[Any, int]()
        for name, item in value.items():
            family = _family(name) or _within(key[1], name) or (told if name in _VALUES else None)
            nested = isinstance(item, _CONTAINERS)
            if family is None and nested:
                family = _of_many(name, is_mapping=isinstance(item, dict))
            masked_name = (yield name, None) if isinstance(name, _CONTAINERS) else self._leaf(name, None)
            masked_item = (yield item, family) if nested else self._leaf(item, family)
            copy[_free(copy, masked_name, numbers)] = masked_item
        return copy

    def _leaf(self, value: Any, family: str | None) -> Any:
        """The copy of a value that has no parts."""
        if isinstance(value, str):
            if family is None and value in self._clean:
                return value
            done = self._texts.get((value, family))
            if done is None:
                checkpoint()
                done = self._texts[value, family] = self._text(value, family)
            return done
        if isinstance(value, (bytes, bytearray)):
            text = self._text(value.decode("utf-8", "surrogateescape"), family)
            return type(value)(text.encode("utf-8", "surrogateescape"))
        return self._number(value, family) if isinstance(value, int) else value

    def _number(self, value: int, family: str | None) -> Any:
        if family and _is_secret_number(value, family):
            return label(family)
        if not self._masker.personal or not _CARD_FROM <= value < _CARD_TO:
            return value
        text = str(value)
        masked = self._masker.mask(text)
        return value if masked == text else masked

    def _text(self, text: str, family: str | None) -> str:
        if family is not None and accepted(text, family, quoted=True) and LABEL_START not in text:
            return label("API_KEY" if family == "KEY" else family)
        return text if text in self._clean else self._masker.mask(text)


def _family(name: Any) -> str | None:
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return family_of(text) if isinstance(text, str) and _NAME.fullmatch(text) else None


def _told(value: dict[Any, Any]) -> str | None:
    """The family of a value whose name stands beside it: `{"name": "DB_PASSWORD", "value": ...}`."""
    named = value.get("name", value.get("key"))
    return _family(named) if isinstance(named, str) else None


def _of_many(name: Any, *, is_mapping: bool) -> str | None:
    """The family of all that stands under a name such as `passwords`; in a mapping, whatever the keys."""
    family = _family(name[:-1]) if isinstance(name, str) and name[-1:] in ("s", "S") else None
    if family not in ("PASSWORD", "SECRET", "API_KEY"):
        return None
    return f"{family}{_ALL}" if is_mapping else family


def _within(family: str | None, name: Any) -> str | None:
    """The family of what stands under `name` in a mapping that itself stands under a name of `family`."""
    if family is None:
        return None
    if family.endswith(_ALL):
        return family.removesuffix(_ALL)
    return family if name in _VALUES else None


def _rebuilt(value: Any, items: list[Any]) -> Any:
    """A tuple or set of the same kind; a named tuple stays one."""
    if hasattr(value, "_make"):
        return value._make(items)
    return next(kind for kind in (tuple, set, frozenset) if isinstance(value, kind))(items)


def _is_secret_number(value: int, family: str) -> bool:
    return family in ("PASSWORD", "PIN", "SECRET") and not isinstance(value, bool) and abs(value) >= _LEAST_DIGITS


def _free(copy: dict[Any, Any], name: Any, numbers: dict[Any, int]) -> Any:
    """`name`, with a number if `copy` has it already; `numbers` are the last ones given out."""
    free = name
    while free in copy:
        numbers[name] = numbers.get(name, 1) + 1
        free = f"{name} {numbers[name]}"
    return free
