"""The operations of `code`: facts about source files, never the source."""
