"""How a training saves its model and checkpoints, and how it finds and reads the one that it resumes from."""
