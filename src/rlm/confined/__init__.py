"""Calls functions of this package over files that nobody trusts, each in a process that can but read them."""
