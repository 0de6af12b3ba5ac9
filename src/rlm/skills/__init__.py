"""Saved code that a REPL can load: its store, and the tool that offers it to a run."""
