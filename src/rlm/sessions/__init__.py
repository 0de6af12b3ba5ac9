"""REPLs kept by name: their saved states, the sandbox that starts from one, and their values for the host."""
