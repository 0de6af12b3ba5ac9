"""The sandbox `e2b`: the REPLs of a run are confined processes in one virtual machine that E2B lets."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rlm.repl.e2b.box import Box, lacks
from rlm.repl.e2b.line import E2bConnector
from rlm.repl.remote.launcher import FarPlan, RemoteLauncher
from rlm.repl.sandbox import Kind, Probe

if TYPE_CHECKING:
    from rlm.core.config import E2bConfig

_log = logging.getLogger(__name__)
_MISSING = "the template of the sandbox has no such package; the user can name one that has it: e2b.template"


async def _start(section: E2bConfig) -> RemoteLauncher:
    """Have a sandbox made, and start a first guest; see `Kind.start`."""
    box = await Box.make(section)
    _log.warning("the sandbox is E2B's: what cells are given and print passes through its logs")
    plan = FarPlan(
        name="e2b",
        python=section.python,
        memory_bytes=section.memory_bytes,
        lease_s=section.lease_s,
        allow_unconfined=section.allow_unconfined,
        warm=section.warm,
        missing=_MISSING,
    )
    return await RemoteLauncher.start(E2bConnector(box), plan)


async def _probe(section: E2bConfig) -> Probe:
    """Look for the SDK and the key; asks E2B nothing."""
    missing = lacks()
    if missing is None:
        return Probe(ok=True, detail=f"E2B's SDK and a key; template {section.template or 'base'}")
    detail, _, hint = missing.partition("\n")
    return Probe(ok=False, detail=detail, hint=hint)


E2B = Kind(name="e2b", section=lambda config: config.e2b, start=_start, probe=_probe)
