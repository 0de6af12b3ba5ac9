"""Task lists: tasks that are done in order or side by side, each in a run of its own with a fresh conversation."""
