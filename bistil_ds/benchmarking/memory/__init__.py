"""Memory and size of models."""
