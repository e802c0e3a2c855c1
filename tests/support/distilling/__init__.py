"""Phase 1 for tests: trainers on made-up text, and the losses computed the plain way."""
