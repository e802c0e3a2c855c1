"""Teacher tuning, and phase 2, which distils a student on a task; either trains sparsely (LT-SFT) or densely."""
