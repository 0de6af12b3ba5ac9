"""`rlm verify`: whether a record is as it was written."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

from typer import Option

from rlm.cli.commands.logs import RunName  # noqa: TC001 (Typer reads it at run time)
from rlm.cli.options import LogDir  # noqa: TC001

if TYPE_CHECKING:
    from rlm.trajectory.receipts import Verification


def verify(
    run: RunName = "last",
    log_dir: LogDir = None,
    as_json: Annotated[bool, Option("--json", help="The outcome as a JSON object.")] = False,
) -> int:
    """Check that no line, blob or artifact of a record was altered, removed, added or moved.

    Exits 0 if everything is as it was written, as far as the run went; 1 if not, and names the first line that isn't;
    2 if that can't be told: there are no receipts, or the key is another. A run that had RLM_RECEIPT_KEY set is checked
    with the same key.
    """
    from rlm.cli.commands.logs import record_of
    from rlm.cli.console import write_out
    from rlm.trajectory import receipts
    from rlm.trajectory.chain import receipt_key

    found = receipts.verify(record_of(run, log_dir).path, receipt_key(os.environ))
    if as_json:
        write_out(json.dumps(asdict(found), indent=2) + "\n")
    else:
        write_out(_sentence(found))
    return found.exit_code


def _sentence(found: Verification) -> str:
    from rlm.core.plain import one_line

    scheme = f" ({found.scheme})" if found.scheme else ""
    return f"run {found.run_id[:12]}: {one_line(found.message, 300)}{scheme}\n"
