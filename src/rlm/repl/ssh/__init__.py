"""The sandbox `ssh`: guests on a machine of the user's, over the user's own ssh."""
