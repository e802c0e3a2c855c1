"""Phase 1: distils a teacher, on text of two languages, into a general bilingual student."""
