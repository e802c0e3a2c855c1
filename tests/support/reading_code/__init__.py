"""Read our own code: its modules, its imports, and the names that it takes from other libraries."""
