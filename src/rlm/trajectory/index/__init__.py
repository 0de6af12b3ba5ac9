"""The index of a folder of records: the states of their runs and spans in SQLite, which answers questions."""
