"""A Recursive Language Model runtime."""
