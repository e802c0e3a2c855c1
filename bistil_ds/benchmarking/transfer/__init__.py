"""The benchmark of zero-shot transfer, by the commands that a user types."""
