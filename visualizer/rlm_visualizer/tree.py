"""The tree of a run's calls as a table: what each cost with everything below it. Siblings are folded, and unfold a page
at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm_visualizer.addresses import of_run
from rlm_visualizer.elements import h, table
from rlm_visualizer.formats import count, dollars, duration, line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.trajectory.index.folder import Index
    from rlm.trajectory.index.rows import SpanGroup
    from rlm.trajectory.states import RunState, SpanState
    from rlm_visualizer.elements import Child, Element

PAGE = 25
"""How many rows one unfolding shows."""
ROWS = 400
"""How many rows of the whole tree a page shows."""
DEEPEST = 40


@dataclass(slots=True)
class Unfolded:
    """Which nodes are unfolded, and how many of their rows are shown. A node is a span, or siblings folded into one."""

    shown: dict[str, int] = field(default_factory=dict)

    def take(self, said: str) -> None:
        """Follow a click: `toggle <node>` or `more <node>`."""
        what, _, node = said.partition(" ")
        if what == "more":
            self.shown[node] = self.shown.get(node, 0) + PAGE
        elif node in self.shown:
            del self.shown[node]
        else:
            self.shown[node] = PAGE

    def rows(self, node: str) -> int:
        """How many rows below a node are shown."""
        return self.shown.get(node, 0)


@dataclass(frozen=True, slots=True)
class Scale:
    """The length of the run and its highest cost, to which bars are drawn."""

    started_at: float
    duration_s: float
    most_tokens: int

    def bar(self, started_at: float, ended_at: float | None, last_at: float) -> tuple[float, float]:
        """Where a bar begins and how long it is, as shares of the run."""
        whole = self.duration_s or 1.0
        inset = min(max((started_at - self.started_at) / whole, 0.0), 1.0)
        length = ((last_at if ended_at is None else ended_at) - started_at) / whole
        return round(inset, 4), round(min(max(length, 0.0), 1.0 - inset), 4)


def call_tree(index: Index, run: RunState, unfolded: Unfolded) -> Element:
    """The tree as far as it is unfolded; the root's own rows are always there."""
    rows = list(_limited(_below(_Tree(index, run, unfolded), None, 0)))
    heads: list[Child] = [
        "Call",
        h("th.wide", "When"),
        *(h("th.num", name) for name in ("Time", "Calls", "Tokens", "Cost")),
    ]
    return h("div.card.flush", h("h3", "Calls"), table(heads, rows, "table.list.tree"))


@dataclass(frozen=True, slots=True)
class _Tree:
    index: Index
    run: RunState
    unfolded: Unfolded

    @property
    def scale(self) -> Scale:
        run = self.run
        return Scale(run.started_at, max(run.last_at - run.started_at, 1e-6), max(run.tokens, 1))


def _limited(rows: Iterator[Element]) -> Iterator[Element]:
    for number, row in enumerate(rows):
        if number == ROWS:
            yield h("tr", h("td.muted", "Fold something to see more: a page shows this many rows.", colspan=6))
            return
        yield row


def _below(tree: _Tree, parent: SpanState | None, level: int) -> Iterator[Element]:
    """The rows of the spans directly in `parent`, each followed by the rows that are unfolded below it."""
    node = parent.id if parent else "root"
    wanted = max(tree.unfolded.rows(node), PAGE)
    found = tree.index.groups(tree.run.id, parent.id if parent else None, limit=wanted)
    for group in found.rows:
        yield from _single(tree, group.first, level) if group.count == 1 else _folded(tree, group, node, level)
    if found.total > len(found.rows):
        yield _more(node, found.total - len(found.rows), level)


def _single(tree: _Tree, span: SpanState, level: int) -> Iterator[Element]:
    is_root = span.parent is None
    is_open = is_root != bool(tree.unfolded.rows(span.id))  # the root is unfolded unless it was folded
    yield _row(tree, span, level, is_open=is_open)
    if is_open and span.children and level < DEEPEST:
        yield from _below(tree, span, level + 1)


