"""`rlm init`: write a configuration file to start from, or what Claude Code needs to find the server."""

from __future__ import annotations

from typing import Annotated

from typer import Option


def init(
    model: Annotated[
        str | None, Option("--model", "-m", metavar="NAME", help="The model to set, such as openai/gpt-5.")
    ] = None,
    claude: Annotated[
        bool, Option("--claude", help="Instead: add the MCP server and its skill to this project for Claude Code.")
    ] = False,
    portable: Annotated[
        bool,
        Option("--portable", help="With --claude: start the rlm on the PATH, for an .mcp.json that a team shares."),
    ] = False,
) -> int:
    """Write an rlm.toml to start from.

    It holds every setting with its default and meaning. A file that exists already is left unchanged. With --claude,
    .mcp.json gets the server rlm beside those it has, and .claude/skills gets a skill; nothing else is changed.
    """
    if claude:
        from rlm.cli.claude_files import add_to_project

        add_to_project(portable=portable)
        return 0
    if portable:
        from rlm.core.exceptions import ConfigError

        raise ConfigError("--portable goes with --claude")
    return _write_settings(model)


def _write_settings(model: str | None) -> int:
    from pathlib import Path

    from rlm.cli.console import say
    from rlm.cli.project_file import trust_own
    from rlm.cli.reference import example
    from rlm.core.config.files import PROJECT_FILE
    from rlm.core.exceptions import ConfigError
    from rlm.core.whole_files import new_file

    path = Path(PROJECT_FILE)
    try:
        with new_file(path, mode=0o644) as file:
            file.write(example(model).encode())
    except FileExistsError as error:
        raise ConfigError(f"{path} already exists and is left unchanged\nrlm config show tells what it sets") from error
    except OSError as error:
        raise ConfigError(f"{path.absolute()}: {error.strerror}") from error
    trust_own(path.absolute())
    say(f"wrote {path.absolute()}\nnext: rlm doctor, then rlm run PROMPT -f FILE")
    return 0
