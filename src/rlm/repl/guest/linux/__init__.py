"""How a guest on Linux is confined, and the zygote that it is forked from."""
