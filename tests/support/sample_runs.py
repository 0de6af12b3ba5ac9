"""Real runs to look at, recorded in a folder by the real loop and sandbox over a scripted model: a review of tickets
with batches, children and a cell that fails; a later one that goes another way; one that reaches its budget; one whose
every text is hostile."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from rlm import RLM, Budget
from rlm.backends.scripted import ScriptedBackend, tool_call
from rlm.core.config import Config
from rlm.core.types import ModelReply, ModelTraits, Price, TokenUsage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rlm.core.outcome import RLMResult
    from rlm.core.types import ModelRequest

TRAITS = ModelTraits(price=Price(input_usd=1.25, output_usd=10.0))

KINDS = ("refund is late", "cannot sign in", "charged twice", "thanks, it works", "app crashes at start")
TICKETS = [
    f"#{number}: customer {number % 37} writes: {what}"
    for number, what in zip(
        range(1000, 1480),
        itertools.cycle(
            ["refund is late", "cannot sign in", "charged twice", "thanks, it works", "app crashes at start"]
        ),
        strict=False,
    )
]

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> **bold** $x^2$ "
    ":material/home: [link](javascript:alert(1)) ![i](http://example.invalid/x.png)\x1b[31mred\x1b]0;title\x07 "
    "\u202egnp.exe\u2066 \x00 \ud83d"
)

LOOK = """tickets = context
print(len(tickets), "tickets")
for ticket in tickets[:5]:
    print(ticket)"""

SORT = """kinds = {}
for ticket in tickets:
    kind = ticket.split("writes: ")[1]
    kinds.setdefault(kind, []).append(ticket)

