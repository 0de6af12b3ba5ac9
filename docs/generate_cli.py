"""Writes docs/cli.md and rlm.toml.example: commands and options as Typer knows them, settings as Config does.

The parts that are prose stand here; everything that could go stale is read from the code.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from rlm.cli.main import app
from rlm.cli.reference import example, settings_table

TARGET = Path(__file__).with_name("cli.md")
EXAMPLE = TARGET.parent.parent / "rlm.toml.example"

INTRO = """\
# The command line

Written by `make docs` from the code.

stdout carries the answer and nothing else; progress, warnings and errors go to stderr, live on a terminal only. Piped
data is context. An error is a line `error: what`, then a line `hint: what next`; `rlm --debug COMMAND` adds the
traceback.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the run failed, or the code of `rlm exec` raised |
| 2 | wrong usage or configuration |
| 3 | a limit of the budget was reached; the best answer so far is on stdout |
| 4 | the model's provider failed, or there is no key |
| 5 | the sandbox can't be started |
| 130, 143, 129 | Ctrl-C, SIGTERM, SIGHUP |
| 141 | the reader of `--output-format stream-json` went away |

Ctrl-C once cancels the run: sandboxes are killed, the record is complete, the best answer so far is printed. Twice: at
once. `--output-format json` prints one object; `stream-json` prints each event as a line (docs/events.md) and the
result as the last, with `"type": "result"`.
"""

SETTINGS = """\
## Settings

Settings come from the command line, `RLM_*` variables, the project's `rlm.toml`, the user's
`$XDG_CONFIG_HOME/rlm/config.toml` (`~/.config/rlm/config.toml`) and the defaults; the first of these that has a value
wins. `rlm config show --origin` says where each value comes from. The project's file is the one in the working
directory, else the nearest above it within the same git checkout.

An unknown key is an error, an unknown `RLM_*` variable a warning, an empty one counts as unset. Amounts may be
written with a unit wherever they stand: `90s`, `5m`, `1h30m`; `500k`, `2M`; `512m`, `2g`. `"none"` lifts a cap;
in a variable, lists are separated by commas. Keys of providers come from the environment only. A project file may set
any `base_url` or address, `allowed_paths`, `tables`, `allowed_imports`, `allow_unconfined`, `policy = "off"`,
`mask = "off"`, `prices`, `guest_tools` and a `log_dir` outside its folder only after `rlm trust`, which holds for the
file's content as it is; `rlm init` trusts the file that it writes. So it is with caps: a project file may lower any,
and raise none (nor `"none"` it) above what the user's own configuration says, or else the default; `policy` and `mask`
likewise.
"""


def render() -> str:
    """The whole document."""
    root = typer.main.get_command(app)
    return "\n".join([INTRO, "## Commands\n", *commands(root, "rlm"), SETTINGS + "".join(settings_table())])


def commands(command: Any, path: str) -> Iterator[str]:
    """Each command below `command`, in the order in which the help lists them."""
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from commands(inner, f"{path} {name}")
        else:
            yield section(inner, f"{path} {name}")


def section(command: Any, path: str) -> str:
    arguments = [metavar(param) for param in command.params if not is_option(param)]
    usage = " ".join([path, *arguments, "[OPTIONS]"])
    rows = [
        f"| {names(p)} | {cell(p.help or '')}{default(p)} |"
        for p in sorted(command.params, key=is_option)
        if p.name != "help"
    ]
    table = "\n".join(["| option | meaning |", "|---|---|", *rows]) + "\n" if rows else ""
    return f"### `{usage}`\n\n{inspect.cleandoc(command.help or '')}\n\n{table}"


def is_option(param: Any) -> bool:
    return bool(param.param_type_name == "option")


def metavar(param: Any) -> str:
    return str(param.metavar or param.name.upper())


def names(param: Any) -> str:
    if not is_option(param):
        return f"`{metavar(param)}`"
    value = f" {param.metavar}" if param.metavar else ""
    return ", ".join(f"`{name}`" for name in param.opts) + (f" `{value.strip()}`" if value else "")


def default(param: Any) -> str:
    shown = isinstance(param.default, (str, int)) and param.default is not False
    return f" [default: {param.default}]" if shown else ""


def cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    EXAMPLE.write_text(example(), encoding="utf-8")
    sys.stdout.write(f"wrote {TARGET.name} and {EXAMPLE.name}\n")
