"""Reads the arguments of what guest code calls: anything may come, and each error says what was wanted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rlm.core import prompts as templates
from rlm.core.contexts.context import Context
from rlm.core.contexts.excerpt import whole_text
from rlm.core.types import Image, Json, Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rlm.core.interfaces import Validator

MAX_PROMPTS = 10_000
"""The most prompts of one batch; the default budget has room for a thousand."""
MAX_PROMPT_CHARS = 16_000_000
"""The longest prompt of a sub-call: several times what the largest windows of models hold."""


def values(value: Json, most: int) -> int:
    """How many values there are in `value`, counted no further than just above `most`."""
    count, waiting = 0, [value]
    while waiting and count <= most:
        item = waiting.pop()
        count += 1
        waiting += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return count


def value(argument: Json) -> Json:
    """An argument as a value: where the wire stands in for a large `context`, its text."""
    return whole_text(argument) if isinstance(argument, Context) else argument


def messages(texts: Sequence[str], images: Json, validator: Validator | None) -> Iterator[Message]:
    """The message of each query, made as it is wanted; `images` has a list of bytes, or None, for each."""
    given = [None] * len(texts) if images is None else images
    if not isinstance(given, list | tuple):
        raise TypeError(f"images must be a list with one list of bytes per prompt, not {type(given).__name__}")
    if len(given) != len(texts):
        raise ValueError(f"{len(texts)} prompts but {len(given)} lists of images")
    tail = "" if validator is None else "\n\n" + templates.render("answer", schema=json.dumps(validator.schema))
    pairs = zip(texts, given, strict=True)
    return (Message(role="user", content=text + tail, images=_images(each)) for text, each in pairs)


def _images(value: Json) -> tuple[Image, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(isinstance(item, bytes) for item in value):
        raise TypeError("the images of a prompt must be a list of bytes, each the content of an image file")
    return tuple(map(Image.of, value))


def by_position(schema: Mapping[str, Json], args: tuple[Json, ...], kwargs: Mapping[str, Json]) -> dict[str, Json]:
    names = list(schema.get("properties", {}))
    if len(args) > len(names):
        raise TypeError(f"at most {len(names)} positional arguments ({', '.join(names)}), got {len(args)}")
    placed = dict(zip(names, args, strict=False))
    if twice := placed.keys() & kwargs.keys():
        raise TypeError(f"got multiple values for argument {min(twice)!r}")
    return {**placed, **kwargs}


def prompts(value: Any) -> list[str]:
    """The prompts of a batch.

    Raises:
        TypeError: it is no list of str.
        ValueError: there are too many, or one is too long.
    """
    if isinstance(value, str) or not isinstance(value, list | tuple):
        raise TypeError(f"prompts must be a list of str, not {type(value).__name__}")
    if len(value) > MAX_PROMPTS:
        raise ValueError(
            f"a batch has at most {MAX_PROMPTS:,} prompts, not {len(value):,}: ask about more of the data in each, or "
            "narrow it down in code first"
        )
    texts = [text(item, f"prompts[{index}]") for index, item in enumerate(value)]
    for index, each in enumerate(texts):
        if len(each) > MAX_PROMPT_CHARS:
            raise ValueError(
                f"prompts[{index}] has {len(each):,} characters, and no model reads more than {MAX_PROMPT_CHARS:,}: "
                "ask about a part of it, or give it to rlm_query as context"
            )
    return texts


def text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    return value


def text_or_none(value: Any, name: str) -> str | None:
    return None if value is None else text(value, name)
