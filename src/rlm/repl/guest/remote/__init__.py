"""The far end of a sandbox on another machine: what starts there, what carries its bytes, and what serves cells."""
