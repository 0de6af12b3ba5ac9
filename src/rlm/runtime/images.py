"""Reads the images that go with a prompt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from rlm.core.contexts.context import printable
from rlm.core.exceptions import ConfigError
from rlm.core.types import IMAGE_BYTES, IMAGES_PER_MESSAGE, Image
from rlm.runtime.inputs import open_named

if TYPE_CHECKING:
    from collections.abc import Iterable

GivenImages: TypeAlias = "Iterable[Image | bytes | os.PathLike[str]]"


def read_images(given: GivenImages) -> tuple[Image, ...]:
    """The images of a prompt, given as an `Image`, as the bytes of a file, or as its path. Blocks while reading.

    Raises:
        ConfigError: an image is missing, unreadable, too large or in an unknown format, or there are too many.
    """
    images = tuple(map(_image, given))
    if len(images) > IMAGES_PER_MESSAGE:
        raise ConfigError(f"at most {IMAGES_PER_MESSAGE} images go into one prompt, not {len(images)}.")
    return images


def _image(value: Image | bytes | os.PathLike[str]) -> Image:
    name = printable(str(value)) if isinstance(value, os.PathLike) else "the image"
    try:
        if isinstance(value, Image):
            return value
        if isinstance(value, bytes):
            return Image.of(value)
        if isinstance(value, os.PathLike):
            return Image.of(_content(Path(value)))
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error
    raise ConfigError(f"an image is bytes, a Path or an Image, not {type(value).__name__}.")


def _content(path: Path) -> bytes:
    """The content of a file, up to one byte more than an image may have."""
    if path.is_dir():
        raise ConfigError(f"{printable(str(path))} is a folder: name the image files in it.")
    with os.fdopen(open_named(path), "rb") as file:
        return file.read(IMAGE_BYTES + 1)
