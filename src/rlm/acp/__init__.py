"""`rlm acp`: runs for editors, over the Agent Client Protocol. A session is a line of runs, each of which goes on from
the one before; what was said is in their records, and nothing else keeps it."""
