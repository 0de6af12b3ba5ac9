"""The loop of one completion: turns, compaction, landing."""
