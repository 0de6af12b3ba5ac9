"""The server: what hosts such as Claude Code talk to. Only its command imports it."""
