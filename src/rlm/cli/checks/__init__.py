"""What `rlm doctor` looks at."""
