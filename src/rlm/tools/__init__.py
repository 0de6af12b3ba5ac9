"""Host-side functions that a model, or guest code, may call: the registry, `@tool`, and the built-in ones.

`execute_code` is not among them: the orchestrator sends code to the sandbox itself.
"""
