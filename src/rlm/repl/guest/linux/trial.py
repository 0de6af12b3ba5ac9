"""Which layers of confinement hold here, found out by a child that puts them on and ends."""

from __future__ import annotations

import os
from typing import NoReturn

from rlm.repl.guest.linux import confine


def layers_of(plan: confine.Confinement) -> tuple[confine.Layer, ...]:
    """Confine a throw-away child to see which layers hold, and whether nobody can read this Python: where nobody can,
    the plan keeps the user. This process must have one thread.
    """
    layers = _tried(plan)
    if not layers and plan.drop_user:
        plan.drop_user = False
        plan.refused["user"] = "this Python is readable by its owner alone"
        layers = _tried(plan)
    return layers


def _tried(plan: confine.Confinement) -> tuple[confine.Layer, ...]:
    reading, writing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _report(plan, writing, parent)
    os.close(writing)
    with os.fdopen(reading, "rb") as report:
        lines = report.read().decode().splitlines()
    os.waitpid(child, 0)
    fields = [line.split("\t", 2) for line in lines]
    return tuple(confine.Layer(name=f[0], active=f[1] == "1", detail=f[2]) for f in fields)


def _report(plan: confine.Confinement, writing: int, parent: int) -> NoReturn:
    """Report which layers hold; no line at all means that the standard library cannot be read any more."""
    try:
        layers = confine.apply(plan, parent)
        os.close(os.open(os.__file__, os.O_RDONLY))
        lines = [f"{layer.name}\t{int(layer.active)}\t{' '.join(layer.detail.split())}" for layer in layers]
        os.write(writing, "\n".join(lines).encode())
    finally:
        os._exit(0)
