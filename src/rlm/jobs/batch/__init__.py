"""Batches: one run for each of many questions, with outputs in one place, caps over all of them, and exact resume."""
