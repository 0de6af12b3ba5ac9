"""The Model Context Protocol: `server` serves it. Nothing is imported here, for the SDK is an extra."""
