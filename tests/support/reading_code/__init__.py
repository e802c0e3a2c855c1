"""What our code says of itself: its modules, imports, and what it takes from other libraries."""
