"""The content of a message as the OpenAI wire has it, text or parts, for the backends that write this wire."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm.core.types import Image, Json, Message


def to_content(message: Message) -> str | list[dict[str, Json]]:
    """The content of a message: its text alone, or its text and then its images in order, as data URLs."""
    if not message.images:
        return message.content
    return [{"type": "text", "text": message.content}, *map(_to_part, message.images)]


def _to_part(image: Image) -> dict[str, Json]:
    url = f"data:{image.media_type};base64,{b64encode(image.data).decode('ascii')}"
    # `high` bounds what newer models count for an image; left to themselves they take it at its full size.
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}
