"""A guest in Python on WebAssembly."""
