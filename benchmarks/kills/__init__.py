"""Runs that are killed at random and resumed until they end: whether anything that was answered is asked again."""
