"""Providers over the package litellm."""
