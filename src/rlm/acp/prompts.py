"""What a user asks in an editor, as a run is asked: text, images, and texts that are attached."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from acp.schema import (
    AudioContentBlock,
    EmbeddedResourceContentBlock,
    ImageContentBlock,
    ResourceContentBlock,
    TextContentBlock,
    TextResourceContents,
)

from rlm.core.exceptions import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    Block: TypeAlias = (
        TextContentBlock | ImageContentBlock | AudioContentBlock | ResourceContentBlock | EmbeddedResourceContentBlock
    )

SHOWN_CHARS = 8_000
"""A longer text that is attached becomes context instead of standing in the prompt."""


@dataclass(slots=True)
class EditorPrompt:
    """What is asked."""

    parts: list[str] = field(default_factory=list)
    images: list[bytes] = field(default_factory=list)
    attached: dict[str, bytes] = field(default_factory=dict)
    """Files by their names, which become context."""

    @property
    def text(self) -> str:
        """The prompt."""
        return "\n\n".join(part for part in self.parts if part.strip())

    def attach(self, uri: str, content: bytes) -> None:
        """Take a file in as context."""
        name = self._unused(name_of(uri))
        self.attached[name] = content
        self.parts.append(f"The file {name} is attached: it is in `context`.")

    def _unused(self, name: str) -> str:
        while name in self.attached:
            name = f"_{name}"
        return name


def read_prompt(blocks: Iterable[Block], folders: Iterable[Path]) -> EditorPrompt:
    """What the blocks of a prompt ask; `folders` are those whose files are in the context anyway.

    Raises:
        ConfigError: nothing is asked, or something that no run can be given.
    """
    asked, roots = EditorPrompt(), tuple(folders)
    for block in blocks:
        match block:
            case TextContentBlock():
                asked.parts.append(block.text)
            case ImageContentBlock():
                asked.images.append(_decoded(block.data, "an image"))
            case ResourceContentBlock():
                asked.parts.append(_linked(block.uri, block.name, roots))
            case EmbeddedResourceContentBlock():
                _embed(asked, block)
            case _:
                raise ConfigError("a prompt can't have audio: no model here is given any")
    if not asked.text:
        raise ConfigError("the prompt is empty: say what is to be done")
    return asked


def name_of(uri: str) -> str:
    """What a resource is called."""
    return Path(unquote(urlsplit(uri).path)).name or uri[:200] or "attachment"


def _embed(asked: EditorPrompt, block: EmbeddedResourceContentBlock) -> None:
    resource = block.resource
    if not isinstance(resource, TextResourceContents):
        asked.attach(resource.uri, _decoded(resource.blob, name_of(resource.uri)))
    elif len(resource.text) > SHOWN_CHARS:
        asked.attach(resource.uri, resource.text.encode("utf-8", "surrogatepass"))
    else:
        asked.parts.append(f"The file {name_of(resource.uri)}:\n<file>\n{resource.text}\n</file>")


def _linked(uri: str, name: str, roots: tuple[Path, ...]) -> str:
    """A link in words. What it leads to is in the context already, or is not read: nothing is fetched for a prompt."""
    path = Path(unquote(urlsplit(uri).path))
    if urlsplit(uri).scheme == "file":
        for root in roots:
            if path.is_relative_to(root) and ".." not in path.parts:
                inside = path.relative_to(root).as_posix()
                return f"The file {inside} of the workspace is meant."
    return f"{name} ({uri}) is meant, which was not read: it is not in the workspace."


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"{what} is not base64") from error
