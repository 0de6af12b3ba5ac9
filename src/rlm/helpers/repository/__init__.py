"""The operations of `git`: on a repository, without anything that the repository itself configures."""
