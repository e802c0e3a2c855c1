"""Distance between attention maps, from queries and keys."""
