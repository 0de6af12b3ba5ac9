"""The record of a run on disk: how it is written, found, read, folded and followed."""