for kind, found in sorted(kinds.items(), key=lambda item: -len(item[1])):
    print(f"{len(found):>5}  {kind}")"""

BATCH = """groups = [tickets[i : i + 10] for i in range(0, len(tickets), 10)]
replies = llm_query_batched(
    [f"Which of these are urgent? Answer with their numbers.\\n" + "\\n".join(group) for group in groups]
)
urgent = [reply for reply in replies if "none" not in reply]
print(len(urgent), "groups have urgent tickets")"""

BROKEN = """by_day = {ticket["day"]: ticket for ticket in tickets}
print(by_day)"""

CHILDREN = """parts = [tickets[:160], tickets[160:320], tickets[320:]]
reports = rlm_query_batched(["Report on the complaints in these tickets." for _ in parts], contexts=parts)
for report in reports:
    print(report)"""

ANSWER = """counts = {kind: len(found) for kind, found in kinds.items()}
worst = max(counts, key=counts.get)
FINAL(f"{len(urgent)} of {len(groups)} groups have urgent tickets. The most common complaint is '{worst}' with "
      f"{counts[worst]} tickets; customers 4, 11 and 29 wrote more than once about being charged twice.")"""

CHILD = [
    "mine = [t for t in context if 'thanks' not in t]\nprint(len(mine), 'complaints')",
    "verdict = llm_query('Summarise: ' + '; '.join(mine[:20]))\nFINAL(verdict)",
]

PROMPT = "Which complaints are urgent, and which customers wrote more than once about the same thing?"


def usage(input_tokens: int, output_tokens: int) -> TokenUsage:
    """Tokens of one call."""
    return TokenUsage(input_tokens=input_tokens, output_tokens=output_tokens)


def cell(code: str, text: str = "", tokens: int = 900) -> ModelReply:
    """A reply that says `text` and runs one cell."""
    calls = (tool_call("execute_code", code=code),)
    return ModelReply(text=text, usage=usage(tokens, len(code) // 3 + 20), tool_calls=calls, finish="tool_calls")


class Reviewer:
    """A model of a little latency: cells for the root and its children by turn, a few words for each sub-call."""

    def __init__(self, cells: Sequence[ModelReply], latency_s: float = 0.01) -> None:
        self._cells, self._latency_s = iter(cells), latency_s

    async def __call__(self, request: ModelRequest) -> ModelReply:
        asked = sum(len(message.content) for message in request.messages)
        await asyncio.sleep(self._latency_s * (1 + asked % 7))
        if not request.tools:
            is_group = len(request.messages) == 1  # else the landing, whose length follows the system prompt's
            answer = (
                "none"
                if is_group and asked % 3 == 0
                else "#1002 and #1007 are urgent: charged twice, and no reply for a week."
            )
            return ModelReply(text=answer, usage=usage(asked // 3, 12 + asked % 23))
        if "Report on" in "".join(message.content for message in request.messages if message.role == "user"):
            turn = sum(message.role == "assistant" for message in request.messages)
            return cell(CHILD[min(turn, 1)], "I look at my part first." if turn == 0 else "", tokens=400 + asked // 5)
        return next(self._cells)


def review() -> list[ModelReply]:
    """The turns of the full review."""
    return [
        cell(LOOK, "I look at the data first."),
        cell(SORT, "The tickets have a kind each; I count them.", 1_300),
        cell(BATCH, "A batch of small questions over groups of ten.", 1_900),
        cell(BROKEN, "Perhaps they have dates.", 2_400),
        cell(CHILDREN, "They are plain texts. Children report on a third each.", 3_100),
        cell(ANSWER, "That is enough to answer.", 3_900),
    ]


def record(
    log_dir: Path,
    cells: Sequence[ModelReply],
    *,
    prompt: str = PROMPT,
    budget: Budget | None = None,
    latency_s: float = 0.01,
) -> RLMResult:
    """Run once, into `log_dir`."""
    model = ScriptedBackend(Reviewer(cells, latency_s), traits=TRAITS)
    config = Config(model="scripted/reviewer", log_dir=str(log_dir), environment="local")
    with RLM(model, config=config, budget=budget or Budget(token_budget=200_000, cost_budget_usd=1.0)) as rlm:
        return rlm.completion(prompt, TICKETS)


def record_all(log_dir: Path) -> dict[str, str]:
    """Every kind of run, by name; the values are their ids."""
    other = [*review()[:3], cell(BATCH.replace("10", "20")), *review()[4:]]
    runs = {
        "review": record(log_dir, review()),
        "other": record(log_dir, other),
        "short": record(log_dir, [cell(LOOK), cell("FINAL(len(tickets))")], prompt="How many tickets are there?"),
        "limit": record(log_dir, review(), budget=Budget(token_budget=6_000), prompt="Count them, cheaply."),
        "hostile": record(log_dir, hostile(), prompt=HOSTILE),
    }
    return {name: result.run_id for name, result in runs.items()}


def damage(log_dir: Path, source: str) -> str:
    """A copy of a run with all that a file can suffer, and its id: foreign lines, events of unknown types, known ones
    with other fields, a line of 10 MB, a missing blob, no end, and a last line that is torn."""
    lines = (log_dir / f"{source}.jsonl").read_bytes().splitlines(keepends=True)
    run = "da" * 16
    head = b'{"seq":%d,"at":1e9,"run":"' + run.encode() + b'","span":"%s","parent":null,"type":"%s","body":%s}\n'
    foreign = [
        b"not json\n",
        b"[1, 2]\n",
        b"\xff\xfe\n",
        head % (900, b"ab" * 8, b"weather.report", b'{"rain": "<b>much</b>"}'),
        head % (901, b"ac" * 8, b"exec.end", b'{"status": 7}'),
        head % (902, b"ad" * 8, b"exec.output", b'{"text": "' + b"y" * 10_000_000 + b'"}'),
    ]
    blob = b'{"seq":903,"at":1e9,"run":"%s","span":"%s","parent":null,"type":"exec.output","body":{"text":"cut"},' % (
        run.encode(),
        b"ae" * 8,
    )
    blob += b'"blobs":{"text":{"digest":"%s","chars":99999}}}\n' % (b"0" * 64)
    half = len(lines) // 2
    content = b"".join([*lines[:half], *foreign, blob, *lines[half:-1], lines[-1][:40]])
    (log_dir / f"{run}.jsonl").write_bytes(content.replace(source.encode(), run.encode()))
    return run


def hostile() -> list[ModelReply]:
    """Turns whose every text tries to be more than text."""
    code = f"bad = {HOSTILE!r}\nprint(bad)\nprint('x' * 200_000)\nreply = llm_query(bad)\nraise ValueError(bad)"
    final = cell(f"FINAL({HOSTILE!r})", HOSTILE)
    return [cell(code, HOSTILE), final, final]  # the first is held back: nothing shows it
