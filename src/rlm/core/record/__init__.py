"""The recorder of a run, and texts kept apart by their digests."""
