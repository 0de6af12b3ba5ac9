"""The operations of `fs`: on files and their lines."""
