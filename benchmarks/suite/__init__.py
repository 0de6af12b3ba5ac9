"""Whether answers are right, not how fast they come: generated tasks, a scripted model that can do them, and noise."""
