"""The tree of a run's calls: a completion is headed by its prompt, parallel calls are grouped, failures first.

Whatever is selected is unfolded down to, however many siblings it has; the rest unfolds a page at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm.trajectory.index.rows import SpanQuery
from rlm.trajectory.titles import fell_short, title_of
from rlm_visualizer.elements import h
from rlm_visualizer.formats import dollars, duration, joined, line
from rlm_visualizer.selection import at_span
from rlm_visualizer.source import took_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rlm.trajectory.index.folder import Index
    from rlm.trajectory.index.rows import SpanGroup
    from rlm.trajectory.states import RunState, SpanState
    from rlm_visualizer.addresses import Place
    from rlm_visualizer.elements import Child, Element

PAGE = 25
"""How many rows one unfolding shows."""
FEW = 8
"""How many members of a group are shown at first, and how many around one that is led to."""
ROWS = 300
"""How many rows of the whole tree a page shows."""
DEEPEST = 40


@dataclass(slots=True)
class Unfolded:
    """Which nodes are unfolded, and how many of their rows are shown. A node is a span, or siblings folded into one."""

    shown: dict[str, int] = field(default_factory=dict)
    folded: set[str] = field(default_factory=set)
    """Nodes that would be unfolded for what is selected, and were folded since."""
    selected: str = ""

    def take(self, said: str) -> None:
        """Follow a click: `fold <node>`, `unfold <node>` or `more <node>`."""
        what, _, node = said.partition(" ")
        if what == "more":
            self.shown[node] = self.shown.get(node, 0) + PAGE
        elif what == "unfold":
            self.folded.discard(node)
            self.shown.setdefault(node, 0)
        else:
            self.folded.add(node)
            self.shown.pop(node, None)

    def select(self, span: str) -> None:
        """Unfold down to a span once more, if another one was selected before."""
        if span != self.selected:
            self.selected = span
            self.folded.clear()

    def is_open(self, node: str, *, by_itself: bool) -> bool:
        """Whether a node is unfolded; `by_itself`: it is unless it was folded."""
        return node in self.shown or (by_itself and node not in self.folded)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The tree of a run as far as it is unfolded: to what is selected, or to the first failure of the whole run."""

    index: Index
    run: RunState
    place: Place
    selected: SpanState | None
    unfolded: Unfolded
    path: Sequence[SpanState]
    """The way to what is unfolded by itself, from the root down."""

    def rows(self) -> list[Element]:
        """The rows, at most `ROWS`."""
        found: list[Element] = []
        for row in self._below(None, 0):
            if len(found) == ROWS:
                return [*found, h("div.node.muted", "Fold something to see more: a page shows this many rows.")]
            found.append(row)
        return found

    def _below(self, parent: SpanState | None, level: int) -> Iterator[Element]:
        """The rows of the spans directly in `parent`, each followed by the rows that are unfolded below it."""
        node, parent_id = (parent.id, parent.id) if parent else ("root", None)
        wanted = PAGE + self.unfolded.shown.get(node, 0)
        found = self.index.groups(self.run.id, parent_id, limit=wanted)
        for group in found.rows:
            yield from self._group(group, node, level)
        target = self._child_on_path(parent)
        rank = self.index.rank_of_group(self.run.id, target) if target and found.total > wanted else 0
        if rank >= wanted:
            first = max(wanted, rank - FEW // 2)
            yield from self._more(node, first - wanted, level)
            around = self.index.groups(self.run.id, parent_id, offset=first, limit=FEW)
            for group in around.rows:
                yield from self._group(group, node, level)
            wanted = first + len(around.rows)
        yield from self._more(node, found.total - wanted, level)

    def _group(self, group: SpanGroup, parent: str, level: int) -> Iterator[Element]:
        if group.count == 1:
            yield from self._single(group.first, level)
            return
        node = f"{parent}/{group.kind}/{group.name}"
        target = self._member_on_path(group)
        is_open = self.unfolded.is_open(node, by_itself=target is not None)
        yield self._group_row(group, node, level, is_open=is_open)
        if is_open:
            yield from self._members(group, node, level + 1, target)

    def _members(self, group: SpanGroup, node: str, level: int, target: SpanState | None) -> Iterator[Element]:
        wanted = FEW + self.unfolded.shown.get(node, 0)
        query = {"parent": group.first.parent_number, "kind": group.kind, "name": group.name, "order": "failed"}
        found = self.index.picked(self.run.id, SpanQuery(**query, limit=wanted))  # type: ignore[arg-type]
        for span in found.rows:
            yield from self._single(span, level)
        rank = self.index.rank_in_group(self.run.id, target) if target else 0
        if rank >= wanted:
            first = max(wanted, rank - FEW // 2)
            yield from self._more(node, first - wanted, level)
            around = self.index.picked(self.run.id, SpanQuery(**query, offset=first, limit=FEW))  # type: ignore[arg-type]
            for span in around.rows:
                yield from self._single(span, level)
            wanted = first + len(around.rows)
        yield from self._more(node, found.total - wanted, level)

    def _single(self, span: SpanState, level: int) -> Iterator[Element]:
        on_path = any(each.id == span.id for each in self.path)
        is_open = self.unfolded.is_open(span.id, by_itself=on_path or span.parent is None)
        yield self.row(span, level, is_open=is_open)
        if is_open and span.children and level < DEEPEST:
            yield from self._below(span, level + 1)

    def _child_on_path(self, parent: SpanState | None) -> SpanState | None:
        """The span on the path that is directly in `parent`."""
        return next((each for each in self.path if each.parent == (parent.id if parent else None)), None)

    def _member_on_path(self, group: SpanGroup) -> SpanState | None:
        """The span on the path that is in a group."""
        first = group.first
        same = (each for each in self.path if each.parent_number == first.parent_number)
        return next((each for each in same if (each.kind, each.name) == (group.kind, group.name)), None)

    def row(self, span: SpanState, level: int, *, is_open: bool) -> Element:
        """The row of one span."""
        chosen = self.selected is not None and self.selected.id == span.id
        cost = dollars(span.total_cost_usd) if span.total_calls else ""
        return h(
            "div.node.on" if chosen else "div.node",
            twist(span.id, is_open=is_open, there=span.children > 0),
            h(
                f"a.leaf.kind-{span.kind}",
                h(f"span.dot.is-{state_of(span, self.run)}"),
                *_heading(self.index, self.run, span),
                _marks(span, self.run),
                h("span.grow"),
                h("span.took", joined([duration(took_s(self.run, span)), cost])),
                go=at_span(self.place, span),
                current=chosen,
            ),
            inset=level,
        )

    def _group_row(self, group: SpanGroup, node: str, level: int, *, is_open: bool) -> Element:
        failed = self.index.picked(
            self.run.id,
            SpanQuery(parent=group.first.parent_number, kind=group.kind, name=group.name, status="error", limit=1),
        ).total
        below = group.total_errors > 0 and not failed
        cost = dollars(group.total_cost_usd) if group.total_calls else ""
        return h(
            "div.node",
            twist(node, is_open=is_open, there=True),
            h(
                f"button.leaf.kind-{group.kind}",
                h(f"span.dot.is-{'error' if failed else 'short' if below else 'ok'}"),
                h("b", f"{group.count:,} × {_called(group)}"),
                h("span.flag.tone-failed", f"{failed:,} of {group.count:,} failed") if failed else None,
                h("span.flag.tone-limit", f"{group.total_errors:,} failed in them") if below else None,
                h("span.head", line(group.first.head, 80)),
                h("span.grow"),
                h("span.took", cost),
                act=f"{'fold' if is_open else 'unfold'} {node}",
            ),
            inset=level,
        )

    def _more(self, node: str, left: int, level: int) -> Iterator[Element]:
        if left > 0:
            text = f"{min(left, PAGE):,} more of {left:,}"
            yield h("div.node", h("span.twist"), h("button.leaf.muted", text, act=f"more {node}"), inset=level)


def call_tree(index: Index, run: RunState, place: Place, selected: SpanState | None, unfolded: Unfolded) -> Element:
    """The tree of a run with what is selected in it."""
    unfolded.select(selected.id if selected else "")
    path = index.path(run.id, selected.id) if selected else []
    if len(path) <= 1 and run.errors:  # nothing in particular is selected: down to the first failure
        first = index.problems(run.id, severity="error", limit=1).rows
        path = index.path(run.id, first[0].span) if first else path
    tree = Tree(index=index, run=run, place=place, selected=selected, unfolded=unfolded, path=path)
    return h("nav.tree", *tree.rows(), id="tree", label="Calls of this run")


def picked_list(index: Index, run: RunState, place: Place, selected: SpanState | None) -> Element:
    """The calls that the address picks out, in the place of the tree: those that failed, the slowest, the dearest."""
    query = SpanQuery(
        kind=place.kind or ("" if place.pick == "failed" else "model"),
        model=place.model,
        status="error" if place.pick == "failed" else "",
        order=place.pick if place.pick in ("slowest", "dearest") else "began",  # type: ignore[arg-type]
        offset=place.page * PAGE,
        limit=PAGE,
    )
    found = index.picked(run.id, query)
    tree = Tree(index=index, run=run, place=place, selected=selected, unfolded=Unfolded(), path=())
    rows = [tree.row(span, 0, is_open=False) for span in found.rows]
    return h(
        "nav.tree",
        *rows,
        h("div.node.muted", f"{found.total:,} in all") if found.total else None,
        id="picked",
        label="Calls that were picked",
    )


def state_of(span: SpanState, run: RunState) -> str:
    """How a span looks: error, short (of its answer, or with failures below), open, cut, ok."""
    if span.status == "error":
        return "error"
    if span.status == "open":
        return "open" if run.status == "running" else "cut"
    return "short" if fell_short(span) or span.total_errors else "ok"


def twist(node: str, *, is_open: bool, there: bool) -> Element:
    """The button that folds or unfolds a node."""
    if not there:
        return h("span.twist")
    what = "fold" if is_open else "unfold"
    return h(
        "button.twist",
        "▾" if is_open else "▸",
        act=f"{what} {node}",
        label=what,
        expanded="true" if is_open else "false",
    )


def _called(group: SpanGroup) -> str:
    return line(group.name, 60) or ("rlm_query" if group.kind == "completion" else group.kind)


def _heading(index: Index, run: RunState, span: SpanState) -> list[Child]:
    """A completion under its prompt; anything else under its title and how it begins."""
    if span.kind == "completion":
        return [h("b.head", line(span.head, 110) or "no prompt")]
    head = span.head
    if span.kind == "turn":
        cells = index.spans(run.id, span.id, kind="exec", limit=1).rows
        head = cells[0].head if cells else ""
    return [h("b", line(title_of(span), 60)), h("span.head", line(head, 80))]


def _marks(span: SpanState, run: RunState) -> Element | None:
    if span.status == "error":
        return h("span.flag.long.tone-failed", line(span.detail, 60) or "failed")
    if span.status == "open":
        running = run.status == "running"
        return h(f"span.flag.tone-{'running' if running else 'crashed'}", "running" if running else "never ended")
    if fell_short(span):
        return h("span.flag.tone-limit", line(span.detail, 20))
    if span.cached:
        return h("span.flag.tone-quiet", "from the record" if span.served else "from memory")
    return h("span.flag.tone-limit", f"{span.total_errors:,} failed in it") if span.total_errors else None
