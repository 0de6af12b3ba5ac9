"""Consumers of the event stream that come with the package; none of them changes a run."""
