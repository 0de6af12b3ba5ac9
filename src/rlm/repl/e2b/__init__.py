"""The sandbox `e2b`: guests in a virtual machine that E2B lets, by its official SDK (the extra `e2b`)."""
