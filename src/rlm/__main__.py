"""`python -m rlm` is the command `rlm`."""

from rlm.cli.main import main

main()
