"""`rlm logs export`: runs for other programs, into a file, to stdout, or to an OpenTelemetry collector."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Argument, Option

from rlm.cli.options import All, LogDir  # noqa: TC001 (Typer reads it at run time)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rlm.trajectory.index.folder import Index
    from rlm.trajectory.states import RunState

FORMATS = ("json", "csv", "otlp", "sft", "html")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What is exported, and to where."""

    kind: Annotated[
        str,
        Option(
            "--format",
            metavar="NAME",
            help="json, csv (rows are spans), otlp (OpenTelemetry), sft (chats), html (one run as one page).",
        ),
    ] = "json"
    output: Annotated[str, Option("--output", "-o", metavar="FILE", help="A new file; - is stdout.")] = "-"
    force: Annotated[bool, Option("--force", help="Replace the file if it exists.")] = False
    endpoint: Annotated[
        str | None,
        Option("--endpoint", metavar="URL", help="With otlp: a collector, such as http://localhost:4318/v1/traces."),
    ] = None
    content: Annotated[bool, Option("--content", help="With otlp: beginnings of prompts and code too.")] = False
    failed_too: Annotated[bool, Option("--failed-too", help="With sft: completions that failed or were cut.")] = False


def export(
    runs: Annotated[
        list[str] | None, Argument(metavar="[RUN]...", help="Ids of runs; every run of this project if none is given.")
    ] = None,
    options: ExportOptions = ExportOptions(),
    log_dir: LogDir = None,
    everywhere: All = False,
) -> int:
    """Export runs: whole as JSON, their spans as CSV or OpenTelemetry, conversations for training; a run as a page."""
    from rlm.cli.commands.logs import folder
    from rlm.cli.console import say
    from rlm.core.exceptions import ConfigError
    from rlm.trajectory.index.folder import Index
    from rlm.trajectory.reader import place_of

    if options.kind not in FORMATS:
        raise ConfigError(f"--format is one of {', '.join(FORMATS)}, not {options.kind!r}")
    if options.endpoint and options.kind != "otlp":
        raise ConfigError("--endpoint goes with --format otlp")
    if options.kind == "html" and len(runs or []) != 1:
        raise ConfigError("--format html takes one run: rlm logs export last --format html -o run.html")
    names, where = runs or [], folder(log_dir, everywhere=everywhere)
    if len(names) == 1:
        where, names[0] = place_of(names[0], where)
    with Index.open(where) as index:
        index.refresh()
        rows = _chosen(index, names, options)
        if options.endpoint:
            _send(index, rows, options)
        else:
            with _writing(options) as write:
                for piece in _pieces(index, rows, options):
                    write(piece)
    target = options.endpoint or options.output
    say(f"{len(rows)} runs exported" + ("" if target == "-" else f" to {target}"))
    return 0


def _chosen(index: Index, names: list[str], options: ExportOptions) -> list[RunState]:
    from rlm.trajectory.export import successful
    from rlm.trajectory.index.rows import RunQuery

    if names:
        return list({row.id: row for row in map(index.run, names)}.values())
    if options.kind == "sft" and not options.failed_too:
        return successful(index)
    return list(index.runs(RunQuery(limit=0)).rows)


def _pieces(index: Index, rows: list[RunState], options: ExportOptions) -> Iterator[str]:
    """The text of the export."""
    from rlm.trajectory.export import as_chats, as_csv

    match options.kind:
        case "csv":
            yield from as_csv(index, rows)
        case "sft":
            for row in rows:
                yield from as_chats(index.trajectory(row.id), failed_too=options.failed_too)
        case "otlp":
            import json

            yield from (json.dumps(batch) + "\n" for batch in _batches(index, rows, options))
        case "html":
            yield from (_page(index, row) for row in rows)
        case _:
            yield from _documents(index, rows)


def _page(index: Index, row: RunState) -> str:
    from rlm.cli.run_page import as_page
    from rlm.core.config import Config
    from rlm.secrets.masking import mask_secrets
    from rlm.trajectory.span_records import span_records

    found = index.trajectory(row.id)
    records = span_records(index.all_spans(row.id, limit=0).rows, map(found.whole, found))
    level: Literal["secrets", "pii"] = "pii" if Config.load().config.mask == "pii" else "secrets"
    return as_page(row, records, partial(mask_secrets, level=level))


def _documents(index: Index, rows: list[RunState]) -> Iterator[str]:
    from rlm.cli.run_json import as_document
    from rlm.trajectory.span_records import span_records

    for place, row in enumerate(rows):
        yield "[\n" if place == 0 else ",\n"
        records = span_records(index.all_spans(row.id, limit=0).rows, index.trajectory(row.id))
        yield as_document(row, records).rstrip("\n")
    yield "\n]\n" if rows else "[]\n"


def _batches(index: Index, rows: list[RunState], options: ExportOptions) -> Iterator[dict[str, Any]]:
    from rlm.trajectory.export_otlp import as_otlp

    for row in rows:
        yield from as_otlp(index, row, content=options.content)


def _send(index: Index, rows: list[RunState], options: ExportOptions) -> None:
    import asyncio

    from rlm.trajectory.export_collector import send

    asyncio.run(send(options.endpoint or "", _batches(index, rows, options), os.environ))


@contextmanager
def _writing(options: ExportOptions) -> Iterator[Callable[[str], object]]:
    """A function that writes text to the chosen output.

    Raises:
        ConfigError: the file exists already, or can't be written.
    """
    from rlm.cli.console import write_out
    from rlm.core.exceptions import ConfigError

    if options.output == "-":
        yield write_out
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if options.force else os.O_EXCL)
    try:
        fd = os.open(options.output, flags, 0o600)
    except OSError as error:
        hint = "\n--force replaces it" if isinstance(error, FileExistsError) else ""
        raise ConfigError(f"{options.output}: {error.strerror}{hint}") from error
    with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        yield file.write
