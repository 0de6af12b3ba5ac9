"""What an engine and its workers say to each other: JSON, and nothing that a process could be made to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from rlm.core.config import Config
from rlm.core.error_texts import error_text, revived
from rlm.core.exceptions import ConfigError
from rlm.core.outcome import RLMResult
from rlm.core.types import Json, RunUsage, Status
from rlm.jobs.engines.ended import value_of
from rlm.runtime.control import Act  # noqa: TC001 (as above)
from rlm.runtime.request import Request
from rlm.trajectory.places import log_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rlm.core.events import CompletionEnd


class RunAsked(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A run that a worker is to make."""

    run_id: str
    config: Json
    prompt: str = ""
    context: Json = None
    files: list[str] = []
    """Paths that every node sees, in the place of a context."""
    output_schema: Json = None
    resumes: str = ""
    """The path of the record with which it goes on; what was asked is in there."""
    on_divergence: str = "stop"
    acts: list[Act] = []
    """What is done with it as soon as it has begun."""
    token_lease: int | None = None
    """So many tokens of those that many runs share are its own."""
    cost_lease_usd: float | None = None


class RunAnswered(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a run came to, or why none could be made."""

    refused: str = ""
    """Class and message of the error."""
    status: Status = "failed"
    response: str = ""
    value: Json = None
    limit: str | None = None
    error: str | None = None
    usage: dict[str, int] = {}
    cost_usd: float | None = None
    duration_s: float = 0.0
    run_id: str = ""
    record: str = ""
    warnings: list[str] = []


class Probed(Struct, frozen=True, kw_only=True):
    """What a worker finds on its node."""

    rlm_version: str
    python: str
    node: str
    fault: str = ""
    """Why it can make no runs."""


def asked_of(request: Request, acts: Sequence[Act]) -> RunAsked:
    """A request as a worker is told it.

    Raises:
        ConfigError: it can't be sent: its data is neither JSON nor in files, or it has images.
    """
    if request.run_id is None or request.is_interactive or request.images:
        raise ConfigError("a run on a cluster takes no images, and its cells come from a model")
    folder = log_folder(request.config.log_dir).absolute()
    config = msgspec.structs.replace(request.config, log_dir=str(folder))
    common: dict[str, Any] = {"run_id": request.run_id, "config": _plain(config), "acts": list(acts)}
    if (resumption := request.resumption) is not None:
        record = folder / f"{resumption.record.run_id}.jsonl"
        return RunAsked(resumes=str(record), on_divergence=resumption.rules.on_divergence, **common)
    given = request.context
    paths = given if isinstance(given, list) and given and all(isinstance(each, Path) for each in given) else [given]
    if all(isinstance(each, Path) for each in paths):
        common["files"] = [str(path.absolute()) for path in paths]
    else:
        common["context"] = _plain(given)
    return RunAsked(prompt=request.prompt, output_schema=_plain(request.output_type), **common)


def request_of(asked: RunAsked) -> Request:
    """The request of a run that begins anew.

    Raises:
        ConfigError: it is wrong.
    """
    paths = list(map(Path, asked.files))
    return Request(
        prompt=asked.prompt,
        context=(paths if len(paths) > 1 else paths[0]) if paths else asked.context,
        output_type=asked.output_schema,
        config=config_of(asked),
        run_id=asked.run_id,
    )


def config_of(asked: RunAsked) -> Config:
    """The settings of a run."""
    return msgspec.convert(asked.config, Config)


def answer_of(result: RLMResult) -> RunAnswered:
    """A result as the engine is told it."""
    return RunAnswered(
        status=result.status,
        response=result.response,
        value=_plain(result.value),
        limit=result.limit,
        error=None if result.error is None else error_text(result.error),
        usage={name: getattr(result.usage, name) for name in RunUsage.__slots__},
        cost_usd=result.cost_usd,
        duration_s=result.duration_s,
        run_id=result.run_id,
        record="" if result.trajectory is None else str(result.trajectory),
        warnings=list(result.warnings),
    )


def answer_in(record: Path, end: CompletionEnd) -> RunAnswered:
    """What a run came to that has ended, as its record has it."""
    return RunAnswered(
        status=end.status,
        response=end.response,
        value=value_of(record, end),
        limit=end.limit,
        error=end.error,
        usage={name: getattr(end.usage, name) for name in RunUsage.__slots__},
        cost_usd=end.cost_usd,
        duration_s=end.duration_s,
        run_id=record.stem,
        record=str(record),
    )


def result_of(answered: RunAnswered) -> RLMResult:
    """The result that a worker told.

    Raises:
        RLMError: no run could be made.
    """
    if answered.refused:
        raise revived(answered.refused)
    return RLMResult(
        status=answered.status,
        response=answered.response,
        value=answered.value,
        limit=answered.limit,
        error=None if answered.error is None else revived(answered.error),
        usage=RunUsage(**answered.usage),
        cost_usd=answered.cost_usd,
        duration_s=answered.duration_s,
        run_id=answered.run_id,
        trajectory=Path(answered.record) if answered.record else None,
        warnings=tuple(answered.warnings),
    )


def _plain(value: Any) -> Any:
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, msgspec.MsgspecError, RecursionError) as error:
        raise ConfigError(f"only JSON goes to a cluster: {error}\ngive data as a text, as JSON or as files") from error
