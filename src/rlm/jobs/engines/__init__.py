"""Engines: whatever a request comes from, an engine makes a run of it, now or when there is a place."""
