"""The events are documented, and the document is the one that the types give."""

from __future__ import annotations

import pytest

from docs import generate_events
from rlm.core.events import BODIES, Body

DOCUMENT = generate_events.TARGET.read_text(encoding="utf-8")


def section(tag: str) -> str:
    return DOCUMENT.partition(f"### `{tag}`\n")[2].partition("\n##")[0]


def test_the_document_is_current() -> None:
    assert generate_events.render() == DOCUMENT, "run `make docs`"


@pytest.mark.parametrize(("tag", "body"), BODIES.items(), ids=BODIES)
def test_every_body_and_field_is_described(tag: str, body: type[Body]) -> None:
    assert body.__doc__
    assert body.__doc__.split("\n")[0] in section(tag)
    assert [name for name in body.__struct_fields__ if f"| `{name}` |" not in section(tag)] == []
