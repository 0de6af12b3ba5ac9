"""Runs every benchmark and prints each figure beside its limit: `python -m benchmarks [--save] [NAME...]`.

A missed limit is printed as such. A benchmark that could not be made is printed too, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import traceback
from collections.abc import Callable, Sequence

from benchmarks import (
    batches,
    claude_cli,
    contexts,
    data,
    docker,
    fs_helpers,
    helper_calls,
    helpers,
    index,
    loop,
    masking,
    mcp,
    resume,
    sandboxes,
    savings,
    service,
    service_load,
    sessions,
    starts,
    structure,
    subcalls,
    turns,
    visualizer,
    walks,
    wasm,
)
from benchmarks.figures import Figure, load_baseline, row, save_baseline
from benchmarks.kills import killer

BENCHMARKS: dict[str, Callable[[], list[Figure]]] = {
    "turns": turns.own_time_per_turn,
    "log": turns.log_growth,
    "children": sandboxes.child_start,
    "cells": sandboxes.cells,
    "docker-starts": docker.starts,
    "docker-cells": docker.cells,
    "docker-orphans": docker.orphans,
    "batch": subcalls.batch,
    "sequential": subcalls.sequential,
    "tree": subcalls.tree,
    "text-100mb": contexts.hundred_megabytes,
    "text-1gb": contexts.one_gigabyte,
    "packed": contexts.packed,
    "pdf": data.long_pdf,
    "tables": data.grouped_csv,
    "batch-runs": batches.batch_runs,
    "wasm-starts": wasm.wasm_starts,
    "wasm-cells": wasm.wasm_cells,
    "wasm-context": wasm.wasm_context,
    "resume": resume.served_cells,
    "kills": killer.kills,
    "claude-cli": claude_cli.calls,
    "structure": structure.structure,
    "service": service.service,
    "service-load": service_load.service_load,
    "walks": walks.walks,
    "imports": starts.imports,
    "help": starts.command_line,
    "masking": masking.masking,
    "loop-trees": loop.trees,
    "loop-cells": loop.hostile_cells,
    "loop-replies": loop.hostile_replies,
    "code-helpers": helpers.code_helpers,
    "fs-helpers": fs_helpers.fs_helpers,
    "helper-calls": helper_calls.helper_calls,
    "savings": savings.savings,
    "sessions": sessions.sessions,
    "index": index.index,
    "receipts": index.receipts,
    "visualizer": visualizer.pages,
    "mcp-server": mcp.mcp_server,
    "mcp-queries": mcp.mcp_queries,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is named, or everything; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, beside the limits.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(BENCHMARKS)}")
    parser.add_argument("--save", action="store_true", help="make these figures the baseline")
    options = parser.parse_args(argv)
    if unknown := set(options.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
    load = os.getloadavg()[0]
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {load:.1f} at the start\n", flush=True)
    measured, failed = measure(options.names or list(BENCHMARKS))
    missed = sum(figure.verdict.startswith("MISSED") for figure in measured)
    print(f"\n{len(measured)} figures, {missed} over their limit; {failed} benchmarks failed")
    if options.save and not failed:
        save_baseline(measured)
    return 1 if failed else 0


def measure(names: Sequence[str]) -> tuple[list[Figure], int]:
    """Make each benchmark and print its figures; returns them, and how many benchmarks failed."""
    baseline, measured, failed = load_baseline(), [], 0
    for name in names:
        try:
            figures = BENCHMARKS[name]()
        except Exception:  # noqa: BLE001 - one part that is broken must not hide the figures of the others
            print(f"{name}: FAILED\n{traceback.format_exc()}", flush=True)
            failed += 1
            continue
        measured += figures
        for figure in figures:
            print(row(figure, baseline), flush=True)
    return measured, failed


if __name__ == "__main__":
    sys.exit(main())
