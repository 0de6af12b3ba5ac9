"""Kills runs at random and resumes them: `python -m benchmarks.kills [COUNT] [--first SEED] [--jobs N] [--in SANDBOX]`.

A run that comes to a wrong answer, to none, or to a repeated call is printed with its folder, which is kept; the exit
code is then 1.
"""

from __future__ import annotations

import sys

from benchmarks.kills.killer import main

if __name__ == "__main__":
    sys.exit(main())
