"""The sandbox `local`: confined processes of this machine."""
