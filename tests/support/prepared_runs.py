"""Twelve prepared runs to look at: each is a situation in which a reader opens the pages, and all but the live one are
recorded by the real loop over a scripted model."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rlm import RLM, Budget
from rlm.backends.scripted import ScriptedBackend
from rlm.core.config import Config
from rlm.core.events import CompletionStart, Event, ExecOutput, ExecStart, ModelStart, RunStart, TurnStart, encode
from rlm.core.exceptions import BadRequestError
from rlm.core.notes import ContextNote
from rlm.core.types import ModelReply
from rlm.tasks import Task, TaskList, cc_execute_task_list
from rlm.trajectory.writer import TrajectoryWriter
from tests.support.sample_runs import HOSTILE, TICKETS, TRAITS, cell, hostile, record, review, usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rlm.core.events import Body
    from rlm.core.types import ModelRequest

    Answer = Callable[[ModelRequest], ModelReply]

LIVE = "1f" * 16
CRASHED = "c4" * 16
MODEL = "scripted/analyst"

INVOICES = [f"invoice {number}: {'EUR' if number % 3 else 'USD'} {number * 17 % 900 + 100}.00" for number in range(300)]

REGIONS = """regions = {"north": context[:100], "south": context[100:200], "east": context[200:]}
reports = rlm_query_batched(
    [f"Sum the invoices of the {name} region." for name in regions], contexts=list(regions.values()))
print(dict(zip(regions, reports)))"""

MONTHS = """halves = [context[:50], context[50:]]
sums = rlm_query_batched(["Sum this half and convert it to EUR." for _ in halves], contexts=halves)
FINAL("; ".join(map(str, sums)))"""

HALF = """total = sum(float(line.split()[-1]) for line in context)
print(len(context), "invoices", total)
rate = llm_query(f"What is the rate from USD to EUR on the day of {context[0]}? A number alone.")
FINAL(f"{total * float(rate):.2f} EUR")"""

CLASSIFY = """kinds = llm_query_batched([f"Is this invoice overdue? {line}" for line in context])
failed = [i for i, kind in enumerate(kinds) if isinstance(kind, Exception) or "failed" in str(kind).lower()]
print(len(kinds), "answered,", len(failed), "failed:", failed)"""

RETRY = """for attempt in range(30):
    try:
        llm_query(f"Translate line {attempt} of the glossary.")
    except Exception as error:
        print(attempt, type(error).__name__, error)"""


def model(answer: Answer) -> ScriptedBackend:
    """A priced model that answers by a function of the request."""
    return ScriptedBackend(answer, traits=TRAITS)


def text(said: str, tokens: int = 120) -> ModelReply:
    """A reply of text alone."""
    return ModelReply(text=said, usage=usage(tokens, len(said) // 4 + 3), finish="stop")


def asked(request: ModelRequest) -> str:
    """The task of a request: its first message of the user."""
    return next(message.content for message in request.messages if message.role == "user")


def turn(request: ModelRequest) -> int:
    """How many replies the conversation of a request has."""
    return sum(message.role == "assistant" for message in request.messages)


def three_levels(request: ModelRequest) -> ModelReply:
    """The root asks three regions, each asks for two halves; one half is told an exchange rate that isn't a number."""
    if not request.tools:
        return text("about ninety cents" if "invoice 150:" in asked(request) else "0.92")
    task = asked(request)
    if "Sum this half" in task:
        return (
            cell(HALF, "I add up my half, then ask for the rate.", 700)
            if turn(request) == 0
            else cell(
                "FINAL(f'{total:.2f} USD, not converted')", "The rate was no number. I give the sum as it is.", 900
            )
        )
    if "Sum the invoices" in task:
        return cell(MONTHS, "Two halves, each by a child.", 1_100)
    if turn(request) == 0:
        return cell(REGIONS, "Three regions, each by a child of its own.", 1_500)
    return cell('FINAL("Totals by region: " + "; ".join(f"{k}: {v}" for k, v in zip(regions, reports)))', "", 1_900)