def _folded(tree: _Tree, group: SpanGroup, parent: str, level: int) -> Iterator[Element]:
    node = f"{parent}/{group.kind}/{group.name}"
    shown = tree.unfolded.rows(node)
    yield _group_row(tree, group, node, level, is_open=shown > 0)
    if not shown:
        return
    found = tree.index.spans(tree.run.id, group.first.parent, kind=group.kind, name=group.name, limit=shown)
    for span in found.rows:
        yield from _single(tree, span, level + 1)
    if found.total > len(found.rows):
        yield _more(node, found.total - len(found.rows), level + 1)


def _row(tree: _Tree, span: SpanState, level: int, *, is_open: bool) -> Element:
    name = h(
        f"div.call.kind-{span.kind}",
        _twist(span.id, is_open=is_open, there=span.children > 0),
        h("a.name", title_of(span), go=of_run(tree.run.id, "steps", span=span.id)),
        _marks(span),
        h("span.head", line(_head_of(tree, span), 120)),
        inset=level,
    )
    numbers = _numbers(span.total_calls, span.total_tokens, span.total_cost_usd, tree.scale)
    return h("tr", h("td", name), *_times(tree, span.started_at, span.ended_at, span.kind), *numbers)


def _group_row(tree: _Tree, group: SpanGroup, node: str, level: int, *, is_open: bool) -> Element:
    name = h(
        f"div.call.kind-{group.kind}",
        _twist(node, is_open=is_open, there=True),
        h("a.name", f"{group.count:,} × {line(group.name, 60) or group.kind}", act=f"toggle {node}", role="button"),
        h("span.flag.tone-failed", f"{group.total_errors:,} failed") if group.total_errors else None,
        h("span.head", line(group.first.head, 120)),
        inset=level,
    )
    numbers = _numbers(group.total_calls, group.total_tokens, group.total_cost_usd, tree.scale)
    return h("tr", h("td", name), *_times(tree, group.started_at, group.ended_at, group.kind), *numbers)


def title_of(span: SpanState) -> str:
    """The title of a span: `turn 3`, `cell 2`, `llm_query`, a tool's name."""
    name = "cell" if span.kind == "exec" else line(span.name, 60) or span.kind
    if span.kind == "model" and span.name == "turn":
        name = "model call"
    return f"{name} {span.ordinal}" if span.ordinal else name


def _marks(span: SpanState) -> Element | None:
    if span.status == "error":
        return h("span.flag.tone-failed", line(span.detail, 60) or "failed")
    if span.status == "open":
        return h("span.flag.tone-running", "open")
    if span.cached:
        return h("span.flag.tone-quiet", "from the record" if span.served else "from memory")
    return h("span.flag.tone-failed", f"{span.total_errors:,} failed below") if span.total_errors else None


def _twist(node: str, *, is_open: bool, there: bool) -> Element:
    if not there:
        return h("span.twist")
    return h("button.twist", "▾" if is_open else "▸", act=f"toggle {node}", title="fold" if is_open else "unfold")


def _times(tree: _Tree, started_at: float, ended_at: float | None, kind: str) -> list[Element]:
    inset, length = tree.scale.bar(started_at, ended_at, tree.run.last_at)
    took = (tree.run.last_at if ended_at is None else ended_at) - started_at
    return [h("td.wide", h(f"div.when.kind-{kind}", inset=inset, bar=length)), h("td.num", duration(max(took, 0.0)))]


def _numbers(calls: int, tokens: int, cost_usd: float | None, scale: Scale) -> list[Element]:
    cost = h("td.num", dollars(cost_usd) if calls else "")
    return [
        h("td.num.dim", count(calls) if calls else ""),
        h("td.num.barred", count(tokens) if tokens else "", bar=round(tokens / scale.most_tokens, 4)),
        cost,
    ]


def _more(node: str, left: int, level: int) -> Element:
    text = f"show {min(left, PAGE):,} more of {left:,}"
    more = h("div.call", h("span.twist"), h("a.name", text, act=f"more {node}", role="button"), inset=level)
    return h("tr", h("td", more, colspan=6))


def _head_of(tree: _Tree, span: SpanState) -> str:
    """The beginning of a span's text; for a turn, that of its first cell."""
    if span.head or span.kind != "turn":
        return span.head
    cells = tree.index.spans(tree.run.id, span.id, kind="exec", limit=1).rows
    return cells[0].head if cells else ""
