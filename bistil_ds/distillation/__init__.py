"""Phase 1: distil a teacher into a general bilingual student, on text of two languages."""
