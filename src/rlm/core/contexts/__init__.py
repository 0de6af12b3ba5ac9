"""The data of a run: measured, kept in a file, shown in part."""
