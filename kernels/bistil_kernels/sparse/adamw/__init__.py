"""AdamW over K values."""
