"""Lines stay short whatever an event holds, and what was moved out of them comes back as it was."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm.core import events
from rlm.core.events import Blob, Body, Event, ExecEnd, ToolEnd, ToolStart, decode, encode
from rlm.core.record.blobs import HEAD_CHARS, LINE_BYTES, VALUES, fitted, restored
from rlm.core.types import Final

ROWS = [{"id": number, "name": f"row {number}"} for number in range(5_000)]


class Store:
    """Blobs in memory."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def keep(self, content: bytes) -> str:
        digest = f"{len(self.blobs):064x}"
        self.blobs[digest] = content
        return digest

    def load(self, blob: Blob) -> str | None:
        content = self.blobs.get(blob.digest)
        return None if content is None else content.decode("utf-8", "surrogatepass")


def event(body: Body) -> Event:
    return Event(seq=0, at=1.0, run="r", span="s", parent=None, type=body.TYPE, body=body)


def end_of_cell(value: Any) -> ExecEnd:
    return ExecEnd(status="ok", output_chars=0, duration_s=0.0, final=Final(value=value, text=repr(value)))


@pytest.mark.parametrize(
    "body",
    [
        ToolStart(name="fs.batch_copy", arguments={"operations": ROWS}, caller="guest"),
        ToolEnd(result=ROWS),
        ToolEnd(result={f"src/file_{number}.py": "x" * 3_000 for number in range(500)}),
        end_of_cell(ROWS),
    ],
    ids=["arguments", "result", "many texts", "answer"],
)
def test_a_line_is_short_whatever_its_event_has(body: Body) -> None:
    store = Store()
    cut, line = fitted(event(body), store.keep)
    assert line == encode(cut)
    assert len(line) <= LINE_BYTES
    assert len(store.blobs) <= 2
    whole = restored(decode(line), store.load)
    assert (whole.body, whole.blobs) == (body, {})


def test_a_few_long_texts_leave_the_value_readable() -> None:
    body, store = ToolEnd(result={"a.py": "x" * 70_000, "a": {"py": "y" * 70_000}, "~1.": "z" * 70_000}), Store()
    cut, line = fitted(event(body), store.keep)
    assert cut.body.result["a.py"] == "x" * HEAD_CHARS
    assert set(cut.blobs) == {"result.a~1py", "result.a.py", "result.~01~1"}
    assert restored(decode(line), store.load).body == body


leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.text()


@given(st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_value_comes_back(value: Any) -> None:
    store = Store()
    [carried] = [msgspec.json.decode(fitted(event(ToolEnd(result=value)), store.keep)[1], type=dict)["body"]]
    large = ToolEnd(result=[carried.get("result"), ROWS[:2_500], "x" * 70_000])
    assert restored(decode(fitted(event(large), store.keep)[1]), store.load).body == large


def test_what_is_gone_or_no_json_stays_cut_and_is_named() -> None:
    store = Store()
    cut, _ = fitted(event(ToolEnd(result=ROWS)), store.keep)
    assert restored(cut, lambda _blob: None).blobs.keys() == {"result"}
    assert restored(cut, lambda _blob: "[1,") == cut
    assert restored(cut, lambda _blob: "[" * 100_000) == cut


@pytest.mark.parametrize("place", ["error", "result.0", "gone", "", "result." + "9" * 5_000])
def test_a_value_in_a_place_that_it_does_not_fit_changes_nothing(place: str) -> None:
    made = msgspec.structs.replace(
        event(ToolEnd(result=["x"], error="e")), blobs={place: Blob(digest="0", chars=1, json=place == "error")}
    )
    assert restored(made, lambda _blob: "{}").body in (made.body, ToolEnd(result=["{}"], error="e"))


def test_every_value_of_any_kind_is_known() -> None:
    """A new event with such a field must be in the table, or its lines would have no bound."""
    ours = {"run.start", "artifact"}
    found = {kind: tuple(places(body, "")) for kind, body in events.BODIES.items() if kind not in ours}
    assert {kind: each for kind, each in found.items() if each} == VALUES


def places(kind: Any, above: str) -> list[str]:
    hints = get_type_hints(kind)
    names = kind.__struct_fields__ if issubclass(kind, msgspec.Struct) else [f.name for f in fields(kind)]
    found = []
    for name in names:
        if hints[name] is Any:
            found.append(above + name)
        for each in get_args(hints[name]):
            if is_dataclass(each) and isinstance(each, type):
                found += places(each, f"{above}{name}.")
    return found
