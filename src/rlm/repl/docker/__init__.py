"""REPLs in Docker containers."""
