"""What a finished run leaves behind: its answer on stdout, what there is to say of it on stderr, and an exit code."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlm.cli.citing import with_sources
from rlm.cli.console import OutputLost, ReaderGone, answer, complain, counted, say, trace
from rlm.core.exceptions import RLMError
from rlm.core.texts import escape_surrogates
from rlm.core.whole_files import replace_file

if TYPE_CHECKING:
    from rlm.core.outcome import RLMResult
    from rlm.core.types import Json

OK, FAILED, LIMIT = 0, 1, 3
_RAISE = {
    "timeout_s": "--timeout",
    "cost_budget_usd": "--cost-budget-usd",
}


def result_line(result: RLMResult) -> bytes:
    """The result as one line of JSON in ASCII, whatever is in it."""
    usage = result.usage
    fields = {
        "type": "result",
        "status": result.status,
        "response": result.response,
        "value": result.value,
        "sources": [asdict(source) for source in result.sources],
        "limit": result.limit,
        "error": None if result.error is None else f"{type(result.error).__name__}: {result.error}",
        "usage": {name: getattr(usage, name) for name in usage.__slots__},
        "cost_usd": result.cost_usd,
        "duration_s": round(result.duration_s, 3),
        "warnings": list(result.warnings),
        "run_id": result.run_id,
        "trajectory": None if result.trajectory is None else str(result.trajectory),
    }
    return json.dumps(_jsonable(fields)).encode()


def print_answer(result: RLMResult, *, as_json: bool, out: str | None = None) -> bool:
    """Write the answer, the best there is, to the file `out` or else to stdout, and return whether it could be; where
    it is left unread, say where it is."""
    text = result_line(result).decode() if as_json else with_sources(result.response, result.sources)
    again = f"the answer is in the record: rlm logs answer {result.run_id}"
    if out is not None:
        return _written(text, out, again)
    try:
        answer(text)
    except ReaderGone:
        say(f"nobody read the answer; {again}")
    except OutputLost as lost:
        complain(f"{lost}\n{again}")
        return False
    return True


def _written(text: str, out: str, again: str) -> bool:
    """Write an answer to a file, whole or not at all; an answer that is empty leaves the file as it was."""
    if not text:
        return True
    try:
        content = text if text.endswith("\n") else text + "\n"
        replace_file(Path(out), content.encode("utf-8", "backslashreplace"), mode=0o644)
    except OSError as error:
        complain(f"{out} can't be written: {error.strerror}\n{again}")
        return False
    return True


def explain(result: RLMResult, *, signal_code: int, brief: bool) -> int:
    """Say on stderr how the run ended, and return the exit code; `brief` leaves out what went well."""
    if result.status == "completed":
        if not brief:
            say(f"{_totals(result)} · record: {_shown(result.trajectory)}")
        return OK
    if result.trajectory is None:
        complain(f"{_reason(result.error)}\nno model was called, and there is no record")
        return _exit_code(result, signal_code)
    if result.status == "limit":
        name = result.limit or "a limit"
        option = _RAISE.get(name, "--" + name.replace("_", "-"))
        what = "the answer above is the best so far" if result.response else "there is no answer yet"
        complain(f"{name} is reached after {_totals(result)}; {what}\n{_way_on(result, name, option)}")
    elif result.status == "cancelled":
        complain(f"cancelled after {_totals(result)}\nrlm resume {result.run_id} goes on from here")
    else:
        if result.error is not None:
            trace(result.error)
        complain(_reason(result.error))
    say(f"record: {_shown(result.trajectory)}")
    return _exit_code(result, signal_code)


def _shown(path: Path | None) -> str:
    """A path, with `~` for the user's home, as a shell takes it."""
    home = os.environ.get("HOME", "").rstrip("/")
    text = str(path)
    return f"~{text.removeprefix(home)}" if home and text.startswith(f"{home}/") else text


def _way_on(result: RLMResult, name: str, option: str) -> str:
    if name == "no_progress":
        return f"rlm fork {result.run_id} --turn N --prompt-addition TEXT gives it a hint"
    return f"raise it to go on from here: rlm resume {result.run_id} {option} ..."


def _reason(error: Exception | None) -> str:
    if error is None:
        return "the run failed"
    return str(error) if isinstance(error, RLMError) else f"{type(error).__name__}: {error}"


def _exit_code(result: RLMResult, signal_code: int) -> int:
    if result.status == "limit":
        return LIMIT
    if result.status == "cancelled":
        return signal_code
    return result.error.exit_code if isinstance(result.error, RLMError) else FAILED


def _totals(result: RLMResult) -> str:
    usage = result.usage
    parts = [counted(usage.turns, "turn"), f"{usage.input_tokens + usage.output_tokens:,} tokens"]
    if result.cost_usd is not None:
        parts.append(f"${result.cost_usd:.4f}")
    return ", ".join([*parts, f"{result.duration_s:.1f} s"])


def _jsonable(value: Any) -> Json:
    """`value` as JSON that every parser takes: no NaN, no half of a character, no number that Python can't write."""
    if isinstance(value, str):
        return escape_surrogates(value)
    if isinstance(value, dict):
        return {escape_surrogates(str(key)): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, int) and value.bit_length() > 10_000:
        return hex(value)
    return value if value is None or isinstance(value, (int, float)) else escape_surrogates(repr(value))
