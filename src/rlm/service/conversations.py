"""A conversation, as OpenAI's clients send it, as a request for a run: what is short is prompt, what is long is data.

The last message of the user is what is asked; what the system says are instructions; what was said before is told with
it. A text too long for a prompt becomes context, of which the prompt keeps the beginning and the end.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from rlm.core.types import Json  # noqa: TC001 (msgspec reads it at run time)
from rlm.service.refusals import RequestRefused

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rlm.service.messages import RunNote

SHOWN_CHARS = 1_000
"""How much of the beginning, and of the end, of a long text stays in the prompt."""
INSTRUCTING = frozenset({"system", "developer"})
_TEXTS = frozenset({"text", "input_text", "output_text"})


class ChatMessage(Struct, frozen=True, kw_only=True):
    """One message."""

    role: str = "user"
    content: str | list[dict[str, Json]] | None = None


@dataclass(slots=True)
class ToldConversation:
    """What was said, sorted into what a run is given."""

    most_chars: int
    """A longer text becomes context."""
    instructions: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    """What was said before the last message, a paragraph each."""
    prompt: str = ""
    images: list[str] = field(default_factory=list)
    """In base64."""
    files: dict[str, str] = field(default_factory=dict)
    """Texts of files by their names."""

    def add(self, messages: Iterable[ChatMessage]) -> None:
        """Take messages in, of which the last of the user is the prompt.

        Raises:
            RequestRefused: they have no message of the user, or something that no run can be given.
        """
        told = [(message.role, self._text(message.content)) for message in messages]
        last = max((at for at, (role, _) in enumerate(told) if role == "user"), default=None)
        if last is None:
            raise RequestRefused(400, "messages: there is none of the user, so nothing is asked")
        for at, (role, text) in enumerate(told):
            if role in INSTRUCTING:
                self.instructions.append(text)
            elif at == last:
                self.prompt = text
            elif text:
                self.before.append(f"{role}: {text}")

    def follow(self, runs: Iterable[RunNote]) -> None:
        """Have the conversation go on from earlier runs, the oldest first."""
        for run in runs:
            self.before.append(f"user: {run.prompt}")
            if run.result is not None:
                self.before.append(f"assistant: {run.result.response}")

    def request(self) -> dict[str, Any]:
        """The prompt, instructions, context and images of the run."""
        texts = {
            "instructions": "\n\n".join(self.instructions),
            "conversation": "\n\n".join(self.before),
            "message": self.prompt or "Look at the context.",
        }
        long = {name: text for name, text in texts.items() if len(text) > self.most_chars}
        data = {**long, **self.files}
        where = {name: f"context[{name!r}]" if len(data) > 1 else "context" for name in data}
        shown = {name: _shortened(text, where[name]) if name in long else text for name, text in texts.items()}
        parts = [
            f"What was said before:\n{shown['conversation']}" if shown["conversation"] else "",
            shown["message"],
            *(f"The file {name} is {where[name]}." for name in self.files),
        ]
        context = None if not data else next(iter(data.values())) if len(data) == 1 else data
        return {
            "prompt": "\n\n".join(part for part in parts if part),
            "instructions": shown["instructions"],
            "context": context,
            "images": self.images,
        }

    def _text(self, content: str | list[dict[str, Json]] | None) -> str:
        if content is None or isinstance(content, str):
            return content or ""
        return "\n\n".join(filter(None, map(self._part, content)))

    def _part(self, part: Mapping[str, Json]) -> str:
        """The text of a part; what is none is put with the images and files."""
        kind = part.get("type")
        if kind in _TEXTS:
            return str(part.get("text", ""))
        if kind in ("image_url", "input_image"):
            found = part.get("image_url")
            self.images.append(_data_of(found.get("url") if isinstance(found, dict) else found, "an image"))
            return ""
        if kind in ("file", "input_file"):
            file = part.get("file", part)
            name = str(file.get("filename") or f"file {len(self.files) + 1}")[:200]
            content = base64.b64decode(_data_of(file.get("file_data"), "a file"))
            try:
                self.files[name] = content.decode()
            except UnicodeDecodeError as error:
                raise RequestRefused(400, f"{name} is not UTF-8 text: upload it with POST /v1/contexts") from error
            return ""
        raise RequestRefused(400, f"messages: a part of the type {str(kind)[:40]!r} can't be given to a run")


def _data_of(url: Json, what: str) -> str:
    """The base64 of a data URL, or of plain base64.

    Raises:
        RequestRefused: it is neither: nothing is fetched for a client.
    """
    if isinstance(url, str) and "://" not in url[:20]:
        text = url.partition(";base64,")[2] if url.startswith("data:") else url
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            text = ""
        if text:
            return text
    raise RequestRefused(400, f"{what} has to be given itself, as a data URL in base64: nothing is fetched")


def _shortened(text: str, where: str) -> str:
    left = len(text) - 2 * SHOWN_CHARS
    return f"{text[:SHOWN_CHARS]}\n[... {left:,} characters; the whole text is `{where}` ...]\n{text[-SHOWN_CHARS:]}"
