"""The tools of MCP servers, as tools of a run. What a server says (names, descriptions, schemas, results) is a
stranger's text: bounded, cleaned, and never trusted to be harmless. This package imports nothing of the runtime."""
