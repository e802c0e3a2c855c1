"""Compare hidden states of student and teacher."""
