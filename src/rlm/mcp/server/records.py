"""The records of runs and sessions as resources: a list, and each by its id, cut to what a client can take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp.server.mcpserver.exceptions import ResourceNotFoundError

from rlm.core.exceptions import ConfigError
from rlm.core.plain import one_line
from rlm.trajectory.places import log_folder
from rlm.trajectory.reader import find_run, list_runs

if TYPE_CHECKING:
    from mcp.server import MCPServer

    from rlm.core.config import Config
    from rlm.trajectory.reader import Trajectory

RECORD_BYTES = 1 << 20
RUNS_LISTED = 50
LIST_URI, RUN_URI = "rlm://runs", "rlm://runs/{run}"


def uri_of(run_id: str) -> str:
    """The resource that is the record of a run."""
    return RUN_URI.format(run=run_id)


def add_records(server: MCPServer[None], config: Config) -> None:
    """Offer the records of this project, or those in the configured folder."""
    folder = log_folder(config.log_dir)

    @server.resource(LIST_URI, name="runs", mime_type="text/plain")
    def runs() -> str:
        """The latest runs and sessions, one a line: id and task."""
        return "\n".join(_listed(run) for run in list_runs(folder)[:RUNS_LISTED]) or "no runs yet"

    @server.resource(RUN_URI, name="run", mime_type="application/jsonl")
    def record(run: str) -> str:
        """The record of one run: an event a line, as docs/events.md says."""
        try:
            return _record(find_run(folder, run))
        except ConfigError as error:
            raise ResourceNotFoundError(str(error)) from error


def _listed(run: Trajectory) -> str:
    prompts = (getattr(event.body, "prompt", None) for event in run)
    return f"{run.run_id}  {one_line(next((text for text in prompts if text), ''), 100)}"


def _record(run: Trajectory) -> str:
    with run.path.open("rb") as file:
        content = file.read(RECORD_BYTES + 1)
    if len(content) <= RECORD_BYTES:
        return content.decode("utf-8", "replace")
    whole = content[:RECORD_BYTES].rpartition(b"\n")[0]
    cut = f'{{"cut": "the first {RECORD_BYTES:,} bytes; the rest is in {run.path}"}}'
    return f"{whole.decode('utf-8', 'replace')}\n{cut}"
