"""A scripted model that can do every task of the suite. It works as a real model does: it looks, computes, checks what
it is shown, and tries a step again where the result isn't what that step should have printed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmarks.suite.tasks import Task
from rlm.core.types import Message, ModelRequest

LOADERS = {
    "list": "records = [dict(r) for r in context]",
    "text": 'records = [dict(re.findall(r"(\\w+)=([^|\\n]*[^|\\s])", line)) for line in context.split("\\n")]',
    "files": 'lines = [line for text in context.values() for line in text.split("\\n")]\n'
    'records = [dict(re.findall(r"(\\w+)=([^|\\n]*[^|\\s])", line)) for line in lines]',
}
LOOKED, COMPUTED = "looked at", "computed:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What the model wants to do next, in no dialect yet."""

    thought: str
    code: str = ""
    answer: str = ""
    """Set where the model knows the answer; `code` then gives it by FINAL."""


class Policy:
    """One model at one task: a function from what it was last shown to what it wants to do."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._loaded = False
        self._answer = ""

    def next(self, request: ModelRequest) -> Intent:
        """Read the results since the last reply, and go on from there."""
        shown = _shown(request.messages)
        self._read(shown)
        if "The run ends here" in shown:
            return Intent(thought="", answer=self._answer or "unknown")
        if not self._loaded:
            code = f'import re\n{LOADERS[self._task.shape]}\nprint("{LOOKED}", len(records), "records")'
            return Intent(thought="First I look at the data.", code=code)
        if not self._answer:
            code = f'{self._task.solution}\nprint("{COMPUTED}", answer)'
            return Intent(thought="Now I compute the answer.", code=code)
        return Intent(thought="This is the answer.", code="FINAL(answer)", answer=self._answer)

    def _read(self, shown: str) -> None:
        if "NameError" in shown:  # the step before did not run after all
            self._loaded, self._answer = self._loaded and bool(self._answer), ""
        elif found := re.search(rf"^{COMPUTED} (.+)$", shown, re.MULTILINE):
            self._answer = found[1]
        self._loaded = self._loaded or bool(re.search(rf"^{LOOKED} \d+ records", shown, re.MULTILINE))


def sub_model(request: ModelRequest) -> str:
    """Answers what the suite's code asks by `llm_query`: how many lines have a city and a status."""
    question, _, lines = request.messages[-1].content.partition("\n")
    wanted = re.findall(r"\w+=\w+", question)
    return str(sum(all(part in line.split(" | ") for part in wanted) for line in lines.split("\n")))


def _shown(messages: tuple[Message, ...]) -> str:
    """Everything after the model's last reply."""
    last = max((n for n, message in enumerate(messages) if message.role == "assistant"), default=len(messages) - 1)
    return "\n".join(message.content for message in messages[last + 1 :])
