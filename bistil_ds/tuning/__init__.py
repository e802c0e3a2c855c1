"""Teacher tuning, and phase 2, which distils a student on a task; both train sparsely (LT-SFT) or densely."""
