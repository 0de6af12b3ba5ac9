"""One module for each view: they read rows, make elements of them, and mount these."""
