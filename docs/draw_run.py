"""Draws docs/run.svg, the README's picture, from a real run of the demo: `python docs/draw_run.py build/access.log`.

Made by hand, not by `make docs`: its times differ each time. The fonts are the reader's own; nothing is fetched.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PROMPT = "Summarise this log by parts, and say how many lines contain 500."
COLUMNS = 110
ANSWER_LINES = 6


def main(log: str) -> None:
    """Run, and draw what stood on the terminal."""
    command = ["rlm", "run", PROMPT, "-f", Path(log).name, "--model", "demo", "--verbose"]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / Path(log).name).symlink_to(Path(log).absolute())
        environ = {**os.environ, "HOME": folder}
        run = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=True)  # noqa: S603
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), highlight=False)
    console.print(Text(f'$ rlm run "{PROMPT}" \\\n      -f {Path(log).name} --model demo --verbose', style="bold"))
    for line in run.stderr.splitlines():
        console.print(Text(line, style="dim", no_wrap=True, overflow="ellipsis"))
    answer = run.stdout.splitlines()
    shown = [*answer[:ANSWER_LINES], "...", *answer[-3:]] if len(answer) > ANSWER_LINES + 3 else answer
    for line in shown:
        console.print(Text(line, no_wrap=True, overflow="ellipsis"))
    svg = console.export_svg(title="rlm run")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code", "ui-monospace")
    Path(__file__).with_name("run.svg").write_text(svg + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
