"""A REPL kept by name: its saved states, the sandbox that begins with one, and its values for the host."""
