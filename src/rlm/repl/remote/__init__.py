"""What sandboxes on other machines share: the host's end of a guest there, whatever carries the bytes."""
