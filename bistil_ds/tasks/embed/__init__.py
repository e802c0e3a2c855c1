"""The task `embed`: sentence vectors."""
