"""What cells have for work on parts: `chunks` cuts a text, and `llm_map` asks one question of each part in a batch."""

from __future__ import annotations

import builtins
import json
from typing import TYPE_CHECKING, Any

from rlm.repl.guest.errors import SubcallError, with_advice

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from rlm.repl.guest.awaiting import Forms

    Steps = Generator[tuple[str, Any, dict[str, Any]], Any, Any]

__builtins__ = vars(builtins).copy()  # type: ignore[assignment]

MAP, CHUNKS = "llm_map", "chunks"
_BATCH, _ASK = "llm_query_batched", "llm_query"
_CHUNK_CHARS = 100_000
_dumps = json.dumps
_NO_METHOD = "'str' object has no attribute '{}'"
_INSTEAD = {
    "chunks": "chunks(text, 100_000) cuts a text",
    "search": "re.finditer(pattern, text) finds a pattern, text.find(words) words",
    "findall": "re.findall(pattern, text) does that",
    "lines": "text.splitlines()[first:last] gives lines",
}
"""What a text doesn't have and models take it to have, and what does that."""
_NO_NAME = "name '{}' is not defined"
_NAMES = ("FINAL", "FINAL_VAR", "llm_query", "llm_query_batched", "rlm_query", MAP, CHUNKS, "context")
"""Names that models write in other cases."""
_SPELLINGS = {
    _NO_NAME.format(written): name
    for name in _NAMES
    for written in (name.lower(), name.upper(), name.title())
    if written != name  # else it isn't there at all
}


def advised(error: dict[str, str]) -> dict[str, str]:
    """The description of an error, with what to write where a method was called that a text doesn't have, or a name was
    written in other cases.
    """
    said = ""
    if error["kind"] == "AttributeError":
        said = next((_INSTEAD[name] for name in _INSTEAD if error["message"] == _NO_METHOD.format(name)), "")
    elif error["kind"] == "NameError" and (name := _SPELLINGS.get(error["message"])) is not None:
        said = f"its name is {name}"
    return with_advice(error, said) if said else error


def chunks(text: str, chars: int = _CHUNK_CHARS, overlap: int = 0) -> list[str]:
    """The text in pieces of at most `chars` characters, cut behind the last line end of their second half where there
    is one. Each begins with the last `overlap` characters of the one before.
    """
    if not isinstance(text, str):
        raise TypeError(f"chunks cuts a str, not a {type(text).__name__}; a list is cut by slices: x[:100], x[100:200]")
    if chars < 1 or not 0 <= overlap < chars:
        raise ValueError(f"chunks needs at least one character, and less overlap than that: {chars}, {overlap}")
    pieces, start = [], 0
    while start + chars < len(text):
        end = start + chars
        end = text.rfind("\n", max(start + overlap, end - chars // 2), end) + 1 or end
        pieces.append(text[start:end])
        start = end - overlap
    return [*pieces, text[start:]] if text else []


def functions_over_parts(
    functions: Mapping[str, Callable[..., Any]], forms: Forms, data: Any = None
) -> dict[str, Callable[..., Any]]:
    """The functions by their names: `chunks`, and `llm_map` where cells can ask a model; `data` is the context."""
    if _BATCH not in functions or _ASK not in functions:
        return {CHUNKS: chunks}

    def llm_map(question: str, parts: Any, reduce: Any = None, **options: Any) -> Any:
        return _run(_steps(question, _texts(parts, data), reduce, options), functions)

    async def form(question: str, parts: Any, reduce: Any = None, **options: Any) -> Any:
        return await _run_async(_steps(question, _texts(parts, data), reduce, options), functions, forms)

    for function in (llm_map, form):
        function.__name__ = function.__qualname__ = MAP
        function.__module__ = "__repl__"
    forms.put(llm_map, form)
    return {CHUNKS: chunks, MAP: llm_map}


def _steps(question: Any, texts: list[str], reduce: Any, options: dict[str, Any]) -> Steps:
    """The calls of one map: each yields what to call, and is sent the answer."""
    if not isinstance(question, str):
        raise TypeError(f"{MAP}: the question must be a str, not a {type(question).__name__}: {MAP}(question, parts)")
    prompts = [f"{question}\n\n{text}" for text in texts]
    answers = yield _BATCH, prompts, options
    if reduce is None:
        return answers
    if callable(reduce):
        return reduce(answers)
    failed = [answer for answer in answers if isinstance(answer, SubcallError)]
    if failed and len(failed) == len(answers):
        raise failed[0]
    options = {key: options[key] for key in options if key == "model"}
    return (yield _ASK, f"{reduce}\n\n{_joined(answers)}", options)


def _run(steps: Steps, functions: Mapping[str, Callable[..., Any]]) -> Any:
    answer = None
    while True:
        try:
            name, asked, options = steps.send(answer)
        except StopIteration as end:
            return end.value
        answer = functions[name](asked, **options)


async def _run_async(
    steps: Steps,
    functions: Mapping[str, Callable[..., Any]],
    forms: Forms,
) -> Any:
    answer = None
    while True:
        try:
            name, asked, options = steps.send(answer)
        except StopIteration as end:
            return await end.value if hasattr(end.value, "__await__") else end.value
        answer = await forms.find(functions[name])(asked, **options)


def _texts(parts: Any, data: Any) -> list[str]:
    """The parts as texts: those of a dict under their names, and a str in chunks."""
    if (
        isinstance(data, dict)
        and isinstance(parts, (list, tuple))
        and parts
        and all(_is_key(part, data) for part in parts)
    ):
        raise ValueError(
            f"{MAP}: these parts are names of texts in context, and a sub-model would see the names alone: "
            f"give it context itself, or [context[name] for name in names]"
        )
    if isinstance(parts, str):
        return chunks(parts)
    if isinstance(parts, dict):
        return [f"--- {name} ---\n{_text(part)}" for name, part in parts.items()]
    if not hasattr(parts, "__iter__") or isinstance(parts, bytes):
        raise TypeError(f"{MAP}: parts must be a list of texts, not a {type(parts).__name__}")
    return [_text(part) for part in parts]


def _is_key(part: Any, data: dict[Any, Any]) -> bool:
    return isinstance(part, str) and part in data


def _text(part: Any) -> str:
    if isinstance(part, (dict, list, tuple)):
        return _dumps(part, ensure_ascii=False, default=str)
    return str(part)


def _joined(answers: list[Any]) -> str:
    """The answers by number, for one more question; of a failed one it is said that it failed."""
    return "\n\n".join(
        f"[{number}] {f'(no answer: {answer})' if isinstance(answer, SubcallError) else _text(answer)}"
        for number, answer in enumerate(answers, 1)
    )
