"""Compare attention maps of student and teacher, from queries and keys."""
