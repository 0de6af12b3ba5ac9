"""`rlm doctor`: say whether a run could work here, and how to get what is missing. Never shows a key."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

from typer import Option

if TYPE_CHECKING:
    from rlm.cli.checks import Check
    from rlm.runtime.conformance import Conformance


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTrial:
    """Which model to try, and whether to save what the trial recommends."""

    model: Annotated[
        str | None,
        Option("--model", "-m", metavar="NAME", help="Try this model in a few cheap runs, which cost what they cost."),
    ] = None
    save: Annotated[bool, Option("--save", help="Write what is recommended for it into rlm.toml.")] = False


def doctor(trial: ModelTrial, as_json: Annotated[bool, Option("--json", help="One JSON object.")] = False) -> int:
    """Check whether a run could work here.

    Looks at Python, the configuration, the model and its key, every sandbox, and the folder for records. Exits 0 if a
    run could work with the sandbox that it would use, else with the code that it would exit with. With --model, tries
    that model instead: which dialect it follows, whether it batches and ends as it should; exits 1 if it follows none.
    """
    from rlm.cli.checks.machine import all_checks
    from rlm.core.exceptions import ConfigError

    if trial.model is not None:
        return _try_model(trial.model, as_json=as_json, save=trial.save)
    if trial.save:
        raise ConfigError("--save needs --model: it saves what is recommended for a model")
    checks = all_checks()
    code = next((check.exit_code for check in checks if not check.ok and check.exit_code), 0)
    _show_json({"ok": code == 0, "checks": [asdict(check) for check in checks]}) if as_json else _show(checks, code)
    return code


def _show_json(found: object) -> None:
    from rlm.cli.console import write_out

    write_out(json.dumps(found, indent=2) + "\n")


def _show(checks: list[Check], code: int) -> None:
    from rlm.cli.console import write_out
    from rlm.core.plain import plain

    for check in checks:
        mark = "ok  " if check.ok else "FAIL" if check.exit_code else "-   "
        name = f"  {check.name}" if check.part_of else check.name
        write_out(f"{mark}  {name:<14}  {plain(check.detail)}\n")
        for line in check.hint.splitlines():
            write_out(f"      {'':<14}  {plain(line)}\n")
    write_out("a run could work here\n" if code == 0 else "a run can't work here yet\n")


def _try_model(model: str, *, as_json: bool, save: bool) -> int:
    import tempfile

    from rlm.cli.console import say
    from rlm.cli.project_file import save_settings
    from rlm.core.config import Config
    from rlm.runtime.conformance import Trials

    with tempfile.TemporaryDirectory(prefix="rlm-trials-") as log_dir:
        conformance = Trials(model, Config.load().config, log_dir).run()
    _show_json(asdict(conformance)) if as_json else _show_conformance(conformance)
    if save and conformance.ok:
        say(f"saved in {save_settings(conformance.recommended)}")
    return 0 if conformance.ok else 1


def _show_conformance(conformance: Conformance) -> None:
    from rlm.cli.console import write_out
    from rlm.core.plain import one_line, plain

    for finding in conformance.findings:
        mark = "ok  " if finding.ok else "-   "
        write_out(f"{mark}  {finding.name:<14}  {one_line(finding.detail, 300)}\n")
    write_out(f"{conformance.total_tokens:,} tokens were used\n")
    if not conformance.ok:
        write_out(f"{plain(conformance.model)} follows no dialect: it can't drive a run, but may serve as sub_model\n")
        return
    write_out("recommended, in rlm.toml:\n[rlm]\n")
    for name, value in conformance.recommended.items():
        write_out(f"{name} = {json.dumps(value)}\n")
