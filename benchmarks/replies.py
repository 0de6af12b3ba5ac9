"""Replies composed of the forms of many families, with what is to be made of each: `python -m benchmarks.replies`.

Every reply holds one thing that is meant, cells or an answer, among things that are not: thoughts with drafts in them,
marks that are only spoken of, results and turns that the model made up. `--minutes N` looks for a reply that is
misread, from a seed; `--without` switches the rules of the dialects off one by one, and says how soon that is noticed.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal
from unittest import mock

from benchmarks.suite.families import CALLS, THOUGHTS
from rlm.core import dialects
from rlm.core.dialects import Answer, Cell, blocks, choose, fences, markup, prose, repairs
from rlm.core.dialects.scanning import Text
from rlm.core.types import ModelReply, TokenUsage

DANGER = "danger()"
_DRAFTS = (
    f"```repl\n{DANGER}\n```",
    f"```python\n{DANGER}\n```",
    f"FINAL({DANGER})",
    f"Perhaps\n```repl\n{DANGER}\n",
    *(write(DANGER) for name, write in CALLS.items() if not name.startswith(("gpt-oss", "Llama", "Apertus"))),
)
_SPOKEN_OF = ("`</think>`", "`<think>`", "`<tool_call>`", "`<|im_end|>`", "`[THINK]`", "`<|python_tag|>`", '"</think>"')
_CODES = (
    "run({n})",
    "x = [1,\n     2]\nrun({n})",
    "for i in range(3):\n    run({n})\n",
    "s = '''\n```python\ndanger()\n```\n'''\nrun({n})",
    's = """\n</think>\n"""\nrun({n})',
    "s = '</tool_call>'\nrun({n})",
    "s = '</parameter></function>'\nrun({n})",
    "# marks ``` in a comment\nrun({n})",
    "run({n}, '<think>')",
    'run({n}, "<|im_end|>")',
)
_FENCES: tuple[Callable[[str], str], ...] = (
    lambda code: f"```repl\n{code}\n```\n",
    lambda code: f"~~~repl\n{code}\n~~~\n",
    lambda code: f"````repl\n{code}\n````\n",
    lambda code: f"```repl\n{code}```\n",
    lambda code: f"```repl\n{code}\n~~~\n",
    lambda code: f"```repl\n{code}\n    ```\n",
    lambda code: f"```repl\n{code}\n```.\n",
    lambda code: f"```repl\n{code}\n```<end_code>\n",
    lambda code: f"\u200b```repl\n{code}\n```\n",
    lambda code: f"```repl\n{code}\n<think>\nSo far, so good.\n</think>\n```\n",
    lambda code: "".join(f"> {line}\n" for line in f"```repl\n{code}\n```".split("\n")),
    lambda code: f"```repl {code}```\n" if "\n" not in code else f"```repl\n{code}\n```\n",
    lambda code: f"<repl>\n{code}\n</repl>\n",
)
_SLIPS: Mapping[str, tuple[str, str]] = {
    "indentation of the whole": ("    a = 1\n    run({n})", "a = 1\nrun({n})"),
    "non-breaking or wide spaces": ("if 1:\n\u00a0\u00a0run({n})", "if 1:\n  run({n})"),
    "invisible characters": ("run({n},\u200b1)", "run({n},1)"),
    "curly quotation marks": ("run({n}, “a”)", 'run({n}, "a")'),
    "dashes for minus signs": ("run({n} − 1)", "run({n} - 1)"),
    "full-width punctuation": ("run（{n}）", "run({n})"),
    "backslashes before operators": ("run({n} \\!= 1)", "run({n} != 1)"),
    "HTML entities": ("run({n} &lt; 1)", "run({n} < 1)"),
    "prompts of a session": (">>> run({n})\n1", "run({n})"),
    "numbers of notebook cells": ("In [1]: run({n})", "run({n})"),
    "notebook commands": ("%time run({n})", "run({n})"),
}
_DESCRIPTION = (
    '<tools>\n{"type": "function", "function": {"name": "execute_code", "parameters": '
    '{"type": "object", "properties": {"code": {"type": "string"}}}}}\n</tools>\n'
)
"""The description of a tool, as small models repeat it."""
_FUNCTIONS = (
    ("FINAL", '{"value": [{n}]}', "FINAL([{n}])"),
    ("llm_query", '{"prompt": "What is {n}?"}', "print(llm_query(prompt='What is {n}?'))"),
)
"""Functions of the REPL called as tools, and the cells that they stand for."""
_FUNCTION_FORMS = (
    "```json\n{call}\n```\n",
    "{call}\n",
    "<tool_call>\n{call}\n</tool_call>\n",
    "[TOOL_CALLS][{call}]\n",
)
_ANSWERS = ("Forty-two.", "It is 42, says line 7.", "The mark `</think>` stands there 3 times.", "四十二。")


@dataclass(slots=True, kw_only=True)
class Composed:
    """A reply, and what is to be made of it."""

    dialect: str
    text: str = ""
    cells: list[str] = field(default_factory=list)
    answer: str | None = None
    finish: Literal["stop", "length"] = "stop"

    def misread(self) -> str | None:
        """What was made of it instead; None where that is right."""
        reply = ModelReply(text=self.text, usage=TokenUsage(), finish=self.finish)
        steps = choose(self.dialect, native_tools=True).parse(reply)
        cells = [step.code.strip() for step in steps if isinstance(step, Cell)]
        answers = [step.text for step in steps if isinstance(step, Answer)]
        right = cells == self.cells and answers == ([] if self.answer is None else [self.answer])
        return None if right else f"{self!r}\nwas read as {steps!r}"


def composed(rng: random.Random) -> Composed:
    """One reply."""
    made = Composed(dialect=rng.choice(("code", "tools")))
    meant = _meant(rng, made)
    is_plain = made.answer is not None and not meant.startswith("FINAL")
    before = "" if meant.startswith(("<|channel|>", "<|start|>")) else _before(rng, is_plain=is_plain)
    made.text = before + meant + _after(rng, made)
    return made


def _before(rng: random.Random, *, is_plain: bool) -> str:
    """Thoughts before what is meant, and words where they are no part of an answer."""
    named = f"I know of {rng.choice(_SPOKEN_OF)}, which I only name.\n"
    words = "" if is_plain else rng.choice(("", "", "", named, named, _DESCRIPTION))
    if rng.random() < 0.3:
        return words
    opening, closing = rng.choice(list(THOUGHTS.values()))
    drafts = "\n".join(rng.sample(_DRAFTS, rng.randint(1, 2)))
    named = f"Not `{closing}` yet.\n" if rng.random() < 0.3 else ""
    match rng.randrange(5):
        case 0:
            return f"Perhaps so:\n{named}{_closed(drafts)}\n{closing}\n{words}"  # the template opened it
        case 1:
            return f"{opening}\n{named}{opening}\n{drafts}\n{closing}\nYes.\n{closing}\n{words}"
        case 2:
            return f"{'' if is_plain else 'Well. '}{opening}\n{named}{drafts}\n{closing}\n{words}"
        case _:
            return f"{opening}\n{named}{drafts}\n{closing}\n{words}"


def _closed(drafts: str) -> str:
    """Drafts whose fences are closed."""
    return drafts if drafts.count("```") % 2 == 0 else f"{drafts}\n```"


def _meant(rng: random.Random, made: Composed) -> str:
    kinds = ("fences", "fences", "call", "call", "call", "function", "slip", "final", "fenced final", "answer", "cut")
    kind = rng.choice(kinds)
    if kind == "fences":
        return _fences(rng, made)
    if kind == "call":
        code = _code(rng)
        made.cells = [code.strip()]
        return f"{rng.choice(list(CALLS.values()))(code)}\n"
    if kind == "function":
        name, arguments, cell = rng.choice(_FUNCTIONS)
        made.cells = [cell.replace("{n}", "7")]
        call = f'{{"name": "{name}", "arguments": {arguments.replace("{n}", "7")}}}'
        return rng.choice(_FUNCTION_FORMS).replace("{call}", call)
    if kind == "slip":
        slip, right = rng.choice(list(_SLIPS.values()))
        made.cells = [right.format(n=1)]
        return f"```repl\n{slip.format(n=1)}\n```\n"
    if kind == "cut":
        return _cut(rng, made)
    made.answer = rng.choice(_ANSWERS)
    if kind == "answer" and made.dialect == "tools":
        return f"{made.answer}\n"
    if kind == "fenced final":
        made.answer = "Use:\n```python\ndanger()\n```\nDone"
    return f"FINAL({made.answer})\n"


def _fences(rng: random.Random, made: Composed) -> str:
    codes = [_code(rng, number) for number in range(1, rng.randint(2, 4))]
    made.cells = [code.strip() for code in codes]
    texts = [rng.choice(_FENCES)(code) for code in codes]
    if rng.random() < 0.2:
        return "".join(f"```repl\n{code}\n```" for code in codes) + "\n"  # glued
    return rng.choice(("", "Then:\n")).join(texts)


def _code(rng: random.Random, number: int = 1) -> str:
    return rng.choice(_CODES).replace("{n}", str(number))


def _cut(rng: random.Random, made: Composed) -> str:
    """What is cut off within a fence, a call or an answer."""
    made.finish = "length"
    code = "run(1)\nrun(2)\n"
    forms = (lambda code: f"```repl\n{code}", lambda code: f"FINAL(forty-two and {code}", rng.choice(_CUTTABLE))
    whole = rng.choice(forms)(code)
    return whole[: rng.randint(whole.index("run"), whole.index("run") + 6)]


_CUTTABLE = [write for name, write in CALLS.items() if name != "ReAct"]


def _after(rng: random.Random, made: Composed) -> str:
    """What the model had no business to write."""
    if made.finish == "length":
        return ""
    opening, closing = rng.choice(list(THOUGHTS.values()))
    tails = [
        "",
        "",
        f"\n{opening}\n{rng.choice(_DRAFTS)}\n{closing}\n",
        f"\n{opening}\n{rng.choice(_DRAFTS)}",
        "<|im_end|>",
        "<|eot_id|>\n",
        "</think>",
        "\n</think>\n</think>",
        "</tool_call>\n",
        "</parameter>\n</function>\n</tool_call>",
        f"<tool_response>\n```repl\n{DANGER}\n```\n</tool_response>",
        f"<|im_end|>\n<|im_start|>user\n```repl\n{DANGER}\n```",
        f"<|eot_id|><|start_header_id|>user<|end_header_id|>\nFINAL({DANGER})",
    ]
    return rng.choice(tails)


def first_misread(seed: int, *, replies: int, seconds: float = float("inf")) -> tuple[int, str | None]:
    """How many replies of a seed were read, and what was wrong with the last; None where nothing was."""
    rng, until = random.Random(seed), time.monotonic() + seconds
    for number in range(1, replies + 1):
        if (misread := composed(rng).misread()) is not None:
            return number, misread
        if time.monotonic() > until:
            return number, None
    return replies, None


def _tables() -> Iterator[tuple[str, tuple[Any, str, object]]]:
    """Each rule that stands in a table: where, and the table without it."""
    for module, table in (
        (fences, "LINE_RULES"),
        (fences, "MARK_RULES"),
        (markup, "BODIES"),
        (repairs, "REPAIRS"),
    ):
        rules = getattr(module, table)
        for name in rules:
            rest = {each: rule for each, rule in rules.items() if each != name}
            yield f"{table}: {name}", (module, table, MappingProxyType(rest))


SWITCHES: Mapping[str, tuple[Any, str, object]] = {
    **dict(_tables()),
    "messages in channels": (fences, "messages_in", lambda *_: None),
    "marks that are quoted": (Text, "is_quoted", lambda *_: False),
    "closing tags in strings of code": (markup, "_in_string", lambda *_: False),
    "fences in strings of code": (blocks, "_stop_in_code", lambda *_: None),
    "what was cut off": (fences._Reader, "_leave_out", lambda *_: None),
    "what was said before a closing tag": (dialects._Hearing, "_says", lambda *_: True),
    "functions called as tools": (markup, "FUNCTIONS", frozenset()),
    "descriptions of tools": (markup, "_DESCRIBES", "\0"),
    "calls as Python writes them": (markup, "spoken_call", lambda *_: None),
    "FINAL that was cut off": (prose, "_inside", lambda text, start: (text[start:].rstrip(")\n"), True)),
}
"""Every rule that can be switched off: where it stands, and what to put in its place."""


@contextmanager
def without(rule: str) -> Iterator[None]:
    """The dialects without one rule."""
    place, name, instead = SWITCHES[rule]
    with mock.patch.object(place, name, instead):
        yield


def main() -> int:
    """Look for a misread reply; or for how soon each rule is missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", action="store_true", help="switch each rule off in turn")
    options = parser.parse_args()
    if not options.without:
        read, misread = first_misread(options.seed, replies=sys.maxsize, seconds=60 * options.minutes)
        print(f"{read:,} replies from seed {options.seed}: {misread or 'all read right'}")
        return int(misread is not None)
    missed = 0
    for rule in SWITCHES:
        with without(rule):
            read, misread = first_misread(options.seed, replies=sys.maxsize, seconds=60)
        print(f"without {rule!r}: {'noticed' if misread else 'NOT NOTICED'} after {read:,} replies")
        missed += misread is None
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
