"""What machines cost: only what somebody else lets costs anything."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePrice:
    """What a provider asks."""

    usd_per_cpu_s: float
    usd_per_gib_s: float
    source: str
    """Where that stands, and when it was looked up."""


PRICES = {
    "docker": MachinePrice(usd_per_cpu_s=0.0, usd_per_gib_s=0.0, source="a machine of yours"),
    "e2b": MachinePrice(
        usd_per_cpu_s=0.000014,
        usd_per_gib_s=0.0000045,
        source="E2B's page on billing, 2026-12-01",
    ),
}


def cost_usd(provider: str, cpus: float, memory_bytes: int, seconds: float) -> float:
    """What a machine has cost in that time; an estimate, and 0 for a machine of one's own."""
    price = PRICES[provider]
    return seconds * (cpus * price.usd_per_cpu_s + memory_bytes / (1 << 30) * price.usd_per_gib_s)
