"""The Chat Completions API of OpenAI, and of all that speak it."""
