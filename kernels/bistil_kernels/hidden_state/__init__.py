"""Distance between hidden states."""
