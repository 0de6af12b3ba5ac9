"""A real model, behind a server that speaks OpenAI's wire, at tasks with one right answer each: `python -m
benchmarks.real_model`. What it answers is measured here; nothing is downloaded, and no model comes with the project."""