def one_of_300(request: ModelRequest) -> ModelReply:
    """300 questions of one batch, of which number 234 is refused."""
    if not request.tools:
        if "invoice 233:" in asked(request):
            raise BadRequestError("content policy: the prompt was refused (request req_77)")
        return text("yes" if "USD" in asked(request) else "no", 40)
    if turn(request) == 0:
        return cell(CLASSIFY, "One question for each invoice.", 1_000)
    return cell("FINAL(f\"{sum(str(k) == 'yes' for k in kinds)} overdue, {len(failed)} unknown\")", "", 2_000)


def thirty_errors(request: ModelRequest) -> ModelReply:
    """A child whose model refuses each of its 30 questions in the same words."""
    if not request.tools:
        raise BadRequestError("the model 'glossary-small' does not exist")
    if "Translate these terms" in asked(request):
        return cell(RETRY, "Line by line.", 600) if turn(request) == 0 else cell("FINAL('no line was translated')")
    if turn(request) == 0:
        return cell('report = rlm_query("Translate these terms.", context=context[:30])\nprint(report)', "A child.")
    return cell("FINAL('The glossary could not be translated: ' + report)", "", 900)


def thousand(request: ModelRequest) -> ModelReply:
    """A thousand turns, of which the 700th fails."""
    done = turn(request)
    if done >= 999:
        return cell("FINAL(total)", "Done.", 300)
    if done == 699:
        return cell("total += missing", "I add what is missing.", 300)
    return cell(f"total = {done}", "", 300)


def cancelled_answer(request: ModelRequest) -> ModelReply:
    """A first cell that waits for ever."""
    del request
    return cell("import time\nprint('waiting for the export')\ntime.sleep(600)", "I wait for the export.")


def _run(log_dir: Path, answer: Answer, prompt: str, context: object, **caps: object) -> str:
    budget = Budget(**{"token_budget": 5_000_000, "cost_budget_usd": 20.0, **caps})  # type: ignore[arg-type]
    with RLM(model(answer), environment="local", config=_config(log_dir), budget=budget) as rlm:
        return rlm.completion(prompt, context).run_id


def _config(log_dir: Path) -> Config:
    return Config(model=MODEL, log_dir=str(log_dir))


def _cancelled(log_dir: Path) -> str:
    with RLM(model(cancelled_answer), environment="local", config=_config(log_dir), sinks=[_CancelOnOutput()]) as rlm:
        _CancelOnOutput.cancel = rlm.cancel
        return rlm.completion("Wait for the nightly export, then count its lines.", INVOICES).run_id


class _CancelOnOutput:
    """A sink that cancels its run once a cell has printed something."""

    cancel: Callable[[], None]

    def write(self, event: Event) -> None:
        if isinstance(event.body, ExecOutput):
            self.cancel()

    def close(self) -> None:
        return


def _fork(log_dir: Path, source: str) -> str:
    rest = iter([*review()[4:]])
    with RLM(model(lambda request: _forked(request, rest)), environment="local", config=_config(log_dir)) as rlm:
        return rlm.fork(source, 3, "Look at customer 11 alone.", context=TICKETS).run_id


def _forked(request: ModelRequest, rest: Iterator[ModelReply]) -> ModelReply:
    if not request.tools:
        return text("none")
    own = 'eleven = [t for t in tickets if "customer 11 " in t]\nFINAL(f"Customer 11 wrote {len(eleven)} times.")'
    if "Report on" in asked(request):
        return next(rest)
    return cell(own, "Customer 11 alone, as I was told.", 1_200)


def _session(log_dir: Path) -> str:
    """A session driven cell by cell, as an MCP host drives one."""
    cells = (
        "usd = [line for line in context if 'USD' in line]\nprint(len(usd), 'in dollars')",
        "overdue = llm_query_batched([f'Overdue? {line}' for line in usd[:12]])\nprint(overdue)",
        "print(amounts)",
        "print(sum(float(line.split()[-1]) for line in usd))",
    )
    config, answer = _config(log_dir), model(lambda _: text("yes"))
    with RLM(answer, environment="local", config=config) as rlm, rlm.open_repl(INVOICES) as repl:
        for code in cells:
            repl.run(code)
        return repl.path.stem


