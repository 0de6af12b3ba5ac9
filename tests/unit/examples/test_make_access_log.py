"""The generated log: the same bytes each time, with the planted incident, and as the demo counts it."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest

from rlm.backends.demo import DemoBackend
from tests.servers.in_process import InProcessLoop

SCRIPT = Path(__file__).parents[3] / "examples" / "make_access_log.py"


def generate(path: Path, *options: str) -> str:
    subprocess.run([sys.executable, str(SCRIPT), str(path), "--mb", "2", *options], check=True, capture_output=True)
    return path.read_text()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    return generate(tmp_path_factory.mktemp("log") / "access.log")


def test_it_is_as_large_as_asked_and_in_order_of_time(log: str) -> None:
    assert len(log) >= 2_000_000
    stamps = [datetime.strptime(found, "%d/%b/%Y:%H:%M:%S %z") for found in re.findall(r"\[([^\]]+)\]", log)]
    assert len(stamps) == log.count("\n")
    assert stamps == sorted(stamps)


def test_the_same_seed_gives_the_same_bytes_and_another_others(log: str, tmp_path: Path) -> None:
    digest = hashlib.sha256(log.encode()).hexdigest()
    assert hashlib.sha256(generate(tmp_path / "a", "--seed", "7").encode()).hexdigest() == digest
    assert hashlib.sha256(generate(tmp_path / "b", "--seed", "8").encode()).hexdigest() != digest


def test_the_incident_is_the_largest_cluster_of_errors(log: str) -> None:
    clusters: Counter[tuple[str, str]] = Counter()
    for line in log.splitlines():
        stamp, path, status = line.split("[")[1][:17], line.split('"')[1].split()[1], line.split('"')[2].split()[0]
        if status == "500":
            clusters[stamp[:15] + ("00" if stamp[15] < "3" else "30"), path] += 1
    (where, count), (_, second) = clusters.most_common(2)
    assert where == ("14/Oct/2026:14:00", "/api/checkout")
    assert count > 10 * second


def test_the_demo_counts_as_an_independent_count_does(log: str) -> None:
    told = InProcessLoop(backend=DemoBackend()).complete("How many lines contain 500?", log)
    expected = sum("500" in line for line in log.splitlines())
    assert f"{expected:,} of {log.count(chr(10)):,} lines" in told


def test_the_demo_finds_paths_statuses_and_the_incident(log: str) -> None:
    question = "Summarise this access log by parts: which paths and status codes dominate, and where do errors cluster?"
    told = InProcessLoop(backend=DemoBackend()).complete(question, log)
    statuses = Counter(line.split('"')[2].split()[0] for line in log.splitlines())
    paths = Counter(line.split('"')[1].split()[1].partition("?")[0] for line in log.splitlines())
    assert f"Status codes: 200 ({statuses['200']:,}," in told
    assert f"Paths: {paths.most_common(1)[0][0]} ({paths.most_common(1)[0][1]:,}," in told
    assert f"Server errors (5xx): {statuses['500'] + statuses['502']:,}." in told
    assert "cluster is /api/checkout in the half hour from 14/Oct/2026:14:00" in told
