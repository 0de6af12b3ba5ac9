"""Two runs side by side, cell by cell: where they did the same, and what differs where they did not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlm.core.events import ExecEnd, ExecOutput, ExecStart
from rlm.trajectory.index.rows import RunQuery
from rlm_visualizer.addresses import Place, of_run
from rlm_visualizer.alignment import CELLS, Pair, align, compare
from rlm_visualizer.elements import badge, h, link, notice, pager
from rlm_visualizer.formats import count, dollars, duration, joined, line, plural, shown
from rlm_visualizer.mounting import show
from rlm_visualizer.source import index, whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.trajectory.states import RunState
    from rlm_visualizer.elements import Child, Element
    from rlm_visualizer.selection import Selection

PAGE = 20
OFFERED = 30
TEXT_CHARS = 12_000
_TYPES = ("exec.start", "exec.output", "exec.end")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell, reduced to what is compared."""

    span: str
    title: str
    code: str
    output: str
    status: str
    duration_s: float


def page(place: Place, run: RunState, selection: Selection) -> None:  # noqa: ARG001 - all views are called alike
    """The comparison with the run that the address names, or runs to choose from."""
    if not place.other:
        show(_choices(run), "compare")
        return
    other = index().run(place.other)
    show(_side_by_side(place, run, other), "compare")


def _choices(run: RunState) -> Element:
    """Other runs, those of the same prompt first."""
    others = [each for each in index().runs(RunQuery(limit=OFFERED + 1)).rows if each.id != run.id]
    parent = run.forked_from or run.resumed_from or ""
    if parent and all(each.id != parent for each in others):
        others += [each for each in index().runs(RunQuery(text=parent, limit=1)).rows if each.id == parent]
    others.sort(
        key=lambda each: (
            each.id != parent,
            run.id not in (each.forked_from, each.resumed_from),
            each.prompt != run.prompt,
        )
    )
    if not others:
        return notice("There is no other run in this folder")
    rows = [
        h(
            "a.hit",
            h("span.mono", each.id[:8]),
            badge(each.status),
            h("span.flag.tone-running", _kinship(run, each)) if _kinship(run, each) else None,
            h("span.excerpt", line(each.title, 130)),
            h("span.muted.nowrap", joined([plural(each.turns, "turn"), dollars(each.cost_usd)])),
            go=of_run(run.id, "compare", other=each.id),
        )
        for each in others
    ]
    return h("div.card.flush", h("h3", "Compare with"), *rows)


def _kinship(run: RunState, other: RunState) -> str:
    """How another run belongs to this one, in words; empty if it doesn't."""
    if other.id in (run.forked_from, run.resumed_from):
        return run.origin()
    if run.id in (other.forked_from, other.resumed_from):
        return f"{other.origin()}: this run"
    return "same prompt" if other.prompt == run.prompt else ""


def _side_by_side(place: Place, run: RunState, other: RunState) -> Element:
    left, right = _cells(run), _cells(other)
    pairs = align([cell.code for cell in left], [cell.code for cell in right])
    shown_pairs = pairs[place.page * PAGE : (place.page + 1) * PAGE]
    rows = [_pair(_pick(left, pair.left), _pick(right, pair.right), run, other) for pair in shown_pairs]
    heads = h("div.sides", _head(run, other), _head(other, run))
    cut = max(len(left), len(right)) >= CELLS
    return h(
        "section.compare",
        heads,
        _tally(pairs, left, right),
        *rows,
        h("div.muted", f"The first {CELLS} cells of each run are compared.") if cut else None,
        h("div.foot", h("span.grow"), pager(place, len(pairs), PAGE)),
    )


def _pick(cells: Sequence[Cell], place: int | None) -> Cell | None:
    return None if place is None else cells[place]


def _cells(run: RunState) -> list[Cell]:
    rows = index().steps(run.id, kinds=("exec",), limit=CELLS).rows
    events = whole(run.id, rows, _TYPES)
    cells = []
    for row in rows:
        found = [event.body for event in events.get(row.id, [])]
        end = next((body for body in found if isinstance(body, ExecEnd)), None)
        cells.append(
            Cell(
                span=row.id,
                title=f"cell {row.ordinal}" + (f" · depth {row.depth}" if row.depth else ""),
                code=next((body.code for body in found if isinstance(body, ExecStart)), ""),
                output=_printed(found, end),
                status=end.status if end is not None else "open",
                duration_s=end.duration_s if end is not None else 0.0,
            )
        )
    return cells


