"""Zero-shot transfer on real data, by the commands a user types."""
