"""What `rlm logs show` says of steps that real runs seldom make."""

from __future__ import annotations

from pathlib import Path

from rlm.cli.run_tree import render
from rlm.core.events import Advised, Compaction, MessageAdded, ModelEnd, ModelStart
from rlm.core.notes import ImageNote
from rlm.trajectory.index.folder import Index
from rlm.trajectory.span_records import span_records
from tests.unit.trajectory.records import STEPS, ask, events, write

NOTE = ImageNote(media_type="image/png\x1b[2J", size_bytes=1234, digest="ab" * 32)


def shown(log_dir: Path, *more: tuple[str, str | None, object]) -> str:
    write(log_dir, events([*STEPS[:6], *more, *STEPS[6:]]))  # type: ignore[list-item]
    with Index.open(log_dir) as index:
        index.refresh()
        row = index.run("last")
        record = index.trajectory(row.id)
        records = span_records(index.all_spans(row.id).rows, map(record.whole, record))
        return "\n".join(render(row, records, full=False))


def test_compaction_is_shown_with_its_notes(tmp_path: Path) -> None:
    text = shown(tmp_path, ("r", None, Compaction(dropped=12, content="so far: \x1b[31mnothing")))
    assert "compacted: notes took the place of 12 messages\n  so far: nothing" in text


def test_what_a_model_was_advised_of_is_shown(tmp_path: Path) -> None:
    text = shown(tmp_path, ("r", None, Advised(name="same_cell", message="Do the \x1b[31mnext step.")))
    assert "advice same_cell: Do the next step." in text


def test_what_a_model_reasoned_stands_before_what_it_said(tmp_path: Path) -> None:
    text = shown(tmp_path, ("m2", "t1", ask()), ("m2", "t1", ModelEnd(text="It is 5.", reasoning="Two and three.")))
    assert "reasoned: Two and three.\n" in text
    assert text.index("reasoned: Two and three.") < text.index("said: It is 5.")


def test_images_of_tasks_and_of_sub_calls_are_named(tmp_path: Path) -> None:
    call = ModelStart(
        model="m", purpose="llm_query", max_output_tokens=1, input_tokens_estimate=1, prompt="see", images=[NOTE]
    )
    text = shown(tmp_path, ("r", None, MessageAdded(role="user", content="", images=[NOTE])), ("i", "t1", call))
    assert text.count("image: image/png, 1,234 bytes, abababababa") == 2
