"""The index of a folder of records: a copy of what is in them, in SQLite, to be asked."""
