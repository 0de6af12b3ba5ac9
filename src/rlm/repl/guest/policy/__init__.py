"""What guest code may do in Python, for the sandbox `local`: a layer above the kernel's."""
