"""What the record says that each model call was sent is what its backend was sent, message by message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rlm import RLM, Budget, Config
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.types import ModelReply, ModelTraits, TokenUsage
from rlm.trajectory.conversation import FIRST, cuts, sent_to
from rlm.trajectory.index.folder import Index

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rlm.core.types import Message, ModelRequest
    from rlm.trajectory.states import SpanState

    Recorded = Callable[..., "Seen"]


def cell(code: str, text: str = "") -> ModelReply:
    return ModelReply(text=text, tool_calls=(tool_call("execute_code", code=code),), usage=TokenUsage(input_tokens=90))


class Seen:
    """The requests of a run, and its model calls as the record has them, in the same order."""

    def __init__(self, backend: ScriptedBackend, index: Index, run_id: str) -> None:
        self.requests = [request.messages for request in backend.requests]
        self.index, self.run_id = index, run_id
        self.calls = [each for each in index.steps(run_id, kinds=("model",), limit=0).rows if not each.served]

    def texts(self, call: SpanState) -> list[str]:
        """The messages of a call, all its pages."""
        first = sent_to(self.index, self.run_id, call)
        pages = [sent_to(self.index, self.run_id, call, page).messages for page in reversed(range(first.pages))]
        return [said.text for said in (*first.messages[:FIRST], *(said for page in pages for said in page[FIRST:]))]

    def check(self) -> None:
        assert [call.name for call in self.calls]
        assert [self.texts(call) for call in self.calls] == [list(map(_text, each)) for each in self.requests]


def _text(message: Message) -> str:
    return message.content


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    def run(script: object, *, window: int | None = None, budget: Budget | None = None, **settings: object) -> Seen:
        backend = ScriptedBackend(script, traits=ModelTraits(context_window_tokens=window, native_tools=True))  # type: ignore[arg-type]
        config = Config(log_dir=str(tmp_path), environment="local", **settings)  # type: ignore[arg-type]
        with RLM(backend, config=config, budget=budget) as rlm:
            result = rlm.completion("Look at it.", "some data")
        index = Index.open(tmp_path)
        index.refresh()
        return Seen(backend, index, result.run_id)

    return run


def test_turns_children_and_sub_calls_are_seen_as_they_were_sent(recorded: Recorded) -> None:
    child = "print(rlm_query('Sum up.', context='abc'))"
    seen = recorded(
        [
            cell("print(1)", "First."),
            cell(child),
            cell("FINAL('a')"),
            cell("print(llm_query('q'))"),
            "r",
            cell("FINAL(2)"),
        ]
    )
    seen.check()
    last = sent_to(seen.index, seen.run_id, seen.calls[-1])
    assert [said.label for said in last.messages[:3]] == ["system prompt", "task", "its reply"]
    assert [said.number for said in last.messages if said.is_new] == [7, 8]
    assert last.messages[2].tool_calls[0].name == "execute_code"
    [asked] = sent_to(seen.index, seen.run_id, seen.calls[4]).messages
    assert (asked.text, asked.label, asked.is_new) == ("q", "prompt", True)


def test_a_landing_is_seen_with_its_last_request_and_without_what_had_no_room(recorded: Recorded) -> None:
    seen = recorded(
        [cell("print('x' * 4000)"), cell("print('y' * 4000)"), cell("print(3)"), "the best answer"],
        budget=Budget(max_turns=3, token_budget=9_000),
    )
    landing = sent_to(seen.index, seen.run_id, seen.calls[-1])
    assert seen.calls[-1].name == "landing"
    assert landing.messages[-1].label == "last request"
    assert landing.messages[-1].text == seen.requests[-1][-1].content
    assert landing.total == len(seen.requests[-1])
    sizes = len(seen.requests[-2]) + 3
    assert (landing.total < sizes) == any("left out" in note for note in landing.notes)


def test_notes_stand_in_the_place_of_what_they_replaced(recorded: Recorded) -> None:
    letters = iter("abcdef")

    def answer(request: ModelRequest) -> ModelReply | str:
        if not request.tools:
            return "notes of it"
        letter = next(letters, "")
        return cell(f"print('{letter}' * 3000)" if letter else "FINAL(1)")

    seen = recorded(answer, window=9_000, max_output_tokens=1_000)
    notes = next(call for call in seen.calls if call.name == "compaction")
    after = seen.calls[seen.calls.index(notes) + 1]
    request = seen.requests[seen.calls.index(after)]
    assert seen.texts(after) == list(map(_text, request))
    assert "notes in the place of" in sent_to(seen.index, seen.run_id, after).messages[FIRST].label
    asked = sent_to(seen.index, seen.run_id, notes)
    assert asked.messages[-1].text == seen.requests[seen.calls.index(notes)][-1].content


def test_a_long_conversation_is_read_page_by_page(recorded: Recorded) -> None:
    seen = recorded([*(cell(f"print({number})") for number in range(25)), cell("FINAL(1)")])
    assert sent_to(seen.index, seen.run_id, seen.calls[-1]).pages == 3
    seen.check()


def test_what_was_cut_for_the_model_is_told_apart(recorded: Recorded) -> None:
    seen = recorded([cell("print('x' * 90_000)"), cell("FINAL(1)")])
    shown = sent_to(seen.index, seen.run_id, seen.calls[-1]).messages[-1].text
    [mark] = [piece for piece, is_cut in cuts(shown) if is_cut]
    assert "characters cut here" in mark
    assert "".join(piece for piece, _ in cuts(shown)) == shown
