"""The composition root: `RLM`, and all that joins core to sandboxes, backends, tools and the record."""
