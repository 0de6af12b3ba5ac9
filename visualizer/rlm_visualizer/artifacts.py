"""The files that a run saved: images by their signature are shown, anything can be kept; nothing is run or rendered."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from rlm.core.events import ArtifactSaved
from rlm.core.exceptions import ConfigError
from rlm.trajectory.artifacts import is_artifact_name
from rlm.trajectory.reader import open_record
from rlm_visualizer.elements import h
from rlm_visualizer.formats import line, plural, size
from rlm_visualizer.source import index

if TYPE_CHECKING:
    from rlm.trajectory.states import RunState
    from rlm_visualizer.elements import Element

FILES = 12
SHOWN_BYTES = 300_000
"""The size of a file, at most, that is sent to the page to be shown or kept."""
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
)


def saved_files(run: RunState) -> Element | None:
    """The files of a run, the first of them with their content; None if it saved none."""
    rows = index().events(run.id, types=("artifact",), limit=FILES + 1)
    files = [event.body for event in index().read(run.id, rows) if isinstance(event.body, ArtifactSaved)]
    if not files:
        return None
    folder = index().trajectory(run.id).path.with_suffix(".artifacts")
    more = f"the first {FILES}" if len(files) > FILES else plural(len(files), "file")
    head = h("div.card-head", h("h3", "Saved files"), h("span.muted", f"{more}, in {line(str(folder), 200)}"))
    return h("div.card.flush", head, *(_file(run, each) for each in files[:FILES]))


def image_type(content: bytes) -> str:
    """The kind of an image by how its bytes begin; empty for any other content, whatever its name says."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return next((kind for begins, kind in _SIGNATURES if content.startswith(begins)), "")


def _file(run: RunState, saved: ArtifactSaved) -> Element:
    content = _content(run, saved.name)
    said = "" if content else "too large to show here, or gone"
    kind = image_type(content)
    encoded = b64encode(content).decode()
    return h(
        "div.artifact",
        h(
            "div.card-head",
            h("b", line(saved.name, 100)),
            h("span.muted", size(saved.size_bytes)),
            h("span.muted", said),
            h("span.grow"),
            h("button.button.small", "Download", keep=encoded) if content else None,
        ),
        h("img", picture=kind, content=encoded, title=line(saved.name, 100)) if kind else None,
    )


def _content(run: RunState, name: str) -> bytes:
    """The bytes of a saved file; empty if it is too large, is gone, or is no regular file."""
    if not is_artifact_name(name):
        return b""
    try:
        with open_record(index().trajectory(run.id).path.with_suffix(".artifacts") / name) as file:
            content = file.read(SHOWN_BYTES + 1)
    except ConfigError:
        return b""
    return content if len(content) <= SHOWN_BYTES else b""
