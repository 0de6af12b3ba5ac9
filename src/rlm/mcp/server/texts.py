"""What hosts and their models are told of the server: its instructions, and the prompt that teaches the loop."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.config import Config

INSTRUCTIONS = """\
A sandboxed Python REPL that keeps its variables, for data too large to read: logs, exports, repositories. \
load_context puts files into the variable `context` without their text passing through the conversation; \
execute_python works on it. First look at sizes and small slices; search, filter, count and group in code; keep \
results in variables and print little. Where meaning must be read, have code call llm_query_batched over parts of \
about 2,000 to 8,000 characters, few enough to be worth it. """
HOST_ANSWERS = """\
You are the model behind llm_query: when a cell asks, its result lists the queries; answer them with answer_queries, \
and the cell goes on."""
MODEL_ANSWERS = """\
A configured model answers llm_query; run_rlm has it do a whole task by itself."""
HELPERS = """ \
In cells, fs, code, transform and git work in bulk on the user's files and give back counts and lines (dir(fs) lists \
the calls, a wrong argument is answered with those a call takes; paths are relative; rights: {rights}; fs.undo() takes \
an edit back). The files are those below {folders}."""
TABLES = """ \
In cells, tables.sql(query) asks {count} files of rows by SQL; tables.list() and tables.describe(name) tell of them."""
MOST_BYTES = 2_000
"""The size of the instructions in UTF-8: Claude Code cuts them off at 2 KB."""

_AND = ", "
PROMPT_DESCRIPTION = "How to answer a question over data that is too large to read."

_PROMPT = """\
Task: {task}
{data}
Work like this, with the tools of the server rlm:
1. load_context with the file, folder or glob. Its text does not come into this conversation.
2. execute_python: look at the kind, the sizes and a few small slices of `context`.
3. Decide what code can decide: search, filter, count, group, parse. Keep results in variables.
4. Where text must be understood, cut it into parts and call llm_query_batched([...]) in a cell: each prompt has the \
question, the part, and the form of the answer. If the result of the cell lists queries, answer each from its own text \
and hand them in with answer_queries until the cell ends.
5. rlm_query(prompt, part) hands a large part to a child that works like this in a REPL of its own.
6. Check the answer with code, against the data, before you give it. Never invent output.
"""


def instructions(config: Config, *, asks_host: bool) -> str:
    """What a host's model is told of the server before anything else."""
    text = INSTRUCTIONS + (HOST_ANSWERS if asks_host else MODEL_ANSWERS)
    if config.tables:
        text += TABLES.format(count=len(config.tables))
    if not config.allowed_paths:
        return text
    rights = ", ".join(config.helper_rights)
    room_bytes = MOST_BYTES - _size_bytes(text + HELPERS.format(rights=rights, folders=""))
    return text + HELPERS.format(rights=rights, folders=_first_of(config.allowed_paths, room_bytes))


def _first_of(folders: Sequence[str], room_bytes: int) -> str:
    """As many of the folders as there is room for, and how many more there are."""
    ends = accumulate(_size_bytes(folder) + len(_AND) for folder in folders)
    shown = [folder for folder, end in zip(folders, ends, strict=True) if end <= room_bytes + len(_AND)]
    while shown and _size_bytes(_listed(shown, len(folders))) > room_bytes:
        shown.pop()
    return _listed(shown, len(folders))


def _listed(shown: Sequence[str], count: int) -> str:
    more = count - len(shown)
    if not shown:
        return f"{count} allowed folders"
    return _AND.join(shown) + (f" and {more} more" if more else "")


def _size_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def prompt(task: str, path: str = "") -> str:
    """The prompt that teaches the loop, for one task."""
    data = f"Data: {path}" if path else "Data: ask which file or folder, if the task does not say."
    return _PROMPT.format(task=task, data=data)
