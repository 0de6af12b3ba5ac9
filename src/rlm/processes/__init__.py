"""Child processes of the host: programs with a keeper, and workers that run functions and can be killed."""
