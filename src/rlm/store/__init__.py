"""What outlives a run, in SQLite: safe for many threads and processes at once."""