def _crashed(log_dir: Path, source: str) -> str:
    """What is left of a run whose process was killed while its batch went on: the first half of its lines."""
    lines = (log_dir / f"{source}.jsonl").read_bytes().splitlines(keepends=True)
    content = b"".join(lines[: len(lines) // 2]) + lines[len(lines) // 2][:60]
    (log_dir / f"{CRASHED}.jsonl").write_bytes(content.replace(source.encode(), CRASHED.encode()))
    return CRASHED


@contextmanager
def live(log_dir: Path) -> Iterator[str]:
    """A run in progress, as long as the block lasts: its second turn has a cell that runs and a call under way."""
    (log_dir / f"{LIVE}.jsonl").unlink(missing_ok=True)
    writer, seq = TrajectoryWriter(log_dir, LIVE), 0

    def write(span: str, parent: str | None, body: Body) -> None:
        nonlocal seq
        event = Event(seq=seq, at=time.time(), run=LIVE, span=span, parent=parent, type=body.TYPE, body=body)
        writer.write(event, encode(event))
        seq += 1

    root, turn_1, cell_1, call = (name * 16 for name in "abcd")
    write(
        root,
        None,
        RunStart(
            version=1,
            rlm_version="0",
            model=MODEL,
            sub_model=MODEL,
            environment="local",
            budget={"token_budget": 100_000},
        ),
    )
    context = ContextNote(kind="text", size_bytes=48_211, chars=48_211)
    write(
        root,
        None,
        CompletionStart(depth=0, prompt="Which invoices are overdue?", model=MODEL, dialect="tools", context=context),
    )
    write(turn_1, root, TurnStart(turn=1))
    write(cell_1, turn_1, ExecStart(cell=1, code="answers = llm_query_batched(questions)"))
    write(cell_1, turn_1, ExecOutput(text="asking 40 questions\n"))
    write(
        call,
        cell_1,
        ModelStart(
            model=MODEL,
            purpose="llm_query",
            max_output_tokens=500,
            input_tokens_estimate=40,
            prompt="Is invoice 7 overdue?",
        ),
    )
    try:
        yield LIVE
    finally:
        writer.close()


def _task_list(log_dir: Path) -> None:
    """A task list of five: done, failed, blocked by that, done with a verdict, and not yet begun."""

    def model(request: ModelRequest) -> ModelReply:
        said = asked(request)
        if "Publish" in said:
            raise BadRequestError("the registry refuses the package: the version exists")
        if "Do all tests pass" in said:
            return text("```repl\nprint(context)\nFINAL({'is_valid': True, 'reason': 'all 41 tests pass'})\n```")
        return text(f"```repl\nprint(context)\nFINAL('done: {turn(request) + 1} step')\n```")

    tasks = [
        Task(id="build", prompt="Build the package"),
        Task(id="test", prompt="Run its tests", needs=["build"], validation="Do all tests pass?"),
        Task(id="publish", prompt="Publish it", needs=["test"]),
        Task(id="announce", prompt="Announce the release", needs=["publish"]),
        Task(id="notes", prompt="Write the release notes", needs=["build"]),
    ]
    listed = TaskList(name="Release 2.4", tasks=tasks)
    cc_execute_task_list(listed, model=ScriptedBackend(model), config=_config(log_dir))


def prepare(log_dir: Path) -> dict[str, str]:
    """Record every run but the live one, and a task list; the ids of the runs by name."""
    _task_list(log_dir)
    runs = {
        "levels": _run(log_dir, three_levels, "Total the invoices of each region in EUR.", INVOICES),
        "one-of-300": _run(log_dir, one_of_300, "How many invoices are overdue?", INVOICES),
        "equal-errors": _run(log_dir, thirty_errors, "Translate the glossary into French.", INVOICES),
        "thousand": _run(log_dir, thousand, "Count, one step at a time.", INVOICES, max_turns=1_000),
        "limit": record(log_dir, review(), budget=Budget(token_budget=6_000), prompt="Count them, cheaply.").run_id,
        "review": record(log_dir, review()).run_id,
        "hostile": record(log_dir, hostile(), prompt=HOSTILE).run_id,
        "session": _session(log_dir),
        "cancelled": _cancelled(log_dir),
    }
    return {**runs, "crashed": _crashed(log_dir, runs["review"]), "fork": _fork(log_dir, runs["review"])}
