"""`rlm hooks`: look at the hooks that the configuration names."""

from __future__ import annotations

from typing import Annotated

from typer import Option


def list_hooks(as_json: Annotated[bool, Option("--json", help="As JSON.")] = False) -> int:
    """List the hooks that runs here ask, in the order in which they are asked. This loads them, but asks none."""
    import json

    from rlm.cli.console import say, write_out
    from rlm.core.config import Config
    from rlm.hooks.loading import SHIPPED
    from rlm.runtime.hooks import hook_rows

    config = Config.load().config
    rows = hook_rows(config.hooks)
    if as_json:
        write_out(json.dumps(rows, indent=2) + "\n")
    elif rows:
        write_out("".join(f"{row['point']:<9}  {row['name']}  within {row['timeout_s']:g} s\n" for row in rows))
    else:
        say(f"no hooks are configured: [hooks] use = [...] in rlm.toml names them; {', '.join(SHIPPED)} ship")
    return 0
