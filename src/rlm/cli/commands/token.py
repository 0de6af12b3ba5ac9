"""`rlm token`: who else may use the service of this user, and what each may do."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TypeAlias

from typer import Argument, Option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rlm.service.state import ServiceState

Name: TypeAlias = Annotated[str, Argument(metavar="NAME", help="The name of the token.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RightOptions:
    """What a token may do."""

    models: Annotated[
        list[str] | None,
        Option("--models", metavar="NAME", help="A model that its runs may use, the first by default; repeatable."),
    ] = None
    folders: Annotated[
        list[str] | None,
        Option("--folders", metavar="PATH", help="A folder that its runs may have as context; repeatable."),
    ] = None
    cost_budget_usd_per_day: Annotated[
        float | None,
        Option("--cost-budget-usd-per-day", metavar="USD", help="What its runs may cost in a day (UTC)."),
    ] = None
    max_runs: Annotated[
        int | None, Option("--max-runs", metavar="N", help="How many of its runs may be in progress or wait.")
    ] = None


def add(name: Name, given: RightOptions) -> int:
    """Make a token; it is shown this once, on stdout."""
    import os

    import msgspec

    from rlm.cli.console import write_out
    from rlm.core.exceptions import ConfigError
    from rlm.service.tokens import Rights, add_token

    folders = [os.path.realpath(folder) for folder in given.folders or ()]
    asked = {
        "models": given.models,
        "folders": folders,
        "cost_budget_usd_per_day": given.cost_budget_usd_per_day,
        "max_runs": given.max_runs,
    }
    try:
        rights = msgspec.convert(asked, Rights)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the token can't have those rights: {error}") from error
    with _state() as state:
        write_out(f"{add_token(state, name, rights)}\n")
    return 0


def list_tokens() -> int:
    """List the tokens and what each may do; none can be shown again."""
    from rlm.cli.console import say, write_out
    from rlm.cli.moments import local_time

    with _state() as state:
        rows = state.tokens()
    for row in rows:
        revoked = "" if row.revoked_at is None else f", revoked {local_time(row.revoked_at)}"
        write_out(f"{row.name}  made {local_time(row.created_at)}{revoked}  {row.rights.decode()}\n")
    if not rows:
        say("there is the owner's token alone: rlm token add NAME makes another")
    return 0


def revoke(name: Name) -> int:
    """Let a token open nothing any more, at once; what its runs left stays."""
    from rlm.cli.console import say
    from rlm.core.exceptions import ConfigError

    with _state() as state:
        if not state.revoke(name):
            raise ConfigError(f"there is no valid token {name!r}\nrlm token list shows those that there are")
    say(f"{name} opens nothing any more")
    return 0


@contextmanager
def _state() -> Iterator[ServiceState]:
    import os

    from rlm.runtime.serving import service_folder
    from rlm.service.state import ServiceState

    opened = ServiceState(service_folder(os.environ))
    try:
        yield opened
    finally:
        opened.close()
