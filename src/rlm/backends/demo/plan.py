"""What the demo does, turn by turn, and the replies that do it. The replies are whole model replies in `replies/*.md`;
only literals are put into them, so nothing from the data can become code."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from string import Template
from typing import TYPE_CHECKING

from rlm.backends.demo.asks import MERGE_TASK, Ask, Count, LineTest, Mentions, Merge, Summarise, Top
from rlm.backends.demo.formats import ACCESS_LINE, Format, named_fields

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOTICE = "[demo] This is a scripted stand-in, not a language model: code computed what it says, nothing was understood."

BLIND = "The demo cannot see images. Take a language model that can: --model openai/<model>."

HELP = """The demo knows four shapes of question:
- How many lines contain "X"? (or match /a regular expression/)
- Which values of a field occur most? (access logs: status, path, client, method, agent, half hour; the columns of a \
CSV file; the keys of JSON lines or of key=value lines; words of other text)
- Where is "X" mentioned?
- Summarise this by parts.
For any other question, take a language model: --model openai/<model>."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoStep:
    """One future reply: a template, and the literals to put into it."""

    template: str
    values: Mapping[str, object] = field(default_factory=dict)


LOOK = DemoStep(template="look")

_RECORD: Mapping[str, object] = {"record": ACCESS_LINE.pattern}


def plan(asks: Sequence[Ask], form: Format) -> list[DemoStep]:
    """The steps after the look that answer `asks` over data of that format; at least one."""
    return [step for ask in asks for step in _steps(ask, form)] or [DemoStep(template="help", values={"help": HELP})]


def render_step(step: DemoStep, number: int, *, last: bool) -> str:
    """The reply for `step`; the last one ends the completion."""
    finish = f'FINAL("\\n\\n".join([*answers, {NOTICE!r}]))' if last else f"print({step_mark(number)!r})"
    literals = {name: repr(value) for name, value in step.values.items()}
    return _template(step.template).substitute(literals, finish=finish)


def render_answer(told: str) -> str:
    """The reply that ends the completion with these words."""
    return f"```repl\nFINAL({told!r})\n```"


def render_failure(result: str) -> str:
    """The reply after a cell that didn't come to its end: an answer that says so."""
    lines = [line for line in result.strip().splitlines() if line.strip()] or ["it printed nothing"]
    told = f"The demo's code did not come to its end, so there is no answer. Last output: {lines[-1][:300]}\n\n{NOTICE}"
    return render_answer(told)


def step_mark(number: int) -> str:
    """The line that the cell of step `number` prints when it has come to its end; the look is step 0."""
    return f"[step {number} done]"


def _steps(ask: Ask, form: Format) -> list[DemoStep]:
    match ask:
        case Count(needle=needle):
            return [DemoStep(template="count", values=_search(needle, form))]
        case Mentions(needle=needle):
            return [DemoStep(template="mentions", values=_search(needle, form))]
        case Top():
            return [_top(ask, form)]
        case Summarise(question=question):
            return _summary(question, form)
        case Merge():
            return [DemoStep(template="merge")]


def _search(needle: LineTest, form: Format) -> dict[str, object]:
    return {"needle": needle.text, "is_regex": needle.is_regex} | _by_status(needle, form)


def _by_status(needle: LineTest, form: Format) -> dict[str, object]:
    """The literals of a search; in an access log `status 500` means the field, not the words."""
    name, _, code = needle.text.rpartition(" ")
    if form.kind == "access" and name.lower() in ("status", "status code") and code.isdigit() and len(code) == 3:
        return {"needle": f'" {code} ', "is_regex": False}
    return {}


def _top(ask: Top, form: Format) -> DemoStep:
    values: dict[str, object] = {"fields": list(named_fields(ask.question, form)), "top": ask.values}
    if form.kind == "csv":
        values["delimiter"] = form.delimiter
    if form.kind == "access":
        values |= _RECORD
    return DemoStep(template=f"top_{form.kind}", values=values)


def _summary(question: str, form: Format) -> list[DemoStep]:
    if form.kind == "access":
        return [DemoStep(template="parts_access", values=_RECORD), DemoStep(template="child_access")]
    by_parts = [DemoStep(template="parts_text"), DemoStep(template="child_text", values={"task": f"{MERGE_TASK}."})]
    if form.kind == "text":
        return by_parts
    return [_top(Top(question=question, values=3), form), *by_parts]


@cache
def _template(name: str) -> Template:
    return Template(resources.files(__package__).joinpath("replies", f"{name}.md").read_text(encoding="utf-8"))
