"""What clients send and get in the service's own protocol: one type each, from which requests are decoded and answers
made, and the OpenAPI document written."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

from rlm.core.types import Citation, Json  # noqa: TC001 (msgspec reads them at run time)
from rlm.runtime.control import Action, RunStatus  # noqa: TC001 (as above)

Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


RunState: TypeAlias = Literal["queued", "running", "paused", "completed", "limit", "failed", "cancelled", "refused"]


class FromClient(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The base of what clients send."""


class NewRun(FromClient, frozen=True):
    """A request for a run."""

    prompt: Annotated[str, Meta(min_length=1)]
    instructions: str = ""
    """What goes before the prompt."""
    context: Json = None
    """The data itself: a text, or a list or an object of JSON."""
    contexts: list[Digest] = []
    """Data that was uploaded, by its SHA-256."""
    paths: list[str] = []
    """Files and folders of the server, below those that the token may read."""
    images: list[str] = []
    """What the model sees beside the prompt, each in base64."""
    model: str | None = None
    sub_model: str | None = None
    output_schema: dict[str, Any] | None = None
    """The JSON schema that the answer has to fit."""
    budget: dict[str, Json] = {}
    """Caps by their names."""
    environment: str | None = None
    """The sandbox."""


class NewTask(NewRun, frozen=True, kw_only=True):
    """A task of a list: a request for a run that may need what others answered."""

    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")]
    """By which others need it."""
    needs: list[str] = []
    """Tasks that have to complete before it: their answers are its `context` by their ids, its own data `given`."""


class KeptRun(NewRun, frozen=True, kw_only=True):
    """A request as the service keeps it: for a run, or for a task."""

    id: str = ""
    needs: list[str] = []


class NewTaskList(FromClient, frozen=True):
    """Tasks that are run as soon as what they need has completed."""

    tasks: Annotated[list[NewTask], Meta(min_length=1)]


class NewAct(FromClient, frozen=True):
    """Something that is to be done with a run in progress."""

    action: Action
    why: str = ""
    cap: str = ""
    value: Json = None
    text: str = ""
    child: str = ""


Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]


class PageQuery(Struct, frozen=True, kw_only=True):
    """Which runs are listed, and how."""

    limit: Count = 50
    before: str = ""
    """The `next` of the page before."""
    state: RunState | None = None
    model: str | None = None
    since: float | None = None
    """Those that were asked for then or later, in seconds since the epoch."""
    until: float | None = None
    """Those that were asked for before then, in seconds since the epoch."""
    text: str | None = None
    """Those whose prompt has it in its first 1,000 characters, in capitals or not."""
    format: Literal["json", "csv"] = "json"


class ResultQuery(Struct, frozen=True, kw_only=True):
    """How long to wait for a result."""

    wait: Annotated[float, Meta(ge=0)] = 0
    """In seconds; 0: not at all."""


class EventsQuery(Struct, frozen=True, kw_only=True):
    """Which events are sent."""

    after: Annotated[int, Meta(ge=-1)] = -1
    """The number of the last event that is known, for clients that can't send Last-Event-ID."""


class ResultNote(Struct, frozen=True, kw_only=True):
    """What a run came to."""

    status: str
    """completed, limit, failed or cancelled."""
    response: str
    """The answer as text: with another status than completed, the best there was, perhaps empty."""
    value: Json = None
    limit: str | None = None
    error: str | None = None
    usage: dict[str, int] = {}
    cost_usd: float | None = None
    """None where a price is unknown."""
    duration_s: float = 0.0
    run_id: str = ""
    """The id of the record, which is another than that of the request where that was cut off and resumed."""
    sources: list[Citation] = []
    """What the answer rests on, where it names that, each looked for in the data."""


class RunNote(Struct, frozen=True, kw_only=True):
    """A run, as it stands."""

    id: str
    state: str
    """queued, running, paused, completed, limit, failed, cancelled or refused."""
    created_at: float
    """Seconds since the epoch."""
    prompt: str
    """Its beginning."""
    model: str
    ended_at: float | None = None
    progress: RunStatus | None = None
    """What it does and has spent, while it goes on."""
    result: ResultNote | None = None
    """Once it has ended."""


class ListedRun(Struct, frozen=True, kw_only=True):
    """A task of a list, and its run."""

    task: str
    """Its id in the list."""
    run: RunNote


class TaskListNote(Struct, frozen=True, kw_only=True):
    """A task list, as it stands."""

    id: str
    state: str
    """running, paused, queued, completed, or what keeps it from having completed."""
    tasks: list[ListedRun]


class RunPage(Struct, frozen=True, kw_only=True):
    """Some runs, the newest first."""

    runs: list[RunNote]
    next: str | None = None
    """What to give as `before` for those that follow; null: there are no more."""


class UploadNote(Struct, frozen=True, kw_only=True):
    """Data that was uploaded."""

    id: Digest
    """Its SHA-256."""
    size_bytes: int
    expires_at: float


class UploadPage(Struct, frozen=True, kw_only=True):
    """All data of a token that was uploaded."""

    contexts: list[UploadNote]


class ProblemDetails(Struct, frozen=True, kw_only=True):
    """An error, as RFC 9457 has it."""

    title: str
    status: int
    detail: str
    type: str = "about:blank"


class Health(Struct, frozen=True, kw_only=True):
    """That the service answers."""

    status: Literal["ok"] = "ok"
