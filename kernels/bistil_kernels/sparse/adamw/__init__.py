"""AdamW on sparse deltas."""
