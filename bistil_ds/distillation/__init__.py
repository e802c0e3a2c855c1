"""Phase 1: distil a teacher into a general student, on text of one language or more."""
