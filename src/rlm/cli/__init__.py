"""The `rlm` command: one file per command, each importing what it needs when it is called."""
