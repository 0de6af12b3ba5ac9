"""The `claude` command under its own login."""