def _printed(found: Sequence[object], end: ExecEnd | None) -> str:
    error = f"{end.error.kind}: {end.error.message}" if end is not None and end.error is not None else ""
    return "".join(body.text for body in found if isinstance(body, ExecOutput)) + error


def _head(run: RunState, other: RunState) -> Element:
    numbers = [
        _number("time", duration(run.duration_s), run.duration_s, other.duration_s),
        _number("turns", str(run.turns), run.turns, other.turns),
        _number("sub-calls", count(run.subcalls), run.subcalls, other.subcalls),
        _number("tokens", count(run.tokens), run.tokens, other.tokens),
        _number("cost", dollars(run.cost_usd), run.cost_usd or 0.0, other.cost_usd or 0.0),
    ]
    return h(
        "div.card",
        h(
            "div.card-head",
            link(run.id[:8], of_run(run.id), "a.mono"),
            badge(run.status),
            h("span.head", line(run.title, 90)),
        ),
        h("div.numbers", *numbers),
        h("pre.prose.short", shown(run.response or run.error, 1_000)),
    )


def _number(name: str, text: str, ours: float, theirs: float) -> Element:
    change = f"{(ours - theirs) / theirs:+.0%}" if theirs > 0 and abs(ours - theirs) / theirs >= 0.01 else ""
    tone = "completed" if ours < theirs else "limit"
    return h(
        "div.number", h("span.label", name), h("b", text), h(f"span.change.tone-{tone}", change) if change else None
    )


def _tally(pairs: Sequence[Pair[int]], left: Sequence[Cell], right: Sequence[Cell]) -> Element:
    both = [(left[pair.left], right[pair.right]) for pair in pairs if pair.left is not None and pair.right is not None]
    same = sum(a.code == b.code and a.output == b.output for a, b in both)
    code = sum(a.code != b.code for a, b in both)
    words = [
        f"{plural(same, 'cell')} the same",
        f"{code} with other code",
        f"{len(both) - same - code} with other output",
        f"{sum(pair.right is None for pair in pairs)} only left",
        f"{sum(pair.left is None for pair in pairs)} only right",
    ]
    return h("div.foot.muted", joined(words))


def _pair(left: Cell | None, right: Cell | None, run: RunState, other: RunState) -> Element:
    """One row: the two cells, what differs in their code, and what differs in their output."""
    same = left is not None and right is not None and left.code == right.code and left.output == right.output
    head = h("summary.sides", _title(left), _title(right))
    code = _difference(left.code if left else "", right.code if right else "")
    output = _difference(left.output if left else "", right.output if right else "")
    name = f"{left.span if left else ''}-{right.span if right else ''}"
    ways = h("div.sides.split", _way(left, run), _way(right, other))
    body = [code, h("div.label.split", "output") if output else None, output, ways]
    return h("details.pair.same" if same else "details.pair", head, *body, id=f"pair-{name}", open=not same)


def _way(cell: Cell | None, run: RunState) -> Element:
    if cell is None:
        return h("span")
    return link(f"{cell.title} in its run →", of_run(run.id, span=cell.span), "a.way")


def _title(cell: Cell | None) -> Element:
    if cell is None:
        return h("span.muted", "no such cell")
    tone = "completed" if cell.status == "ok" else "failed"
    return h(
        "span.pair-title",
        h("b", cell.title),
        badge(line(cell.status, 12), tone),
        h("span.muted", duration(cell.duration_s)),
    )


def _difference(left: str, right: str) -> Element | None:
    if not left and not right:
        return None
    rows: list[Child] = [
        h(f"div.diff.is-{row.change}", _side(row.left, "old"), _side(row.right, "new"))
        for row in compare(shown(left, TEXT_CHARS), shown(right, TEXT_CHARS))
    ]
    return h("div.diffs", *rows)


def _side(text: str | None, which: str) -> Element:
    return h("pre.line.none") if text is None else h(f"pre.line.{which}", text[:2_000] or " ")
