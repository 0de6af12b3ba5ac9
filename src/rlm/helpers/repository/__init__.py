"""The operations of `git`: a repository, and nothing that it configures."""
