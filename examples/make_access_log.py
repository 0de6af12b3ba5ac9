"""Writes an access log in Apache's combined format, for demos and benchmarks: the same bytes for the same arguments.

    python examples/make_access_log.py build/access.log --mb 50 --seed 7

It covers one day, with more traffic in the afternoon than at night, and one incident: for half an hour from 14:00,
nine of ten requests for /api/checkout fail with status 500. So answers about the log can be checked.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path

DAY = datetime(2026, 10, 14, tzinfo=UTC)
INCIDENT_PATH = "/api/checkout"
INCIDENT_START_S = 14 * 3600
INCIDENT_END_S = INCIDENT_START_S + 1800
INCIDENT_FAILURES = 0.9

# Requests per hour of the day, relative to each other.
TRAFFIC = [3, 2, 2, 2, 2, 3, 5, 8, 11, 13, 14, 14, 13, 14, 15, 15, 14, 14, 13, 12, 10, 8, 6, 4]

# Path, weight, mean bytes.
PATHS = [
    ("/", 18, 5400),
    ("/products", 14, 9100),
    ("/products/{}", 22, 6200),
    ("/search?q={}", 12, 7300),
    ("/api/cart", 9, 640),
    (INCIDENT_PATH, 6, 820),
    ("/api/login", 5, 410),
    ("/static/app.js", 12, 48200),
    ("/static/site.css", 11, 12600),
    ("/health", 3, 17),
    ("/wp-login.php", 1, 310),
]
POSTS = {"/api/cart", INCIDENT_PATH, "/api/login", "/wp-login.php"}
AGENTS = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari",
    "Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "curl/8.14.1",
]
AGENT_WEIGHTS = [46, 17, 9, 20, 6, 2]
WORDS = ["lamp", "desk", "chair", "shelf", "sofa", "rug", "mirror", "stool", "bench", "cabinet"]
MEAN_LINE_BYTES = 205


def make_lines(requests: int, seed: int) -> Iterator[str]:
    """About `requests` lines over the day, in order of time."""
    rng = random.Random(seed)
    clients = [
        f"{rng.randint(11, 223)}.{rng.randint(0, 255)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}" for _ in range(4000)
    ]
    weights = list(accumulate(1 / (rank + 10) for rank in range(len(clients))))
    for second, count in _seconds(requests, rng):
        stamp = (DAY + timedelta(seconds=second)).strftime("%d/%b/%Y:%H:%M:%S +0000")
        chosen_clients = rng.choices(clients, cum_weights=weights, k=count)
        chosen_paths = rng.choices(PATHS, [weight for _, weight, _ in PATHS], k=count)
        chosen_agents = rng.choices(AGENTS, AGENT_WEIGHTS, k=count)
        for client, path, agent in zip(chosen_clients, chosen_paths, chosen_agents, strict=True):
            yield _line(client, stamp, path, agent, second, rng)


def _seconds(requests: int, rng: random.Random) -> Iterator[tuple[int, int]]:
    """Each second of the day that has requests, with their number."""
    owed = 0.0
    for second in range(86_400):
        owed += requests * TRAFFIC[second // 3600] / sum(TRAFFIC) / 3600 * rng.uniform(0.4, 1.6)
        count = int(owed)
        owed -= count
        if count:
            yield second, count


def _line(client: str, stamp: str, path: tuple[str, int, int], agent: str, second: int, rng: random.Random) -> str:
    pattern, _, mean_bytes = path
    target = pattern.format(rng.choice(WORDS) if "?" in pattern else rng.randrange(1, 400))
    method = "POST" if pattern in POSTS else "GET"
    status = _status(pattern, second, rng)
    size = 0 if status == 304 else int(mean_bytes * rng.uniform(0.6, 1.4)) if status == 200 else 512
    referrer = "-" if pattern in ("/", "/health") else "https://shop.example/"
    return f'{client} - - [{stamp}] "{method} {target} HTTP/1.1" {status} {size} "{referrer}" "{agent}"\n'


def _status(pattern: str, second: int, rng: random.Random) -> int:
    draw = rng.random()
    if pattern == INCIDENT_PATH and INCIDENT_START_S <= second < INCIDENT_END_S and draw < INCIDENT_FAILURES:
        return 500
    if pattern == "/wp-login.php":
        return 404
    if draw < 0.002:
        return 500 if draw < 0.001 else 502
    if draw < 0.03:
        return 404
    if draw < 0.04:
        return 302
    if draw < 0.14 and pattern.startswith("/static"):
        return 304
    return 401 if draw > 0.9 and pattern == "/api/login" else 200


def write_log(path: Path, size_bytes: int, seed: int) -> int:
    """Write a log of at least `size_bytes` to `path`; return the number of lines."""
    requests = int(size_bytes / MEAN_LINE_BYTES * 1.05) + 1_000
    lines = 0
    with path.open("w", encoding="ascii", newline="\n") as file:
        for line in make_lines(requests, seed):
            file.write(line)
            lines += 1
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="Write an access log: the same bytes for the same arguments.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--mb", type=float, default=50.0, help="at least so many million bytes (default: 50)")
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    lines = write_log(arguments.out, int(arguments.mb * 1_000_000), arguments.seed)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1e6:.1f} MB, {lines:,} lines")


if __name__ == "__main__":
    main()
