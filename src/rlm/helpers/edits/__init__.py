"""The operations of `transform`: changes to code that keep it parsing."""
