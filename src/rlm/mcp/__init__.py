"""The Model Context Protocol: `server` serves it. Nothing is imported here, since the SDK is an extra."""
