"""Child processes of the host: commands that end with it, and workers that run functions and can be killed."""
