"""Phase 1: from a teacher and text of two languages to a general bilingual student."""
