"""What tools and inputs both know of files: whether they are text and in which encoding, and how folders are walked."""
