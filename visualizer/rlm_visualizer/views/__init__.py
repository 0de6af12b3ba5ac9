"""One module for each view: each reads rows, makes elements of them, and mounts these."""
