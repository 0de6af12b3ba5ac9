"""A toy sandbox and a toy backend for rlm-runtime."""
