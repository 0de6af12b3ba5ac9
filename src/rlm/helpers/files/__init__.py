"""The operations of `fs`: files and lines."""
