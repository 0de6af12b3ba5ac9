"""Writes docs/events.md from the types in rlm.core.events, so that the document can say nothing but what the code does.

Names, order and types of fields come from the source, where their docstrings stand; the run's types from `BODIES`.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rlm.core import events, notes, types
from rlm.core.events import body, completion, model, run, tasks
from rlm.core.events import cell as cells

FAMILIES = (body, run, completion, model, cells, tasks)
TARGET = Path(__file__).with_name("events.md")

INTRO = """\
# Events

Written by `make docs` from `src/rlm/core/events/`; format version {version}.

{about}

A run is `<log_dir>/<run_id>.jsonl`: one event on a line, as JSON. A field that has its default is left out.
`Json` is any JSON value. Lines are appended and never changed; the last may be torn where a run was killed.
"""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a type, as its source shows it."""

    name: str
    kind: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Shape:
    """One type: its docstring and its fields."""

    name: str
    meaning: str
    fields: tuple[Field, ...]


def render() -> str:
    """The whole document."""
    known: dict[str, Shape] = {}
    for module in (types, notes, *FAMILIES, events):
        known |= {shape.name: shape for shape in shapes(inspect.getsource(module), known)}
    bodies = {tag: known[body.__name__] for tag, body in events.BODIES.items()}
    parts = [INTRO.format(version=events.VERSION, about=about()), "## The event\n", table(known["Event"])]
    parts += ["## Bodies, by `type`\n"]
    parts += [f"### `{tag}`\n\n{shape.meaning}\n\n{table(shape)}" for tag, shape in bodies.items()]
    parts += ["## Values inside them\n"]
    used = values_in((known["Event"], *bodies.values()), known)
    parts += [f"### {shape.name}\n\n{shape.meaning}\n\n{table(shape)}" for shape in used]
    return "\n".join(parts)


def about() -> str:
    return "\n\n".join(inspect.getdoc(events).split("\n\n")[1:])  # type: ignore[union-attr]


def shapes(source: str, bases: Mapping[str, Shape]) -> Iterator[Shape]:
    """The types in a source, each with the fields of its bases, from there or from `bases`, before its own."""
    known = dict(bases)
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            of_bases = (known[name] for base in node.bases if (name := ast.unparse(base)) in known)
            inherited = (field for shape in of_bases for field in shape.fields)
            shape = Shape(node.name, one_line(ast.get_docstring(node) or ""), (*inherited, *fields(node)))
            known[node.name] = shape
            yield shape


def fields(node: ast.ClassDef) -> Iterator[Field]:
    """The annotated fields of a class, each with the docstring under it."""
    for statement, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and "ClassVar" not in ast.unparse(statement.annotation):
            default = "" if statement.value is None else ast.unparse(statement.value)
            yield Field(ast.unparse(statement.target), ast.unparse(statement.annotation), default, docstring(after))


def docstring(statement: ast.stmt | None) -> str:
    match statement:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return one_line(text)
    return ""


def one_line(text: str) -> str:
    return " ".join(text.split())


def values_in(roots: tuple[Shape, ...], known: dict[str, Shape]) -> list[Shape]:
    """The types that the fields of `roots` name, and those that these name, in the order they are met."""
    found: dict[str, Shape] = {}
    waiting = list(roots)
    for shape in waiting:
        for name in re.findall(r"\w+", " ".join(field.kind for field in shape.fields)):
            if name in known and name not in found:
                found[name] = known[name]
                waiting.append(known[name])
    return list(found.values())


def table(shape: Shape) -> str:
    if not shape.fields:
        return "No fields.\n"
    rows = [f"| `{f.name}` | {code(f.kind)} | {code(f.default)} | {cell(f.meaning)} |" for f in shape.fields]
    return "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows]) + "\n"


def code(text: str) -> str:
    return f"`{cell(text)}`" if text else ""


def cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    sys.stdout.write(f"wrote {TARGET.name}\n")
