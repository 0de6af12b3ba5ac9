"""What a completion calls: models, tools, and what its guest code asks for."""
