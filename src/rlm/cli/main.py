"""The entry point of `rlm`: its commands, and the one place where a failure becomes a message and an exit code.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 budget reached, 4 provider, 5 sandbox, 128 + N signal N, and
141 where the reader of stdout has gone.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Annotated, Any

import typer

from rlm.cli.commands import (
    acp,
    batch,
    config,
    ctl,
    doctor,
    execute,
    hooks,
    init,
    logs,
    logs_export,
    logs_search,
    mcp,
    mcp_serve,
    models,
    replay,
    resume,
    run,
    sandbox,
    serve,
    session,
    skill,
    tasks,
    token,
    trust,
    verify,
    visualize,
    wasm,
)
from rlm.cli.console import OutputLost, ReaderGone, complain, debug, fill_streams, trace, write_out
from rlm.cli.option_groups import grouped

USAGE = 2

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""The base of Typer's complaints about a command line, which Typer gives no public name."""

app = typer.Typer(
    name="rlm",
    help="Answer prompts over data of any size: the data is a variable in a sandboxed REPL that a model works in.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)
logs_app = typer.Typer(help="Look at the records of runs.", rich_markup_mode=None, invoke_without_command=True)
config_app = typer.Typer(help="Look at the configuration, and set your defaults.", rich_markup_mode=None)
ctl_app = typer.Typer(
    help="Look at runs in progress, and steer them.", rich_markup_mode=None, invoke_without_command=True
)
serve_app = typer.Typer(help="Serve runs over HTTP.", rich_markup_mode=None, invoke_without_command=True)
token_app = typer.Typer(help="Let others use the service.", rich_markup_mode=None)
history_app = typer.Typer(help="Look at the records of runs, as rlm logs does.", rich_markup_mode=None)
mcp_app = typer.Typer(help="Look at the MCP servers whose tools runs may use, or log in to one.", rich_markup_mode=None)
hooks_app = typer.Typer(help="Look at the hooks that are asked during runs and tasks.", rich_markup_mode=None)
tasks_app = typer.Typer(help="Do lists of tasks, each in a run of its own.", rich_markup_mode=None)
wasm_app = typer.Typer(help="Add packages to the sandbox wasm.", rich_markup_mode=None)
sandbox_app = typer.Typer(help="Let commands and agents work alone in machines of their own.", rich_markup_mode=None)
session_app = typer.Typer(help="Keep REPLs by name, and go on with them later.", rich_markup_mode=None)
skill_app = typer.Typer(help="Save code for runs to use.", rich_markup_mode=None)

app.command("init")(grouped(init.init))
app.command("run")(grouped(run.run))
app.command("batch")(grouped(batch.batch))
app.command("resume")(grouped(resume.resume))
app.command("fork")(grouped(resume.fork))
app.command("replay")(grouped(replay.replay))
app.command("exec")(grouped(execute.execute))
app.add_typer(logs_app, name="logs")
app.command("visualize")(grouped(visualize.visualize))
app.command("verify")(grouped(verify.verify))
app.command("models")(grouped(models.models))
app.command("doctor")(grouped(doctor.doctor))
app.add_typer(config_app, name="config")
app.command("trust")(grouped(trust.trust))
app.command("mcp-serve")(grouped(mcp_serve.mcp_serve))
app.command("acp")(grouped(acp.acp))
logs_app.command("list")(grouped(logs.list_logs))
logs_app.command("show")(grouped(logs.show))
logs_app.command("answer")(grouped(logs.answer))
logs_app.command("tail")(grouped(logs.tail))
logs_app.command("grep")(grouped(logs_search.grep))
logs_app.command("export")(grouped(logs_export.export))
logs_app.command("index")(grouped(logs_search.index))
config_app.command("show")(grouped(config.show))
config_app.command("get")(grouped(config.get))
config_app.command("set")(grouped(config.set_key))
config_app.command("unset")(grouped(config.unset))
app.add_typer(ctl_app, name="ctl")
ctl_app.command("list")(grouped(ctl.list_runs))
ctl_app.command("status")(grouped(ctl.status))
ctl_app.command("pause")(grouped(ctl.pause))
ctl_app.command("resume")(grouped(ctl.resume))
ctl_app.command("cancel")(grouped(ctl.cancel))
ctl_app.command("set")(grouped(ctl.set_cap))
ctl_app.command("say")(grouped(ctl.say))
ctl_app.command("attach")(grouped(ctl.attach))
app.add_typer(serve_app, name="serve")
serve_app.callback()(grouped(serve.serve))
serve_app.command("status")(grouped(serve.status))
serve_app.command("stop")(grouped(serve.stop))
app.add_typer(token_app, name="token")
token_app.command("add")(grouped(token.add))
token_app.command("list")(grouped(token.list_tokens))
token_app.command("revoke")(grouped(token.revoke))
app.add_typer(history_app, name="history")
history_app.command("list")(grouped(logs.list_logs))
history_app.command("show")(grouped(logs.show))
history_app.command("export")(grouped(logs_export.export))
app.add_typer(mcp_app, name="mcp")
app.add_typer(hooks_app, name="hooks")
hooks_app.command("list")(grouped(hooks.list_hooks))
app.add_typer(tasks_app, name="tasks")
tasks_app.command("run")(grouped(tasks.run))
tasks_app.command("check")(grouped(tasks.check))
tasks_app.command("status")(grouped(tasks.status))
app.add_typer(wasm_app, name="wasm")
wasm_app.command("add")(grouped(wasm.add))
app.add_typer(sandbox_app, name="sandbox")
sandbox_app.command("run")(grouped(sandbox.run))
sandbox_app.command("create")(grouped(sandbox.create))
sandbox_app.command("list")(grouped(sandbox.list_sandboxes))
sandbox_app.command("status")(grouped(sandbox.status))
sandbox_app.command("logs")(grouped(sandbox.logs))
sandbox_app.command("cost")(grouped(sandbox.cost))
sandbox_app.command("download")(grouped(sandbox.download))
sandbox_app.command("checkpoint")(grouped(sandbox.checkpoint))
sandbox_app.command("terminate")(grouped(sandbox.terminate))
app.add_typer(session_app, name="session")
session_app.command("list")(grouped(session.list_sessions))
session_app.command("show")(grouped(session.show))
session_app.command("run")(grouped(session.run))
session_app.command("save")(grouped(session.save))
session_app.command("delete")(grouped(session.delete))
app.add_typer(skill_app, name="skill")
skill_app.command("save")(grouped(skill.save))
skill_app.command("list")(grouped(skill.list_skills))
skill_app.command("show")(grouped(skill.show))
skill_app.command("test")(grouped(skill.test))
skill_app.command("delete")(grouped(skill.delete))
mcp_app.command("list")(grouped(mcp.list_servers))
mcp_app.command("login")(grouped(mcp.login))


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debugging: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    debug(on=debugging)
    if version:
        from rlm.version import __version__

        write_out(f"rlm {__version__}\n")
        raise typer.Exit
    if context.invoked_subcommand is None:
        write_out(context.get_help() + "\n")
        raise typer.Exit


@logs_app.callback()
def _logs(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        raise typer.Exit(logs.list_logs())


@ctl_app.callback()
def _ctl(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        raise typer.Exit(ctl.list_runs())


def main() -> None:
    """Run the command line of this process and exit."""
    fill_streams()
    sys.exit(call(sys.argv[1:]))


def call(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    command = typer.main.get_command(app)
    try:
        return command.main(arguments, prog_name="rlm", standalone_mode=False) or 0
    except UsageError as error:
        return _misused(error)
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return 130
    except ReaderGone:  # as `rlm logs | head` wants it
        return 0
    except OutputLost as error:
        complain(str(error))
        return 1
    except Exception as error:  # noqa: BLE001 - the top: whatever it is becomes a message and an exit code
        return _failed(error)


def _misused(error: Any) -> int:
    path = "rlm" if error.ctx is None else error.ctx.command_path
    complain(f"{_in_words(error.format_message())}\n{path} --help shows how it is used")
    return USAGE


def _in_words(message: str) -> str:
    """What Typer says, but for arguments that are too many: those come of quotes that are missing."""
    extra = re.fullmatch(r"Got unexpected extra argument(?:s|\(s\))? \((.*)\)", message, re.DOTALL)
    if extra is None:
        return message
    if any(map(os.path.exists, extra[1].split())):
        return f"too many arguments: {extra[1]}\nquote a pattern, as in -f '*.log', or give -f before each file"
    return f"too many arguments: {extra[1]}\nput the prompt in quotes"


def _failed(error: Exception) -> int:
    from rlm.core.exceptions import RLMError

    trace(error)
    if isinstance(error, RLMError):
        complain(str(error))
        return error.exit_code
    complain(f"{type(error).__name__}: {error}\nthis should not happen: rlm --debug shows where it comes from")
    return 1
