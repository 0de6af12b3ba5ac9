"""`rlm acp`: runs for editors, over the Agent Client Protocol."""

from __future__ import annotations

from rlm.cli.options import BudgetOptions, ModelOptions, Overrides, PlaceOptions, SandboxOptions


def acp(
    models: ModelOptions,
    budget: BudgetOptions,
    sandbox: SandboxOptions,
    places: PlaceOptions,
) -> int:
    """Serve Zed and other editors that speak the Agent Client Protocol, over stdin and stdout.

    The editor's workspace is the context, and the settings are those of its rlm.toml. Before a file is changed the
    editor asks.
    """
    from importlib.util import find_spec

    from rlm.processes import own_streams

    wire = own_streams.reserve()  # before anything that may print
    overrides = Overrides.of(models, budget, sandbox, places)
    if find_spec("acp") is None:
        from rlm.core.exceptions import ConfigError
        from rlm.core.extras import install_command

        raise ConfigError(f"rlm acp needs a package that is not installed\n{install_command('acp')}")
    from rlm.acp.server import serve
    from rlm.cli.signals import Interrupted, Signals

    with Signals() as received:
        try:
            received.run(serve(overrides.values, wire))
        except Interrupted:
            return received.exit_code
    return 0
