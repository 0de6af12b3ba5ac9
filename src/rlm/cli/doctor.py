"""`rlm doctor`: say whether a run could work here, and how to get what is missing. Never shows a key."""

from __future__ import annotations

import json
from typing import Annotated

from typer import Option


def doctor(as_json: Annotated[bool, Option("--json", help="One JSON object.")] = False) -> int:
    """Check whether a run could work here.

    Looks at Python, the configuration, the model and its key, the sandbox, and the folder for records. Exits 0 if one
    could, else with the code that the run would exit with.
    """
    from dataclasses import asdict

    from rlm.cli.checks import all_checks
    from rlm.cli.console import write_out
    from rlm.trajectory.plain import plain

    checks = all_checks()
    code = next((check.exit_code for check in checks if not check.ok), 0)
    if as_json:
        write_out(json.dumps({"ok": code == 0, "checks": [asdict(check) for check in checks]}, indent=2) + "\n")
        return code
    for check in checks:
        mark = "ok  " if check.ok else "FAIL" if check.exit_code else "-   "
        write_out(f"{mark}  {check.name:<14}  {plain(check.detail)}\n")
        for line in check.hint.splitlines():
            write_out(f"      {'':<14}  {plain(line)}\n")
    write_out("a run could work here\n" if code == 0 else "a run can't work here yet\n")
    return code
