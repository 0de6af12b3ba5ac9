"""The ways in which models misbehave, each as a function that spoils one reply of a model that means well.

What a spoiler invents is one of `WRONG_ANSWERS`, so that an answer taken from it is seen.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from benchmarks.suite.families import CALLS, THOUGHTS
from benchmarks.suite.policy import Intent, Policy
from benchmarks.suite.speech import (
    DialectName,
    as_json,
    called,
    called_with,
    calling,
    fence,
    proper,
    several,
    text,
)
from benchmarks.suite.tasks import WRONG_ANSWERS
from rlm.core.types import ModelReply, ModelRequest

Spoiler: TypeAlias = Callable[[Intent, DialectName, random.Random], ModelReply]

WRONG = WRONG_ANSWERS[0]
SHARE = 0.3


class NoisyModel:
    """Answers by its policy, and spoils `share` of the replies by one of `kinds`; the same seed does the same."""

    def __init__(self, policy: Policy, dialect: DialectName, kinds: Sequence[str], seed: str, share: float = SHARE):
        self._policy = policy
        self._dialect = dialect
        self._kinds = kinds
        self._share = share
        self._rng = random.Random(seed)
        self._last: ModelReply | None = None
        self._repeats = 0

    def __call__(self, request: ModelRequest) -> ModelReply:
        intent = self._policy.next(request)
        self._last = self._repeated(intent) or self._speak(intent)
        return self._last

    def _speak(self, intent: Intent) -> ModelReply:
        if not self._kinds or not intent.code or self._rng.random() >= self._share:
            return proper(intent, self._dialect)
        kind = self._rng.choice(self._kinds)
        if kind == "repetition":
            self._repeats = self._rng.choice((1, 3, 6))
        return KINDS[kind](intent, self._dialect, self._rng)

    def _repeated(self, intent: Intent) -> ModelReply | None:
        """The last reply once more, while the model is stuck; one that is told the end is near comes to itself."""
        if not self._repeats or self._last is None or not intent.code:
            return None
        self._repeats -= 1
        calls = tuple(called_with(call.arguments, call.name) for call in self._last.tool_calls)
        return replace(self._last, tool_calls=calls)


def no_code(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    announcements = (
        "Let me take a look at the data first.",
        "I'll start by examining the structure of the context:",
        "To answer this I need to read the records. I will now write some code.",
        "Okay. First, let me count the records...",
        "The next step is clear. I'm going to run this:",
    )
    return text(rng.choice(announcements))


def several_fences(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    first, _, rest = intent.code.partition("\n")
    if dialect == "code" and rng.random() < 0.5:
        example = fence(f"FINAL({WRONG})  # never do it like this", rng.choice(("python", "", "text")))
        return text(f"A bad example would be:\n{example}\nInstead:\n{fence(intent.code)}")
    return several(intent, dialect, first, rest) if rest else several(intent, dialect, "1 + 1", first)


def prose_around(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    before = "# Plan\n1. Look\n2. `FINAL(your answer)` at the end\n\nI will call FINAL(answer) when I know.\n> quoted\n"
    after = "\nThis should print what we need. Then I will give\nFINAL(your answer)\n"
    if dialect == "code":
        return text(before + fence(intent.code) + after)
    return calling(before + after, called(intent.code))


def invented_output(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    """Code, then what it is supposed to print, then an answer from that."""
    fake = f"Output:\n{fence(WRONG, rng.choice(('', 'output', 'text')))}\nSo the answer is {WRONG}."
    too_early = f"FINAL({WRONG})" if rng.random() < 0.5 else f'FINAL("{WRONG_ANSWERS[1]}")'
    if rng.random() < 0.5:
        return (
            several(intent, dialect, intent.code, too_early) if "FINAL" not in intent.code else proper(intent, dialect)
        )
    if dialect == "code":
        return text(f"{fence(intent.code)}\n{fake}\n\n{too_early}")
    return calling(f"{fake}\n{too_early}", called(intent.code))


def final_in_prose(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    if not intent.answer:
        return text(f"I have a plan: once I know the answer, I write FINAL(answer).\n\n{fence(intent.code)}")
    written = rng.choice(
        (f"FINAL({intent.answer})", f'**FINAL("{intent.answer}")**', "FINAL_VAR(answer)", "FINAL(answer)")
    )
    return text(f"I checked the records.\n\n{written}\n\nI hope (really) that this helps.")


def repetition(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    """The start of a spell of equal replies, or one reply that says the same over and over."""
    if rng.random() < 0.5:
        return proper(intent, dialect)
    if dialect == "code":
        return text("\nAgain:\n".join([fence(intent.code)] * 40))
    return calling("again " * 400, *[called(intent.code) for _ in range(12)])


def empty(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    return text(rng.choice(("", "  \n\n ", "```repl\n\n```")))


def broken_json(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    arguments = rng.choice(BREAKAGES)(intent.code)
    if dialect == "code":
        return text(f'{{"name": "execute_code", "arguments": {arguments}}}')
    return calling(intent.thought, called_with(arguments))


BREAKAGES: tuple[Callable[[str], str], ...] = (
    lambda code: as_json(code).replace("\\n", "\n"),
    lambda code: '{"code": "' + code.replace('"', '\\"') + '"}',
    lambda code: '{"code": "' + code + '"}',
    lambda code: as_json(code)[:-1] + ",}",
    lambda code: json.dumps(as_json(code)),
    json.dumps,
    lambda code: code,
    lambda code: repr({"code": code}),
    lambda code: fence(as_json(code), "json"),
    lambda code: as_json(code).replace("\\\\", "\\"),
    lambda code: as_json(code)[: len(code) // 2],
    lambda code: json.dumps({"code": code.split("\n")}),
    lambda code: json.dumps({"source": code}),
)


def unknown_tool(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    name = rng.choice(("python", "execute_cod", "search_web", "functions.execute_code"))
    if dialect == "code":
        return text(f"<tool_call>\n{json.dumps({'name': name, 'arguments': {'code': intent.code}})}\n</tool_call>")
    return calling("", called_with(as_json(intent.code), name))


def wrong_fence(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    language = rng.choice(("", "javascript", "Python", "python3", "tool_code", "text-x", "py", "execute_code"))
    if rng.random() < 0.2:
        return text(f"{intent.thought}\n\n~~~{language}\n{intent.code}\n~~~")
    return text(f"{intent.thought}\n\n{fence(intent.code, language)}")


def fence_in_argument(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    nested = fence(intent.code, rng.choice(("python", "repl", "")))
    if dialect == "code":
        return text(fence(nested))
    return calling(intent.thought, called(rng.choice((nested, f"\n{nested}\n", f"Here:\n{nested}"))))


def final_name(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    if intent.answer:
        return proper(replace(intent, code=rng.choice(('FINAL("answer")', "FINAL('answer')"))), dialect)
    return proper(replace(intent, code=f'{intent.code}\nresult = answer\nFINAL("result")'), dialect)


def foreign(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    """Another language around the code, and for the answer."""
    if dialect == "tools" and not intent.answer:
        return calling("Zuerst sehe ich mir die Daten genauer an.", called(intent.code))
    if intent.answer:
        said = (f"答案是：{intent.answer}。", f"最终答案 {intent.answer}", f"FINAL（{intent.answer}）")
        return text(rng.choice(said))
    return text(f"首先，我来看看数据。\n\n{fence(intent.code, 'python')}\n\n然后我会给出答案（FINAL）。")


def marked_call(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    """A tool call in the text, in the markup of one family of models or another."""
    call = {"name": "execute_code", "arguments": {"code": intent.code}}
    forms = (
        f"<tool_call>\n{json.dumps(call)}\n</tool_call>",
        f"<tool_call>{json.dumps(call)}",
        f"<tool_call>\n<function=execute_code>\n<parameter=code>\n{intent.code}\n</parameter>\n</function>\n</tool_call>",
        f"<function=execute_code>{as_json(intent.code)}</function>",
        f"<execute_code>\n{intent.code}\n</execute_code>",
        f'<invoke name="execute_code">\n<parameter name="code">{intent.code}</parameter>\n</invoke>',
        fence(json.dumps(call, indent=1), "json"),
    )
    fake = f"\n<tool_response>\n{WRONG}\n</tool_response>\nThe answer is {WRONG}." if rng.random() < 0.3 else ""
    return text(f"{intent.thought}\n{rng.choice(forms)}{fake}")


def family_call(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    """A tool call in the text, as one of many families writes it, with what it may leave around it."""
    write = rng.choice(list(CALLS.values()))
    after = rng.choice(("", "", "<|im_end|>", "\n</tool_call>", f"\n<tool_response>\n{WRONG}\n</tool_response>"))
    return text(f"{write(intent.code)}{after}")


def family_thought(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    """A draft in the thought of one family or another, perhaps one that the template opened, or nested."""
    opening, closing = rng.choice(list(THOUGHTS.values()))
    draft = f"Not `{closing}` yet.\n{rng.choice(list(CALLS.values()))(f'FINAL({WRONG})')}\nFINAL({WRONG})\n"
    begun = rng.choice((f"{opening}\n", "", f"{opening}\n{opening}\n"))
    ended = f"{closing}\nYes.\n{closing}\n" if begun.count(opening) > 1 else f"{closing}\n"
    spoken = proper(intent, dialect)
    return replace(spoken, text=f"{begun}{draft}{ended}{spoken.text}")


def slip_in_code(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    """Code that was indented, spaced or marked up by whatever wrote it."""
    if "\n" in intent.code or dialect == "tools":
        return proper(replace(intent, code="".join(f"    {line}\n" for line in intent.code.split("\n"))), dialect)
    marks = (f"```repl\n{intent.code}```", f"```repl {intent.code}```", f"> ```repl\n> {intent.code}\n> ```")
    return text(f"{intent.thought}\n\n{rng.choice(marks)}")


def thinking(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    """Thoughts with a draft in them, which must not count."""
    draft = f"Maybe\n{fence(f'FINAL({WRONG})')}\nor plainly\nFINAL({WRONG})\nHm, no. Or:\n```repl\nanswer = {WRONG}\n"
    spoken = proper(intent, dialect)
    opening = rng.choice(("<think>\n", "<thinking>", "", "<think>"))
    closing = "</thinking>" if opening == "<thinking>" else "</think>"
    if rng.random() < 0.3:
        return text(f"<think>\n{draft}")
    return replace(spoken, text=f"{opening}{draft}{closing}\n\n{spoken.text}")


def final_answer(intent: Intent, dialect: DialectName, rng: random.Random) -> ModelReply:
    if not intent.answer:
        return text(f"{fence(intent.code)}\n\nFinal Answer: {WRONG}")
    mark = rng.choice(("Final Answer:", "**Final Answer:**", "## Final answer\n", "FINAL ANSWER:", "FINAL:"))
    return text(f"I looked at every record.\n\n{mark} {intent.answer}")


KINDS: dict[str, Spoiler] = {
    "no code": no_code,
    "several fences": several_fences,
    "prose around": prose_around,
    "invented output": invented_output,
    "final in prose": final_in_prose,
    "repetition": repetition,
    "empty": empty,
    "broken JSON": broken_json,
    "unknown tool": unknown_tool,
    "wrong fence": wrong_fence,
    "fence in argument": fence_in_argument,
    "final of a name": final_name,
    "another language": foreign,
    "marked call": marked_call,
    "family's call": family_call,
    "family's thought": family_thought,
    "slip in code": slip_in_code,
    "thinking": thinking,
    "final answer": final_answer,
}
