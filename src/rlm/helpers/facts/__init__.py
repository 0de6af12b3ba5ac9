"""The operations of `code`: what is in source files, never the source."""
