"""The hooks that ship: `environment`, `metrics` and `review`."""
